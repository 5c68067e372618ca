package schedulers

import (
	"fmt"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// Dependent is schedulers.Dependent (docs/requirements.md C6).
var Dependent = &spec.Class{
	Module: "schedulers", Name: "Dependent",
	New:     func() any { return &dependent{} },
	Partial: true,
}

// dependent builds the sources that another scheduler had built, once all of those
// builds succeeded, with warnings or without. A source without a revision is the newest
// of its branch, which may be another one by then. Codebases are added, with what they
// say, to those that were built.
type dependent struct {
	// Name identifies the scheduler; builds have it as the property scheduler.
	Name string `star:"name"`
	// Upstream is the other scheduler, itself and not its name.
	Upstream upstream `star:"upstream"`
	// BuilderNames are the builders, or a renderable of their names; it sees the
	// attributes changes, files and sourcestamps of the properties.
	BuilderNames prop.Template[[]string] `star:"builderNames"`
	Common       `star:",kw"`
}

// Make makes the scheduler.
func (a *dependent) Make(c *spec.Call) any {
	more := a.Codebases
	s := &sched.Dependent{Base: a.base(c, "Dependent", a.Name, a.BuilderNames, "downstream"), Upstream: a.Upstream.name}
	s.Codebases = more
	return s
}

// upstream is a scheduler.
type upstream struct{ name string }

// TypeName is what messages call it.
func (upstream) TypeName() string { return "scheduler" }

// FromValue takes the scheduler itself.
func (u *upstream) FromValue(v any) error {
	s, ok := v.(config.Scheduler)
	if !ok {
		return fmt.Errorf("want the scheduler itself, such as schedulers.SingleBranchScheduler(...), got %s", prop.Describe(v))
	}
	u.name = s.Key().Name
	return nil
}
