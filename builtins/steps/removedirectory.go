package steps

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// RemoveDirectory is steps.RemoveDirectory (docs/requirements.md C4).
var RemoveDirectory = class("RemoveDirectory", func() any { return &removeDirectory{Base: halting("RemoveDirectory", "RemoveDirectory")} })

// removeDirectory removes a directory (or file) on the worker with all in it. One that is not
// there is fine.
type removeDirectory struct {
	Base
	// Dir is the directory, absolute or below the builder's directory.
	Dir prop.Template[string] `star:"dir"`
}

// Make makes the step.
func (s *removeDirectory) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "dir", s.Dir)
	return s
}

// Run implements run.Step.
func (s *removeDirectory) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	path := workerPath(x, "dir", s.Dir)
	if x.err != nil {
		return config.Exception, x.err
	}
	r.Describe("deleting", "deleted")
	result, err := workerCommand(ctx, r, "rmdir", map[string]any{"paths": []any{path}, "timeout": int64(120), "maxTime": nil, "logEnviron": false})
	if err != nil {
		return config.Exception, err
	}
	return outcomeOf(r, result), nil
}
