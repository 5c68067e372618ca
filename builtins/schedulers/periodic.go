package schedulers

import (
	"time"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Periodic is schedulers.Periodic (docs/requirements.md C6).
var Periodic = &spec.Class{
	Module: "schedulers", Name: "Periodic",
	New:     func() any { return &periodic{Timed: Timed{Reason: triggered}} },
	Partial: true,
}

// periodic builds at once, and then again and again. If the time passed while the
// master was down, it builds once when it is back.
type periodic struct {
	// Name identifies the scheduler; builds have it as the property scheduler.
	Name string `star:"name"`
	// BuilderNames are the builders, or a renderable of their names; it sees the
	// attributes changes, files and sourcestamps of the properties.
	BuilderNames prop.Template[[]string] `star:"builderNames"`
	// PeriodicBuildTimer is how long after the last time the next one is.
	PeriodicBuildTimer time.Duration `star:"periodicBuildTimer"`
	Timed              `star:",kw"`
}

// Make makes the scheduler.
func (a *periodic) Make(c *spec.Call) any {
	if a.PeriodicBuildTimer <= 0 && !c.Bad("periodicBuildTimer") {
		c.Problem("bad-value", "periodicBuildTimer", "want more than 0 seconds", "")
	}
	s := a.timed(c, "Periodic", a.Name, a.BuilderNames)
	s.Every = a.PeriodicBuildTimer
	return s
}
