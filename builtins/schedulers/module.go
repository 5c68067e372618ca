// Package schedulers is the vocabulary of schedulers: what decides that something
// is built. A file declares one class, with its behaviour.
package schedulers

import "buildstar/starlark/spec"

// Module is the namespace schedulers of master.star.
var Module = &spec.Module{
	Name:    "schedulers",
	Classes: []*spec.Class{ForceScheduler, Triggerable},
	Unsupported: map[string]string{
		"SingleBranchScheduler": byForce,
		"AnyBranchScheduler":    byForce,
		"Dependent":             byForce,
		"Periodic":              byForce,
		"Nightly":               byForce,
		"NightlyTriggerable":    byForce,
		"Timed":                 byForce,
		"Try_Jobdir":            byForce,
		"Try_Userpass":          byForce,
		"BaseScheduler":         byForce,
		"BaseBasicScheduler":    byForce,
		"Scheduler":             "since Buildbot 0.9 it is SingleBranchScheduler, which is not supported yet either",
	},
}

const byForce = "until then use schedulers.ForceScheduler and its REST call"
