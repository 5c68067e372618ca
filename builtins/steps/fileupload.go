package steps

import (
	"context"
	"path/filepath"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// FileUpload is steps.FileUpload (docs/requirements.md C4).
var FileUpload = class("FileUpload", func() any {
	return &fileUpload{Base: base("FileUpload", "upload"), Limits: limits(256 << 10)}
})

// fileUpload copies a file from the worker to the master.
type fileUpload struct {
	Base
	// Workersrc is the file on the worker, absolute or below workdir; ~ is the home of who
	// runs the worker.
	Workersrc prop.Template[string] `star:"workersrc"`
	// Masterdest is the file on the master, absolute or below the master's basedir.
	// Directories above it are made. It appears, or changes, when all of it has come.
	Masterdest prop.Template[string] `star:"masterdest"`
	Limits     `star:",kw"`
	// Mode is the Unix mode of the file on the master: 0o644. The default is what the
	// master's umask leaves.
	Mode prop.Template[*int64] `star:"mode,optional,kw" min:"0" max:"4095"`
	// Keepstamp keeps the times of the file.
	Keepstamp prop.Template[bool] `star:"keepstamp,optional,kw"`
	Link      `star:",kw"`
}

// Make makes the step.
func (s *fileUpload) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "workersrc", s.Workersrc)
	notEmpty(c, "masterdest", s.Masterdest)
	return s
}

// Run implements run.Step.
func (s *fileUpload) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	t, err := newTransfer(ctx, r, &s.Limits, &s.Link)
	if err != nil {
		return config.Exception, err
	}
	x := &renderer{ctx: ctx, r: r}
	src, dest := renderName(x, "workersrc", s.Workersrc), masterPath(x, "masterdest", s.Masterdest)
	mode, keepstamp := checkMode(x, s.Mode), render(x, "keepstamp", s.Keepstamp)
	if x.err != nil {
		return config.Exception, x.err
	}
	name := run.Base(r.Worker().System, src)
	r.Describe("uploading "+name, "uploaded "+name)
	if src, err = r.HomePath(t.workdir, src); err != nil {
		return config.Exception, err
	}
	if err := t.begin(); err != nil {
		return config.Exception, err
	}
	result, err := t.uploadFile(ctx, src, dest, mode, keepstamp)
	if err == nil && result == config.Success {
		t.link(filepath.Base(dest))
	}
	return result, err
}

// masterPath renders a path on the master.
func masterPath(x *renderer, name string, t prop.Template[string]) string {
	p := renderName(x, name, t)
	if x.err == nil {
		p, x.err = x.r.MasterPath(p)
	}
	return p
}

// uploadFile copies a file of the worker to dest.
func (t *transfer) uploadFile(ctx context.Context, src, dest string, mode *int64, keepstamp bool) (config.Result, error) {
	l, err := land(t.r, dest, mode)
	if err != nil {
		return config.Exception, err
	}
	defer l.discard()
	result, err := t.upload(ctx, "upload_file", map[string]any{"path": src, "keepstamp": keepstamp}, l, l.stamp)
	if err != nil || result != config.Success {
		return result, err
	}
	if err := l.keep(); err != nil {
		return config.Exception, err
	}
	return config.Success, nil
}
