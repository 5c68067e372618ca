package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"buildstar/conn/wire"
)

func parseDownloadFile(s *session, r *reader) runFunc {
	t := r.transfer()
	mode := r.integer("mode", -1)
	return func(c *command) error {
		path := s.path(t.path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return fmt.Errorf("create directory of '%s': %w", t.path, err)
		}
		f, err := newTarget(path, mode)
		if err != nil {
			_ = c.closeRemote(wire.OpReadFileClose) // the master may not mind
			c.out.value(wire.RC, 1)
			c.out.stderr(fmt.Sprintf("Cannot open file '%s' for download", t.path))
			return nil
		}
		err = c.receive(f, &t)
		if closeErr := c.closeRemote(wire.OpReadFileClose); err == nil {
			err = closeErr
		}
		if err == nil {
			err = f.commit()
		} else {
			f.discard()
		}
		return c.transferred(&t, err)
	}
}

// receive reads the master's file block by block. A file of exactly maxsize bytes is
// not too big, so the master is asked for one more.
func (c *command) receive(f *target, t *transfer) error {
	left := t.maxsize
	for {
		length := min(int64(t.blocksize), left)
		length = max(length, 1)
		v, err := c.call(c.ctx, wire.OpReadFile, map[string]any{wire.KeyLength: length})
		if err != nil {
			return err
		}
		var block []byte
		switch v := v.(type) {
		case nil:
		case []byte:
			block = v
		case string:
			block = []byte(v)
		default:
			return &remoteError{fmt.Sprintf("%T, not the bytes of a file", v)}
		}
		switch {
		case len(block) == 0:
			return nil
		case int64(len(block)) > length:
			return &remoteError{fmt.Sprintf("%d bytes, but %d were asked for", len(block), length)}
		case left == 0:
			return errTooBig
		}
		if _, err := f.Write(block); err != nil {
			return err
		}
		left -= int64(len(block))
	}
}

// target is a file that is being written: at its place only once it is complete.
type target struct {
	*os.File
	path string // where it goes; "" if it is written in place
}

// newTarget begins to write the file at path. What is there and is no regular file (a
// device, say) is written to; a link is followed. mode -1 means that of the file that is
// replaced, or the usual one.
func newTarget(path string, mode int64) (*target, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	old, err := os.Stat(path)
	switch {
	case err == nil && old.IsDir():
		return nil, &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
	case err == nil && !old.Mode().IsRegular():
		// Nobody need be at the other end of a pipe.
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		return &target{File: f}, nil
	}
	name := filepath.Join(filepath.Dir(path), ".download-"+newMark())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	t := &target{File: f, path: path}
	switch {
	case mode >= 0:
		err = f.Chmod(fileMode(mode))
	case old != nil:
		err = f.Chmod(old.Mode().Perm())
	}
	if err != nil {
		t.discard()
		return nil, err
	}
	return t, nil
}

// fileMode makes an os.FileMode of a Unix mode.
func fileMode(mode int64) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}

func (t *target) commit() error {
	if err := t.Close(); err != nil {
		t.discard()
		return err
	}
	if t.path == "" {
		return nil
	}
	if err := os.Rename(t.Name(), t.path); err != nil {
		t.discard()
		return err
	}
	return nil
}

func (t *target) discard() {
	err := t.Close()
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		return // as good as gone
	}
	if t.path != "" {
		_ = os.Remove(t.Name()) // what is left is hidden and does no harm
	}
}
