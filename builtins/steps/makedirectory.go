package steps

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// MakeDirectory is steps.MakeDirectory (docs/requirements.md C4).
var MakeDirectory = class("MakeDirectory", func() any { return &makeDirectory{Base: halting("MakeDirectory", "MakeDirectory")} })

// makeDirectory makes a directory on the worker, with those above it.
type makeDirectory struct {
	Base
	// Dir is the directory, absolute or below the builder's directory.
	Dir prop.Template[string] `star:"dir"`
}

// Make makes the step.
func (s *makeDirectory) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "dir", s.Dir)
	return s
}

// Run implements run.Step.
func (s *makeDirectory) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	path := workerPath(x, "dir", s.Dir)
	if x.err != nil {
		return config.Exception, x.err
	}
	r.Describe("creating", "created")
	result, err := workerCommand(ctx, r, "mkdir", map[string]any{"paths": []any{path}})
	if err != nil {
		return config.Exception, err
	}
	return outcomeOf(r, result), nil
}
