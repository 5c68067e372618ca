package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"buildstar/state"
)

const (
	frameText    = 256 << 10 // bytes of text in one compressed frame
	compressFrom = 64 << 10  // appends smaller than this are written as they are
	keepBuffer   = 1 << 20
)

// segment is the open log file of one build.
type segment struct {
	store *Store
	build int64
	path  string

	work   sync.Mutex // of whoever writes; Store.Close may come in between
	buf    []byte     // for writing
	lists  lists
	dirty  bool // appended to since the last sync
	synced bool // the directory knows the file

	mu     sync.RWMutex // guards what readers see
	file   *handle
	index  *index
	closed bool
}

// handle is a file that the segment and its readers share; the last one closes it.
type handle struct {
	*os.File
	refs atomic.Int32
}

func newHandle(f *os.File) *handle {
	h := &handle{File: f}
	h.refs.Store(1)
	return h
}

func (h *handle) release() error {
	if h.refs.Add(-1) == 0 {
		return h.File.Close()
	}
	return nil
}

// Append implements state.LogSegment.
func (g *segment) Append(logID int64, at state.Resume, runs ...state.LogRun) error {
	g.work.Lock()
	defer g.work.Unlock()
	err := g.append(logID, at, runs)
	if err != nil {
		return fmt.Errorf("append to log %d of build %d: %w", logID, g.build, full(err))
	}
	return nil
}

func (g *segment) append(logID int64, at state.Resume, runs []state.LogRun) error {
	if g.closed {
		return os.ErrClosed
	}
	total := 0
	for _, r := range runs {
		if err := check(r); err != nil {
			return err
		}
		total += len(r.Text)
	}
	if total == 0 && at.CommandID == "" {
		return nil
	}
	// Frames are written at end, one write each, and become visible together.
	var done []frame
	end, first := g.index.end, g.index.lines(logID)
	c := cutter{runs: runs, size: frameText, lists: &g.lists}
	for more := true; more; {
		var text []byte
		var lines int64
		text, lines, more = c.next()
		g.lists.addResume(at)
		var compress func(src, dst []byte) []byte
		if len(text) >= compressFrom {
			compress = g.store.enc.EncodeAll
		}
		var h header
		g.buf, h = appendFrame(g.buf[:0], logID, first, lines, &g.lists, text, compress, more)
		g.dirty = true
		if n, err := g.store.write(g.file.File, g.buf, end); err != nil {
			return errors.Join(fmt.Errorf("wrote %d of %d bytes: %w", n, len(g.buf), err), g.file.Truncate(g.index.end))
		}
		end += h.size()
		first += lines
		done = append(done, frame{h, slices.Clone(g.lists.resumes)})
	}
	if cap(g.buf) > keepBuffer {
		g.buf = nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range done {
		g.index.add(f)
	}
	return nil
}

// check refuses a run that is not whole lines of a stream.
func check(r state.LogRun) error {
	switch {
	case len(r.Text) == 0:
		return errors.New("a run has no text")
	case r.Text[len(r.Text)-1] != '\n':
		return errors.New("a run does not end with a line feed")
	case bytes.IndexByte([]byte("oeht"), r.Stream) < 0:
		return fmt.Errorf("no stream %q", r.Stream)
	}
	return nil
}

// Resume implements state.LogSegment.
func (g *segment) Resume(commandID string) (update int64, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	update, ok = g.index.resumes[commandID]
	return update, ok
}

// Sync implements state.LogSegment.
func (g *segment) Sync() error {
	g.work.Lock()
	defer g.work.Unlock()
	return g.sync()
}

func (g *segment) sync() error {
	if g.closed {
		return os.ErrClosed
	}
	if !g.dirty {
		return nil
	}
	err := g.file.Sync()
	if err == nil && !g.synced {
		err = g.store.syncDir(filepath.Dir(g.path))
		g.synced = err == nil
	}
	if err != nil {
		return fmt.Errorf("sync log of build %d: %w", g.build, full(err))
	}
	g.dirty = false
	return nil
}

// Suspend implements state.LogSegment.
func (g *segment) Suspend() error { return g.end(false) }

// Close implements state.LogSegment.
func (g *segment) Close() error { return g.end(true) }

// end syncs, packs if that is asked for and worth it, and leaves the segment to
// readers of closed ones.
func (g *segment) end(pack bool) error {
	g.work.Lock()
	defer g.work.Unlock()
	if g.closed {
		return nil
	}
	err := g.sync()
	if err == nil && pack && worthPacking(g.index) {
		if perr := g.pack(); perr != nil {
			// The segment is whole without it.
			g.store.log.Warn("log segment could not be packed", "file", g.path, "error", perr)
		}
	}
	g.store.mu.Lock()
	delete(g.store.open, g.build)
	g.store.mu.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.index.end == 0 {
		err = errors.Join(err, os.Remove(g.path))
	} else if info, serr := g.file.Stat(); serr == nil {
		g.store.closed.Add(g.build, closedIndex{g.index, info})
	}
	return errors.Join(err, g.file.release())
}

// view returns what a reader needs, with the file held until it is released; ok is
// false if the segment was closed meanwhile.
func (g *segment) view(logID int64) (v view, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return view{}, false
	}
	g.file.refs.Add(1)
	v = view{file: g.file, id: g.index.id}
	v.finished, v.tail = g.index.view(logID)
	return v, true
}
