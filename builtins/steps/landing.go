package steps

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"buildstar/engine/run"
)

// landing is a file on the master while a worker sends it: under a temporary name in
// the directory where it will be, until all of it came.
type landing struct {
	*os.File
	dest               string
	accessed, modified time.Time
	kept               bool
}

// land begins to write a file; the directories above it are made. mode nil is what
// the umask makes of 0666.
func land(r *run.Running, dest string, mode *int64) (*landing, error) {
	if err := os.MkdirAll(filepath.Dir(dest), 0o777); err != nil {
		return nil, fmt.Errorf("upload to %s: %w", dest, err)
	}
	if st, err := os.Stat(dest); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("upload to %s: it is there already and no file; name the file in masterdest", dest)
	}
	part, err := partName(r, dest)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("upload to %s: %w", dest, err)
	}
	l := &landing{File: f, dest: dest}
	if mode != nil {
		if err := f.Chmod(fileMode(*mode)); err != nil {
			l.discard()
			return nil, fmt.Errorf("upload to %s: %w", dest, err)
		}
	}
	return l, nil
}

// partName returns the temporary name for something at dest. No other step has it;
// what a master that died left there is removed.
func partName(r *run.Running, dest string) (string, error) {
	part := filepath.Join(filepath.Dir(dest), fmt.Sprintf(".upload-%d-%d", r.BuildID(), r.StepNumber()))
	if err := os.RemoveAll(part); err != nil {
		return "", fmt.Errorf("upload to %s: %w", dest, err)
	}
	return part, nil
}

// stamp keeps the times of the worker's file, in seconds.
func (l *landing) stamp(accessed, modified float64) {
	l.accessed, l.modified = seconds(accessed), seconds(modified)
}

// seconds makes a time of seconds since 1970; the zero time of what is none.
func seconds(s float64) time.Time {
	if math.IsNaN(s) || math.Abs(s) > 1<<40 {
		return time.Time{}
	}
	whole, part := math.Modf(s)
	return time.Unix(int64(whole), int64(part*1e9))
}

// keep puts the file at its place.
func (l *landing) keep() error {
	if err := l.Close(); err != nil {
		return fmt.Errorf("upload to %s: %w", l.dest, err)
	}
	if !l.modified.IsZero() {
		if err := os.Chtimes(l.Name(), l.accessed, l.modified); err != nil {
			return fmt.Errorf("upload to %s: %w", l.dest, err)
		}
	}
	if err := os.Rename(l.Name(), l.dest); err != nil {
		return fmt.Errorf("upload to %s: %w", l.dest, err)
	}
	l.kept = true
	return nil
}

// discard removes a file that was not kept.
func (l *landing) discard() {
	if l.kept {
		return
	}
	l.Close()
	os.Remove(l.Name()) // what is left is hidden, and the next try of this step removes it
}

// fileMode makes an fs.FileMode of a Unix mode.
func fileMode(mode int64) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for bit, flag := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m
}
