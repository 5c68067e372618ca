package worker

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"buildstar/conn/wire"
)

func parseUploadDirectory(s *session, r *reader) runFunc {
	t := r.transfer()
	compress := r.textOr("compress", "")
	if compress != "" && compress != "gz" && compress != "bz2" {
		r.fail(fmt.Errorf("compress: want None, gz or bz2, got %q", compress))
	}
	return func(c *command) error {
		root := s.path(t.path)
		names, err := os.ReadDir(root)
		if err != nil {
			rc, text := errno(err)
			c.out.value(wire.RC, 1)
			c.out.stderr(fmt.Sprintf("Cannot read directory '%s' for upload: [Errno %d] %s: '%s'", t.path, rc, text, t.path))
			return nil
		}
		c.out.header("sending " + t.path + "\n")
		out := &sender{c: c, op: wire.OpUploadDirectoryWrite, t: &t}
		err = compressed(c, compress, out, func(w io.Writer) error {
			a := &archive{c: c, tar: tar.NewWriter(w), root: root}
			return a.all(names)
		})
		if err == nil {
			err = out.flush()
		}
		if err == nil {
			_, err = c.call(c.ctx, wire.OpUploadDirectoryDone, nil)
		}
		return c.transferred(&t, err)
	}
}

// compressed runs f with a writer whose bytes are compressed and then written to out.
func compressed(c *command, how string, out io.Writer, f func(io.Writer) error) error {
	switch how {
	case "gz":
		z := gzip.NewWriter(out)
		if err := f(z); err != nil {
			return err
		}
		return z.Close()
	case "bz2":
		return bzip2Program(c, out, f)
	}
	return f(out)
}

// bzip2Program compresses with the program of that name: Go can only read its format.
func bzip2Program(c *command, out io.Writer, f func(io.Writer) error) error {
	cmd := exec.CommandContext(c.ctx, "bzip2", "-c")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	target := &keepError{w: out}
	cmd.Stdout = target
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("compress with bz2: %w; install bzip2 on the worker, or use gz", err)
	}
	w := bufio.NewWriterSize(in, readSize)
	err = f(w)
	if err == nil {
		err = w.Flush()
	}
	in.Close()
	waitErr := cmd.Wait()
	switch {
	case target.err != nil: // it is why the rest failed
		return target.err
	case err != nil:
		return err
	case waitErr != nil:
		return fmt.Errorf("compress with bz2: %w", waitErr)
	}
	return nil
}

// keepError remembers why writing failed.
type keepError struct {
	w   io.Writer
	err error
}

func (k *keepError) Write(p []byte) (int, error) {
	n, err := k.w.Write(p)
	if err != nil {
		k.err = err
	}
	return n, err
}

// archive writes a directory as a tar, one file at a time.
type archive struct {
	c    *command
	tar  *tar.Writer
	root string
	buf  []byte
}

// all writes the directory itself and what is in it.
func (a *archive) all(names []fs.DirEntry) error {
	a.buf = make([]byte, readSize)
	if err := a.add(".", nil); err != nil {
		return err
	}
	if err := a.entries(".", names); err != nil {
		return err
	}
	return a.tar.Close()
}

func (a *archive) entries(dir string, names []fs.DirEntry) error {
	for _, e := range names {
		if err := a.add(filepath.Join(dir, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

// add writes what is at rel, and if that is a directory all below it. Links are kept
// as links; sockets cannot be kept.
func (a *archive) add(rel string, e fs.DirEntry) error {
	if a.c.ctx.Err() != nil {
		return a.c.ctx.Err()
	}
	path := filepath.Join(a.root, rel)
	st, err := os.Lstat(path)
	if rel == "." {
		st, err = os.Stat(path) // the master named a directory, perhaps by a link
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Mode()&fs.ModeSocket != 0 {
		return nil // it went away meanwhile
	}
	if err != nil {
		return err
	}
	if st.Mode().IsRegular() {
		return a.file(rel, path)
	}
	link := ""
	if st.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	if err := a.header(rel, st, link); err != nil {
		return err
	}
	if !st.IsDir() || e == nil {
		return nil
	}
	names, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	return a.entries(rel, names)
}

func (a *archive) header(rel string, st fs.FileInfo, link string) error {
	h, err := tar.FileInfoHeader(st, link)
	if err != nil {
		return err
	}
	h.Name = filepath.ToSlash(rel)
	if st.IsDir() {
		h.Name += "/"
	}
	h.Format = tar.FormatPAX // long names, big files, parts of seconds
	return a.tar.WriteHeader(h)
}

// file writes a regular file with the size it has when it is opened: what is added
// meanwhile is left out, what is cut off meanwhile is zeros.
func (a *archive) file(rel, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := a.header(rel, st, ""); err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{a.tar}, struct{ io.Reader }{io.LimitReader(f, st.Size())}, a.buf)
	if err != nil {
		return err
	}
	_, err = io.CopyN(a.tar, zeros{}, st.Size()-n)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
