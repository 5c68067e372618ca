package steps

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// SetProperty is steps.SetProperty (docs/requirements.md C4).
var SetProperty = class("SetProperty", func() any { return &setProperty{Base: base("SetProperty", "SetProperty")} })

// setProperty sets one property of the build.
type setProperty struct {
	Base
	// Property is the name of the property.
	Property prop.Template[string] `star:"property"`
	// Value is its value: anything that JSON can say.
	Value prop.Template[any] `star:"value"`
}

// Make makes the step.
func (s *setProperty) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "property", s.Property)
	return s
}

// Run implements run.Step.
func (s *setProperty) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	name, value := renderName(x, "property", s.Property), render(x, "value", s.Value)
	if x.err != nil {
		return config.Exception, x.err
	}
	r.Describe("setting "+name, name+" set")
	r.SetProperty(name, value, r.StepName())
	return config.Success, nil
}
