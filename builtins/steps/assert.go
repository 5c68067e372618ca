package steps

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// Assert is steps.Assert (docs/requirements.md C4).
var Assert = class("Assert", func() any { return &assertion{Base: base("Assert", "Assert")} })

// assertion fails unless a renderable is true.
type assertion struct {
	Base
	// Check counts as true or false as in Python: None, False, 0 and what is empty fail.
	Check prop.Template[any] `star:"check"`
}

// Make makes the step.
func (s *assertion) Make(c *spec.Call) any {
	s.Base.check(c)
	return s
}

// Run implements run.Step.
func (s *assertion) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	v, err := run.Render(ctx, r, "check", s.Check)
	if err != nil {
		return config.Exception, err
	}
	r.Describe("checking", "checked")
	if !prop.Truthy(v) {
		r.Because("it is " + prop.Describe(v))
		return config.Failure, nil
	}
	return config.Success, nil
}
