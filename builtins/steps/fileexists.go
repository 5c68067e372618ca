package steps

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// FileExists is steps.FileExists (docs/requirements.md C4).
var FileExists = class("FileExists", func() any { return &fileExists{Base: halting("FileExists", "FileExists")} })

// fileExists fails unless a regular file (or a link to one) is on the worker.
type fileExists struct {
	Base
	// File is the file, absolute or below the builder's directory.
	File prop.Template[string] `star:"file"`
}

// Make makes the step.
func (s *fileExists) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "file", s.File)
	return s
}

// Run implements run.Step.
func (s *fileExists) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	path := workerPath(x, "file", s.File)
	if x.err != nil {
		return config.Exception, x.err
	}
	r.Describe("checking", "file exists")
	result, err := workerCommand(ctx, r, "stat", map[string]any{"path": path})
	if err != nil {
		return config.Exception, err
	}
	switch mode, ok := statMode(result); {
	case !ok:
		r.Because("not found")
		return config.Failure, nil
	case !isRegular(mode):
		r.Because("not a file")
		return config.Failure, nil
	}
	return config.Success, nil
}

// statMode returns the mode that a stat command told, if there is such a file.
func statMode(result run.CommandResult) (mode int64, ok bool) {
	list, _ := result.Values["stat"].([]any)
	if !result.Succeeded() || len(list) == 0 {
		return 0, false
	}
	mode, ok = list[0].(int64)
	return mode, ok
}

// isRegular and isDir tell the kind of a file by its Unix mode.
func isRegular(mode int64) bool { return mode&0o170000 == 0o100000 }
func isDir(mode int64) bool     { return mode&0o170000 == 0o040000 }
