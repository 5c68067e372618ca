package steps

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// MultipleFileUpload is steps.MultipleFileUpload (docs/requirements.md C4).
var MultipleFileUpload = class("MultipleFileUpload", func() any {
	return &multipleFileUpload{Base: base("MultipleFileUpload", "upload"), Limits: limits(16 << 10)}
})

// multipleFileUpload copies files and directories from the worker into a directory of
// the master, one after the other. The first that fails ends it.
type multipleFileUpload struct {
	Base
	// Workersrcs are files and directories on the worker, absolute or below workdir; one
	// may stand without a list.
	Workersrcs prop.Template[Names] `star:"workersrcs"`
	// Masterdest is the directory on the master, absolute or below the master's basedir.
	// Each keeps its name in it.
	Masterdest prop.Template[string] `star:"masterdest"`
	Limits     `star:",kw"`
	// Glob takes workersrcs as patterns: "*.log", "**/*.xml". If they match nothing the
	// step is skipped.
	Glob prop.Template[bool] `star:"glob,optional,kw"`
	// Mode is the Unix mode of the files on the master: 0o644. The default is what the
	// master's umask leaves. Those in directories keep their own.
	Mode       prop.Template[*int64] `star:"mode,optional,kw" min:"0" max:"4095"`
	Compressed `star:",kw"`
	// Keepstamp keeps the times of files.
	Keepstamp prop.Template[bool] `star:"keepstamp,optional,kw"`
	Link      `star:",kw"`
}

// Names is a list of names; one may stand without a list.
type Names []string

// TypeName is what messages call it.
func (Names) TypeName() string { return "string or list of strings" }

// FromValue reads a string or a list of strings.
func (n *Names) FromValue(v any) error {
	if s, ok := v.(string); ok {
		v = []any{s}
	}
	l, err := prop.Convert[[]string](v)
	if err != nil {
		return fmt.Errorf("want a string or a list of strings, got %s", prop.Describe(v))
	}
	*n = l
	return nil
}

// Make makes the step.
func (s *multipleFileUpload) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "masterdest", s.Masterdest)
	if v, plain := s.Workersrcs.Plain(); plain && (len(v) == 0 || slices.Contains(v, "")) {
		c.Problem("bad-value", "workersrcs", "there is none, or one is empty", "")
	}
	return s
}

// Run implements run.Step.
func (s *multipleFileUpload) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	t, err := newTransfer(ctx, r, &s.Limits, &s.Link)
	if err != nil {
		return config.Exception, err
	}
	x := &renderer{ctx: ctx, r: r}
	srcs, dest := render(x, "workersrcs", s.Workersrcs), masterPath(x, "masterdest", s.Masterdest)
	up := &several{transfer: t, dest: dest, mode: checkMode(x, s.Mode), keepstamp: render(x, "keepstamp", s.Keepstamp),
		compress: s.Compressed.render(x)}
	glob := render(x, "glob", s.Glob)
	if x.err != nil {
		return config.Exception, x.err
	}
	r.Describe("uploading files", "uploaded files")
	if err := t.begin(); err != nil {
		return config.Exception, err
	}
	paths, err := up.paths(ctx, srcs, glob)
	if err != nil {
		return config.Exception, err
	}
	if len(paths) == 0 {
		r.Because("no files")
		return config.Skipped, nil
	}
	for _, p := range paths {
		if result, err := up.one(ctx, p); err != nil || result != config.Success {
			return result, err
		}
	}
	r.Because(fmt.Sprintf("%d", len(paths)))
	t.link(filepath.Base(dest))
	return config.Success, nil
}

// several is one run of a MultipleFileUpload.
type several struct {
	*transfer
	dest      string
	mode      *int64
	keepstamp bool
	compress  string
}

// paths returns what to upload, by absolute path. What patterns match is sorted.
func (u *several) paths(ctx context.Context, srcs []string, glob bool) ([]string, error) {
	var paths []string
	for _, src := range srcs {
		if src == "" {
			return nil, fmt.Errorf("render workersrcs: one is empty")
		}
		p, err := u.r.HomePath(u.workdir, src)
		if err != nil {
			return nil, err
		}
		if !glob {
			paths = append(paths, p)
			continue
		}
		found, err := u.glob(ctx, p)
		if err != nil {
			return nil, err
		}
		paths = append(paths, found...)
	}
	return paths, nil
}

func (u *several) glob(ctx context.Context, pattern string) ([]string, error) {
	result, err := u.r.Command(ctx, run.Command{Name: "glob", Args: map[string]any{"path": pattern}, Log: u.log})
	if err != nil {
		return nil, err
	}
	if !result.Succeeded() {
		return nil, fmt.Errorf("list %s on the worker: %s", pattern, result.Error)
	}
	found, err := prop.Convert[[]string](result.Values["files"])
	if err != nil {
		return nil, fmt.Errorf("list %s on the worker: %w", pattern, err)
	}
	slices.Sort(found)
	return found, nil
}

// one uploads a file or a directory.
func (u *several) one(ctx context.Context, path string) (config.Result, error) {
	name := run.Base(u.r.Worker().System, path)
	if name == "" {
		return u.failed("%s has no name that it could keep", path)
	}
	result, err := u.r.Command(ctx, run.Command{Name: "stat", Args: map[string]any{"path": path}, Log: u.log})
	if err != nil {
		return config.Exception, err
	}
	if err := said(u.log, result); err != nil {
		return config.Exception, err
	}
	dest := filepath.Join(u.dest, name)
	switch mode, ok := statMode(result); {
	case !ok:
		return u.failed("%s is not there", path)
	case isDir(mode):
		return u.uploadDirectory(ctx, path, dest, u.compress)
	case isRegular(mode):
		return u.uploadFile(ctx, path, dest, u.mode, u.keepstamp)
	}
	return u.failed("%s is neither a file nor a directory", path)
}
