package steps

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// LogRenderable is steps.LogRenderable (docs/requirements.md C4).
var LogRenderable = class("LogRenderable", func() any { return &logRenderable{Base: base("LogRenderable", "LogRenderable")} })

// logRenderable writes a value to the log "Output", as Python writes it.
type logRenderable struct {
	Base
	// Content is what is written.
	Content prop.Template[any] `star:"content"`
}

// Make makes the step.
func (s *logRenderable) Make(c *spec.Call) any {
	s.check(c)
	return s
}

// Run implements run.Step.
func (s *logRenderable) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	v, err := run.Render(ctx, r, "content", s.Content)
	if err != nil {
		return config.Exception, err
	}
	r.Describe("logging", "logged")
	l, err := r.AddLog("Output", "t")
	if err != nil {
		return config.Exception, err
	}
	return config.Success, l.Write('t', prop.Repr(v))
}
