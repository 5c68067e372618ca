package schedulers

import (
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// SingleBranchScheduler is schedulers.SingleBranchScheduler (docs/requirements.md C6).
var SingleBranchScheduler = &spec.Class{
	Module: "schedulers", Name: "SingleBranchScheduler",
	New:     func() any { return &singleBranchScheduler{Basic: Basic{Reason: triggered}} },
	Partial: true,
	Renamed: map[string]string{"category": "categories", "branches": "branch"},
}

// singleBranchScheduler builds changes of one branch, each by itself or, with a timer,
// together once the tree is stable.
type singleBranchScheduler struct {
	// Name identifies the scheduler; builds have it as the property scheduler.
	Name string `star:"name"`
	// Branch is the branch to follow, None the default one; a list follows several with
	// one timer. It is needed unless ChangeFilter is given.
	Branch branch `star:"branch,optional,kw"`
	// CreateAbsoluteSourceStamps builds, of codebases without a change, the newest
	// source that was seen instead of the default one.
	CreateAbsoluteSourceStamps bool `star:"createAbsoluteSourceStamps,optional,kw"`
	Basic                      `star:",kw"`
}

// Make makes the scheduler.
func (a *singleBranchScheduler) Make(c *spec.Call) any {
	s := a.stable(c, "SingleBranchScheduler", a.Name, "branch", a.Branch.Values)
	if a.Branch.Values == nil && a.ChangeFilter == nil && !c.Bad("branch") && !c.Bad("change_filter") {
		c.Problem("missing-parameter", "change_filter", "there is neither a change_filter nor a branch", `write change_filter = util.ChangeFilter(branch = "main")`)
	}
	s.Absolute = a.CreateAbsoluteSourceStamps
	return s
}

var _ sched.Runner = (*sched.Stable)(nil)
