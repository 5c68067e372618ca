package schedulers

import (
	"context"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
	"buildstar/state"
)

// NightlyTriggerable is schedulers.NightlyTriggerable (docs/requirements.md C6).
var NightlyTriggerable = &spec.Class{
	Module: "schedulers", Name: "NightlyTriggerable",
	New:     func() any { return &nightlyTriggerable{Reason: triggered} },
	Partial: true,
	Unsupported: map[string]string{
		"onlyIfChanged": sourcesAreTriggered, "branch": sourcesAreTriggered, "change_filter": sourcesAreTriggered,
		"fileIsImportant": sourcesAreTriggered, "onlyImportant": sourcesAreTriggered, "createAbsoluteSourceStamps": sourcesAreTriggered,
	},
}

const sourcesAreTriggered = "it would have no effect: what is built is what the step asks for"

// nightlyTriggerable builds, at times of the calendar as schedulers.Nightly has them,
// what steps.Trigger last asked for since the time before; without such a step it
// builds nothing. The step does not wait for it.
type nightlyTriggerable struct {
	// Name identifies the scheduler; steps.Trigger names it.
	Name string `star:"name"`
	// BuilderNames are the builders, or a renderable of their names, which sees the
	// properties that the step set.
	BuilderNames prop.Template[[]string] `star:"builderNames"`
	Calendar     `star:",kw"`
	// Reason is given to the builds; %(classname)s and %(name)s are filled in. The
	// default names both.
	Reason string `star:"reason,optional,kw"`
	Common `star:",kw"`
}

// Make makes the scheduler.
func (a *nightlyTriggerable) Make(c *spec.Call) any {
	s := &postponed{sched.Postponed{Base: a.base(c, "NightlyTriggerable", a.Name, a.BuilderNames, a.Reason)}}
	s.Cron, _ = a.crons(c, ForceAt{})
	return s
}

// postponed is the configured scheduler.
type postponed struct{ sched.Postponed }

var (
	_ sched.Triggerer = (*postponed)(nil)
	_ sched.Runner    = (*postponed)(nil)
)

// Triggerable implements config.Triggerable.
func (*postponed) Triggerable() {}

// Trigger implements sched.Triggerer: it only remembers.
func (p *postponed) Trigger(_ context.Context, ask sched.Trigger) (*sched.Buildset, func(state.Tx) error, error) {
	now := triggerTarget{p.Base}
	return nil, p.Postpone(now.stamps(ask.Stamps), ask), nil
}
