package steps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// DirectoryUpload is steps.DirectoryUpload (docs/requirements.md C4).
var DirectoryUpload = class("DirectoryUpload", func() any {
	return &directoryUpload{Base: base("DirectoryUpload", "upload"), Limits: limits(16 << 10)}
})

// directoryUpload copies a directory from the worker to the master.
type directoryUpload struct {
	Base
	// Workersrc is the directory on the worker, absolute or below workdir; ~ is the home
	// of who runs the worker.
	Workersrc prop.Template[string] `star:"workersrc"`
	// Masterdest is the directory on the master, absolute or below the master's basedir.
	// What comes is added to what it has, once all of it has come. Links in it must not
	// lead out of it.
	Masterdest prop.Template[string] `star:"masterdest"`
	Limits     `star:",kw"`
	Compressed `star:",kw"`
	Link       `star:",kw"`
}

// Compressed says how directories travel.
type Compressed struct {
	// Compress is None, "gz" or "bz2". Maxsize is about the compressed bytes.
	Compress prop.Template[*string] `star:"compress,optional" oneof:"gz|bz2"`
}

func (c *Compressed) render(x *renderer) string {
	v := render(x, "compress", c.Compress)
	switch {
	case v == nil:
		return ""
	case *v != "gz" && *v != "bz2" && x.err == nil:
		x.err = fmt.Errorf(`render compress: want None, "gz" or "bz2", got %q`, *v)
	}
	return *v
}

// Make makes the step.
func (s *directoryUpload) Make(c *spec.Call) any {
	s.check(c)
	notEmpty(c, "workersrc", s.Workersrc)
	notEmpty(c, "masterdest", s.Masterdest)
	return s
}

// Run implements run.Step.
func (s *directoryUpload) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	t, err := newTransfer(ctx, r, &s.Limits, &s.Link)
	if err != nil {
		return config.Exception, err
	}
	x := &renderer{ctx: ctx, r: r}
	src, dest := renderName(x, "workersrc", s.Workersrc), masterPath(x, "masterdest", s.Masterdest)
	compress := s.Compressed.render(x)
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
	result, err := t.uploadDirectory(ctx, src, dest, compress)
	if err == nil && result == config.Success {
		t.link(filepath.Base(dest))
	}
	return result, err
}

// uploadDirectory copies a directory of the worker to dest. It is unpacked as it comes,
// in a directory beside dest.
func (t *transfer) uploadDirectory(ctx context.Context, src, dest, compress string) (config.Result, error) {
	dest, err := destination(dest)
	if err != nil {
		return config.Exception, fmt.Errorf("upload to %s: %w", dest, err)
	}
	part, err := partName(t.r, dest)
	if err != nil {
		return config.Exception, err
	}
	defer os.RemoveAll(part) // what is left is hidden, and the next try of this step removes it
	if err := os.Mkdir(part, 0o777); err != nil {
		return config.Exception, fmt.Errorf("upload to %s: %w", dest, err)
	}
	result, err := t.receive(ctx, src, part, compress)
	if err != nil || result != config.Success {
		return result, err
	}
	if err := merge(part, dest); err != nil {
		return config.Exception, fmt.Errorf("upload to %s: %w", dest, err)
	}
	return config.Success, nil
}

// destination follows the links of a directory, and makes those above it.
func destination(dest string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(dest), 0o777); err != nil {
		return dest, err
	}
	st, err := os.Stat(dest)
	if err != nil {
		return dest, nil
	}
	if !st.IsDir() {
		return dest, errors.New("it is there already and no directory")
	}
	return filepath.EvalSymlinks(dest)
}

var errIncomplete = errors.New("the transfer did not end well")

// receive unpacks what the worker sends below the directory part.
func (t *transfer) receive(ctx context.Context, src, part, compress string) (config.Result, error) {
	root, err := os.OpenRoot(part)
	if err != nil {
		return config.Exception, err
	}
	defer root.Close()
	from, to := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := unpack(root, compress, from)
		from.CloseWithError(err) // the worker's next block fails with it
		unpacked <- err
	}()
	var how any
	if compress != "" {
		how = compress
	}
	result, err := t.upload(ctx, "upload_directory", map[string]any{"path": src, "compress": how}, to, nil)
	if err != nil || result != config.Success {
		to.CloseWithError(errIncomplete)
		<-unpacked
		return result, err
	}
	to.Close()
	var bad *badArchive
	switch err := <-unpacked; {
	case errors.As(err, &bad):
		return t.failed("%v", bad)
	case err != nil:
		return config.Exception, err
	}
	return config.Success, nil
}

// merge moves what is in from to dest: as a whole if there is no dest yet. Nothing is
// moved if a file would take the place of a directory, or the other way round.
func merge(from, dest string) error {
	for _, move := range []bool{false, true} {
		err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, p)
			if err != nil {
				return err
			}
			return place(p, filepath.Join(dest, rel), d, move)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// place moves one file, or a directory that is not there yet.
func place(p, to string, d fs.DirEntry, move bool) error {
	old, err := os.Lstat(to)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && old.IsDir() != d.IsDir():
		return fmt.Errorf("%s is there already, and not of the kind that was sent", to)
	case err == nil && d.IsDir():
		return nil // what is in it follows
	}
	if move {
		if err := os.Rename(p, to); err != nil {
			return err
		}
	}
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}
