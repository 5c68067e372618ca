package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"buildstar/conn/wire"
)

// rmdir and cpdir work on whole trees without the help of rm and cp, so they end at
// once when they are interrupted, and cpdir does not send the name of every file.

// stockTreeTimeout is how long these commands may get nowhere if the master does not
// say.
const stockTreeTimeout = 120 * time.Second

var (
	errNoProgress = errors.New("timed out without progress")
	errTooLong    = errors.New("timed out")
)

// treeWork is a command on trees: it ends when it gets nowhere for too long.
type treeWork struct {
	c       *command
	ctx     context.Context
	timeout time.Duration
	maxTime time.Duration
	silence *time.Timer
}

// parseTree reads the time limits and makes a command of f. f returns what cannot be
// done to which path.
func parseTree(r *reader, f func(w *treeWork) error) runFunc {
	timeout, maxTime := r.seconds("timeout"), r.seconds("maxTime")
	if _, given := r.args["timeout"]; !given {
		timeout = stockTreeTimeout
	}
	return func(c *command) error {
		ctx, cancel := context.WithCancelCause(c.ctx)
		defer cancel(nil)
		w := &treeWork{c: c, ctx: ctx, timeout: timeout, maxTime: maxTime}
		if timeout > 0 {
			w.silence = time.AfterFunc(timeout, func() { cancel(errNoProgress) })
			defer w.silence.Stop()
		}
		if maxTime > 0 {
			defer time.AfterFunc(maxTime, func() { cancel(errTooLong) }).Stop()
		}
		w.report(f(w))
		return nil
	}
}

// step is called for each file: it fails when the work must end.
func (w *treeWork) step() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	if w.silence != nil {
		w.silence.Reset(w.timeout)
	}
	return nil
}

func (w *treeWork) report(err error) {
	out := w.c.out
	switch {
	case err == nil:
		out.value(wire.RC, 0)
	case errors.Is(err, errNoProgress):
		out.value(wire.FailureReason, "timeout_without_output")
		out.header(fmt.Sprintf("\ncommand timed out: %s seconds without progress in %s\n", plainSeconds(w.timeout), w.c.name))
		out.value(wire.RC, -1)
	case errors.Is(err, errTooLong):
		out.value(wire.FailureReason, "timeout")
		out.header(fmt.Sprintf("\ncommand timed out: %s seconds elapsed in %s\n", plainSeconds(w.maxTime), w.c.name))
		out.value(wire.RC, -1)
	case w.c.interrupted():
	default:
		out.stderr(fmt.Sprintf("%s: %v\n", w.c.name, err))
		out.value(wire.RC, 1)
	}
}

func parseRmdir(s *session, r *reader) runFunc {
	paths := r.paths("paths")
	return parseTree(r, func(w *treeWork) error {
		for _, p := range paths {
			w.c.out.header("removing " + p + "\n")
			if err := w.remove(filepath.Clean(s.path(p))); err != nil {
				return err
			}
		}
		return nil
	})
}

// remove removes a file or a tree; one that is not there is fine. Directories that may
// not be changed are made so.
func (w *treeWork) remove(path string) error {
	if err := w.step(); err != nil {
		return err
	}
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	st, statErr := os.Lstat(path)
	if statErr != nil || !st.IsDir() {
		if errors.Is(err, fs.ErrPermission) && allow(filepath.Dir(path)) == nil {
			err = os.Remove(path)
		}
		return err
	}
	if err := w.empty(path); err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrPermission) && allow(filepath.Dir(path)) == nil {
		err = os.Remove(path)
	}
	return err
}

// empty removes what is in a directory, a part of the names at a time.
func (w *treeWork) empty(path string) error {
	for {
		names, err := someNames(path)
		if errors.Is(err, fs.ErrPermission) && allow(path) == nil {
			names, err = someNames(path)
		}
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			if err := w.remove(filepath.Join(path, name)); err != nil {
				return err
			}
		}
	}
}

func someNames(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(1000)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// allow lets the owner read and change a directory.
func allow(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !st.IsDir() || st.Mode().Perm()&0o700 == 0o700 {
		return fs.ErrPermission
	}
	return os.Chmod(dir, st.Mode().Perm()|0o700)
}

func parseCpdir(s *session, r *reader) runFunc {
	from, to := r.path("from_path"), r.path("to_path")
	return parseTree(r, func(w *treeWork) error {
		w.c.out.header(fmt.Sprintf("copying %s to %s\n", from, to))
		target := s.path(to)
		// As cp: into a directory that is there already.
		if st, err := os.Stat(target); err == nil && st.IsDir() {
			target = filepath.Join(target, filepath.Base(s.path(from)))
		}
		return w.copyAll(s.path(from), target)
	})
}

func (w *treeWork) copyAll(from, to string) error {
	if rel, err := filepath.Rel(from, to); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("cannot copy %s into itself, %s", from, to)
	}
	return w.copy(from, to)
}

// copy copies a file or a tree, with links, modes and times, and owners where we may.
func (w *treeWork) copy(from, to string) error {
	if err := w.step(); err != nil {
		return err
	}
	st, err := os.Lstat(from)
	if err != nil {
		return err
	}
	switch {
	case st.IsDir():
		err = w.copyDir(from, to, st)
	case st.Mode().IsRegular():
		err = w.copyFile(from, to, st)
	case st.Mode()&fs.ModeSymlink != 0:
		return copyLink(from, to, st)
	case st.Mode()&fs.ModeNamedPipe != 0:
		err = unix.Mkfifo(to, uint32(st.Mode().Perm()))
	default:
		return nil // sockets and devices are nobody's build
	}
	if err != nil {
		return err
	}
	return keepAttributes(to, st)
}

func (w *treeWork) copyDir(from, to string, st fs.FileInfo) error {
	if err := os.Mkdir(to, st.Mode().Perm()|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := w.copy(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *treeWork) copyFile(from, to string, st fs.FileInfo) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, st.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for {
		n, err := io.CopyN(out, in, 4<<20)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 {
			if err := w.step(); err != nil {
				return err
			}
		}
	}
}

func copyLink(from, to string, st fs.FileInfo) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if old, err := os.Lstat(to); err == nil && !old.IsDir() {
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	if err := os.Symlink(target, to); err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		_ = os.Lchown(to, int(sys.Uid), int(sys.Gid)) // only root may give files away
		modified, accessed, _ := times(sys)
		ts := []unix.Timespec{unix.NsecToTimespec(accessed.UnixNano()), unix.NsecToTimespec(modified.UnixNano())}
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, to, ts, unix.AT_SYMLINK_NOFOLLOW) // a link's time is of little use
	}
	return nil
}

func keepAttributes(to string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return os.Chmod(to, st.Mode())
	}
	_ = os.Lchown(to, int(sys.Uid), int(sys.Gid)) // only root may give files away
	if err := os.Chmod(to, st.Mode()); err != nil {
		return err
	}
	modified, accessed, _ := times(sys)
	return os.Chtimes(to, accessed, modified)
}
