package schedulers

import (
	"context"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
	"buildstar/state"
)

// Triggerable is schedulers.Triggerable (docs/requirements.md C6).
var Triggerable = &spec.Class{
	Module: "schedulers", Name: "Triggerable",
	New:     func() any { return &triggerable{} },
	Partial: true,
}

// triggerable starts builds when a step asks for it: steps.Trigger.
type triggerable struct {
	// Name identifies the scheduler; steps.Trigger names it.
	Name string `star:"name"`
	// BuilderNames are the builders, or a renderable of their names, which sees the
	// properties that the step sets.
	BuilderNames prop.Template[[]string] `star:"builderNames"`
	// Reason is that of the builds. A property named reason that the step sets wins.
	Reason string `star:"reason,optional"`
	Common
}

// Make makes the scheduler.
func (t *triggerable) Make(c *spec.Call) any {
	b := t.base(c, "Triggerable", t.Name, t.BuilderNames, triggered)
	if t.Reason != "" {
		b.Reason = t.Reason
	}
	return &triggerTarget{b}
}

// triggerTarget is the configured scheduler.
type triggerTarget struct{ sched.Base }

var _ sched.Triggerer = (*triggerTarget)(nil)

// Triggerable implements config.Triggerable.
func (*triggerTarget) Triggerable() {}

// Trigger implements sched.Triggerer.
func (t *triggerTarget) Trigger(ctx context.Context, ask sched.Trigger) (*sched.Buildset, func(state.Tx) error, error) {
	why, _ := ask.Properties["reason"].Value.(string)
	set, err := t.Buildset(ctx, sched.Firing{Reason: why, Stamps: t.stamps(ask.Stamps), Properties: ask.Properties})
	if err != nil {
		return nil, nil, err
	}
	if !t.Priority.IsSet() {
		set.Priority = ask.Priority
	}
	return &set, nil, nil
}

// stamps returns a source stamp for every codebase of the scheduler and for every other
// one that was asked for.
func (t *triggerTarget) stamps(asked []map[string]*string) []state.SourceStamp {
	out := t.Stamps(nil, nil)
	for _, attributes := range asked {
		s := stampOf(out, text(attributes["codebase"]))
		if s == nil {
			out = append(out, state.SourceStamp{})
			s = &out[len(out)-1]
		}
		for name, v := range attributes {
			switch name {
			case "codebase":
				s.Codebase = text(v)
			case "repository":
				s.Repository = text(v)
			case "project":
				s.Project = text(v)
			case "branch":
				s.Branch = v
			case "revision":
				s.Revision = v
			}
		}
	}
	return out
}

func stampOf(stamps []state.SourceStamp, codebase string) *state.SourceStamp {
	for i := range stamps {
		if stamps[i].Codebase == codebase {
			return &stamps[i]
		}
	}
	return nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
