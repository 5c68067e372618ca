package worker

import (
	"io"
	"os"
	"time"

	"buildstar/conn/wire"
)

// pollInterval is how often watched files are looked at.
const pollInterval = 500 * time.Millisecond

// logfile is a file whose content is sent while a command runs. One that is there
// before the command is sent only once it changes; with follow, only what is added.
type logfile struct {
	name   string
	path   string
	follow bool
}

// watcher reads one logfile on behalf of a command.
type watcher struct {
	logfile
	st     *stream
	before os.FileInfo // what was there before the command; nil once it changed
	f      *os.File
	offset int64
}

func watch(c *command, l logfile) *watcher {
	w := &watcher{logfile: l, st: c.out.stream(wire.Log, l.name)}
	w.before, _ = os.Stat(l.path)
	return w
}

// open opens the file once there is something new in it.
func (w *watcher) open() bool {
	if w.f != nil {
		return true
	}
	now, err := os.Stat(w.path)
	if err != nil || !now.Mode().IsRegular() {
		return false
	}
	if b := w.before; b != nil && os.SameFile(b, now) {
		if b.Size() == now.Size() && b.ModTime().Equal(now.ModTime()) {
			return false
		}
		if w.follow && now.Size() >= b.Size() {
			w.offset = b.Size()
		}
	}
	if w.f, err = os.Open(w.path); err != nil {
		w.f = nil
		return false
	}
	w.before = nil
	return true
}

// read returns the next bytes of the file, none if there are no more for now. A file
// that was cut or replaced is read from its start.
func (w *watcher) read(buf []byte) []byte {
	if !w.open() {
		return nil
	}
	n, err := w.f.ReadAt(buf, w.offset)
	if n > 0 {
		w.offset += int64(n)
		return buf[:n]
	}
	if err != io.EOF {
		return nil
	}
	mine, err := w.f.Stat()
	if err == nil && mine.Size() < w.offset {
		w.offset = 0
		return w.again(buf)
	}
	if now, err2 := os.Stat(w.path); err == nil && err2 == nil && now.Mode().IsRegular() && !os.SameFile(mine, now) {
		w.close()
		w.offset = 0
		if w.f, err = os.Open(w.path); err != nil {
			w.f = nil
			return nil
		}
		return w.again(buf)
	}
	return nil
}

func (w *watcher) again(buf []byte) []byte {
	n, _ := w.f.ReadAt(buf, w.offset)
	w.offset += int64(n)
	return buf[:n]
}

func (w *watcher) close() {
	if w.f != nil {
		w.f.Close()
		w.f = nil
	}
}
