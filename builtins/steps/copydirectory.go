package steps

import (
	"context"
	"fmt"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// CopyDirectory is steps.CopyDirectory (docs/requirements.md C4).
var CopyDirectory = class("CopyDirectory", func() any {
	patience := 120.0
	return &copyDirectory{Base: halting("CopyDirectory", "CopyDirectory"), Timeout: prop.Of(&patience)}
})

// copyDirectory copies a directory on the worker, with links, modes and times.
type copyDirectory struct {
	Base
	// Src is the directory to copy, absolute or below the builder's directory.
	Src prop.Template[string] `star:"src"`
	// Dest is the copy. If it is a directory already, the copy is made in it.
	Dest prop.Template[string] `star:"dest"`
	// Timeout gives up after so many seconds without progress; None is never. The
	// default is 120.
	Timeout prop.Template[*float64] `star:"timeout,optional" hint:"write seconds as a number"`
	// MaxTime gives up after so many seconds.
	MaxTime prop.Template[*float64] `star:"maxTime,optional" hint:"write seconds as a number"`
}

// Make makes the step.
func (s *copyDirectory) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "src", s.Src)
	notEmpty(c, "dest", s.Dest)
	notNegative(c, "timeout", s.Timeout)
	notNegative(c, "maxTime", s.MaxTime)
	return s
}

// Run implements run.Step.
func (s *copyDirectory) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	src, dest := workerPath(x, "src", s.Src), workerPath(x, "dest", s.Dest)
	timeout, maxTime := number(render(x, "timeout", s.Timeout)), number(render(x, "maxTime", s.MaxTime))
	if x.err != nil {
		return config.Exception, x.err
	}
	system := r.Worker().System
	r.Describe(fmt.Sprintf("copying %s to %s", run.Base(system, src), run.Base(system, dest)),
		fmt.Sprintf("copied %s to %s", run.Base(system, src), run.Base(system, dest)))
	result, err := workerCommand(ctx, r, "cpdir", map[string]any{
		"from_path": src, "to_path": dest, "timeout": timeout, "maxTime": maxTime, "logEnviron": false,
	})
	if err != nil {
		return config.Exception, err
	}
	return outcomeOf(r, result), nil
}
