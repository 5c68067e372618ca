package steps

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// FileDownload is steps.FileDownload (docs/requirements.md C4).
var FileDownload = class("FileDownload", func() any {
	return &fileDownload{Base: base("FileDownload", "download"), Downloaded: Downloaded{Limits: limits(16 << 10)}}
})

// fileDownload copies a file from the master to the worker.
type fileDownload struct {
	Base
	// Mastersrc is the file on the master, absolute or below the master's basedir.
	Mastersrc prop.Template[string] `star:"mastersrc"`
	Downloaded
}

// Downloaded are the arguments of every download.
type Downloaded struct {
	// Workerdest is the file on the worker, absolute or below workdir; ~ is the home of
	// who runs the worker. Directories above it are made.
	Workerdest prop.Template[string] `star:"workerdest"`
	Limits     `star:",kw"`
	// Mode is the Unix mode of the file on the worker: 0o755. The default is the
	// worker's.
	Mode prop.Template[*int64] `star:"mode,optional,kw" min:"0" max:"4095"`
}

// Make makes the step.
func (s *fileDownload) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "mastersrc", s.Mastersrc)
	notEmpty(c, "workerdest", s.Workerdest)
	return s
}

// Run implements run.Step.
func (s *fileDownload) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	src := masterPath(x, "mastersrc", s.Mastersrc)
	if x.err != nil {
		return config.Exception, x.err
	}
	d, err := s.Downloaded.begin(ctx, r)
	if err != nil {
		return config.Exception, err
	}
	st, err := os.Stat(src)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.failed("file %s is not there on the master", src)
	case err != nil:
		return config.Exception, err
	case !st.Mode().IsRegular():
		return d.failed("%s on the master is no file", src)
	}
	f, err := os.Open(src)
	if err != nil {
		return config.Exception, err
	}
	defer f.Close()
	return d.download(ctx, d.path, f, st.Size(), d.mode)
}

// delivery is one run of a download.
type delivery struct {
	*transfer
	path string
	mode *int64
}

// begin renders the arguments and opens the log.
func (s *Downloaded) begin(ctx context.Context, r *run.Running) (*delivery, error) {
	t, err := newTransfer(ctx, r, &s.Limits, nil)
	if err != nil {
		return nil, err
	}
	x := &renderer{ctx: ctx, r: r}
	d := &delivery{transfer: t, path: renderName(x, "workerdest", s.Workerdest), mode: checkMode(x, s.Mode)}
	if x.err != nil {
		return nil, x.err
	}
	name := run.Base(r.Worker().System, d.path)
	r.Describe("downloading to "+name, "downloaded to "+name)
	if d.path, err = r.HomePath(t.workdir, d.path); err != nil {
		return nil, err
	}
	return d, t.begin()
}
