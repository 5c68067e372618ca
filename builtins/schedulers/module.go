// Package schedulers is the vocabulary of schedulers: what decides that something
// is built. A file declares one class, with its behaviour.
package schedulers

import "buildstar/starlark/spec"

// Module is the namespace schedulers of master.star.
var Module = &spec.Module{
	Name:    "schedulers",
	Classes: []*spec.Class{ForceScheduler, SingleBranchScheduler, AnyBranchScheduler, Dependent, Triggerable, Periodic, Nightly, NightlyTriggerable},
	Unsupported: map[string]string{
		"Timed":              "use schedulers.Periodic or schedulers.Nightly",
		"Try_Jobdir":         byForce,
		"Try_Userpass":       byForce,
		"BaseScheduler":      "it is the base of the others",
		"BaseBasicScheduler": "it is the base of the others",
		"Scheduler":          "since Buildbot 0.9 it is SingleBranchScheduler",
	},
}

const byForce = "until then use schedulers.ForceScheduler and its REST call"
