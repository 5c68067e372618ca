package schedulers

import "buildstar/starlark/spec"

// AnyBranchScheduler is schedulers.AnyBranchScheduler (docs/requirements.md C6).
var AnyBranchScheduler = &spec.Class{
	Module: "schedulers", Name: "AnyBranchScheduler",
	New:     func() any { return &anyBranchScheduler{Basic: Basic{Reason: triggered}} },
	Partial: true,
	Renamed: map[string]string{"category": "categories", "branch": "branches"},
}

// anyBranchScheduler builds changes of many branches, each by itself or, with a timer,
// together once their branch is stable.
type anyBranchScheduler struct {
	// Name identifies the scheduler; builds have it as the property scheduler.
	Name string `star:"name"`
	// Branches are those to follow; None in it is the default one. Without it, and
	// without ChangeFilter, all are.
	Branches branch `star:"branches,optional,kw"`
	Basic    `star:",kw"`
}

// Make makes the scheduler.
func (a *anyBranchScheduler) Make(c *spec.Call) any {
	s := a.stable(c, "AnyBranchScheduler", a.Name, "branches", a.Branches.Values)
	s.PerBranch = true
	return s
}
