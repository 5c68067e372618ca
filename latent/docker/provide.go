package docker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"buildstar/latent"
)

// provide sees to it that the engine has the image of a container, and returns its name
// (docs/requirements.md B5).
func (b *backend) provide(ctx context.Context, e *engine, w *wanted, in latent.Launch) (name string, err error) {
	name = w.image
	have := ""
	if name == "" {
		name = ownImage(b.env.Master, in.Worker)
	}
	if have, err = e.image(ctx, name); err != nil {
		return "", err
	}
	if w.dockerfile != "" && (have == "" || w.image == "") {
		if err := b.build(ctx, e, w, name, in.Log); err != nil {
			return "", err
		}
		before := have
		if have, err = e.image(ctx, name); err != nil {
			return "", err
		}
		if before != "" && before != have {
			e.forget(ctx, before) // it has no name any more
		}
	}
	if b.params.Autopull && w.image != "" && (have == "" || b.params.AlwaysPull) {
		in.Log(fmt.Sprintf("pull image %q\n", name))
		if err := e.pull(ctx, name, in.Log); err != nil {
			return "", err
		}
		if have, err = e.image(ctx, name); err != nil {
			return "", err
		}
	}
	if have == "" {
		return "", latent.Cannotf("the engine has no image %q", name)
	}
	return name, nil
}

// ownImage names the image of a worker that has a Dockerfile only. Names of workers may have
// letters that those of images may not.
func ownImage(master, worker string) string {
	return "buildbot-worker:" + sum(master+" "+worker, 6)
}

// build builds the image.
func (b *backend) build(ctx context.Context, e *engine, w *wanted, tag string, log func(string)) error {
	log(fmt.Sprintf("build image %q\n", tag))
	archive, err := b.context(w)
	if err != nil {
		return latent.Cannotf("read dockerfile: %w", err)
	}
	defer archive.Close()
	return e.build(ctx, archive, recipe{tag: tag, target: w.target, args: w.buildargs, pull: b.params.AlwaysPull}, log)
}

// context opens the archive that an image is built from.
func (b *backend) context(w *wanted) (io.ReadCloser, error) {
	if !w.customContext {
		var buf bytes.Buffer
		t := tar.NewWriter(&buf)
		if err := t.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: int64(len(w.dockerfile))}); err != nil {
			return nil, err
		}
		if _, err := t.Write([]byte(w.dockerfile)); err != nil {
			return nil, err
		}
		if err := t.Close(); err != nil {
			return nil, err
		}
		return io.NopCloser(&buf), nil
	}
	path := w.dockerfile
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.env.Basedir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file; custom_context wants a tar archive", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	buffered := bufio.NewReader(f)
	if w.encoding == "gzip" && !isCompressed(buffered) {
		return compress(f, buffered), nil
	}
	return struct {
		io.Reader
		io.Closer
	}{buffered, f}, nil
}

// isCompressed looks at the beginning of a file.
func isCompressed(r *bufio.Reader) bool {
	head, _ := r.Peek(6)
	for _, magic := range []string{"\x1f\x8b", "BZh", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd"} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return true
		}
	}
	return false
}

// compress returns what r has, compressed. Closing it closes f.
func compress(f io.Closer, r io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		z := gzip.NewWriter(in)
		_, err := io.Copy(z, r)
		if err == nil {
			err = z.Close()
		}
		in.CloseWithError(err)
	}()
	return struct {
		io.Reader
		io.Closer
	}{out, closer(func() error {
		out.Close()
		<-done
		return f.Close()
	})}
}

type closer func() error

func (c closer) Close() error { return c() }

// A lineWriter logs what is written to it, each line with a prefix.
type lineWriter struct {
	log    func(string)
	prefix string
}

// Write logs whole lines: an engine hands over what the container wrote at once.
func (w *lineWriter) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		w.log(w.prefix + string(bytes.TrimRight(line, "\r\n")) + "\n")
	}
	return len(p), nil
}
