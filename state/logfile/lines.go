package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"buildstar/state"
)

// cacheLimit is how many lines a reader may ask for and still have what it decoded
// kept: who reads a whole log would only push out what pages share.
const cacheLimit = 10_000

// view is what one reader sees of one log: a file and where the lines are.
type view struct {
	file     *handle
	id       uint64
	finished []extent
	tail     extent
}

// closedIndex is the index of a closed segment and the file it was made from.
type closedIndex struct {
	*index
	info os.FileInfo
}

// view returns the view of a log; the caller releases the file. A build without logs
// has a view without a file.
func (s *Store) view(buildID, logID int64) (view, error) {
	s.mu.Lock()
	g, done := s.open[buildID], s.done
	s.mu.Unlock()
	if done {
		return view{}, state.ErrClosed
	}
	if g != nil {
		if v, ok := g.view(logID); ok {
			return v, nil
		}
	}
	f, err := os.Open(s.path(buildID))
	if errors.Is(err, fs.ErrNotExist) {
		return view{}, nil
	}
	if err != nil {
		return view{}, err
	}
	x, err := s.indexOf(buildID, f)
	if err != nil {
		return view{}, errors.Join(err, f.Close())
	}
	v := view{file: newHandle(f), id: x.id}
	v.finished, v.tail = x.view(logID)
	return v, nil
}

// indexOf returns the index of a closed segment. What is remembered counts only for
// the same file: packing puts another one in its place.
func (s *Store) indexOf(buildID int64, f *os.File) (*index, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if c, ok := s.closed.Get(buildID); ok && os.SameFile(c.info, info) && c.info.Size() == info.Size() && c.info.ModTime().Equal(info.ModTime()) {
		return c.index, nil
	}
	x, err := scan(f, info.Size(), nil)
	if err != nil {
		return nil, err
	}
	s.closed.Add(buildID, closedIndex{x, info})
	return x, nil
}

// NumLines implements state.LogStore. A log that was never written has none.
func (s *Store) NumLines(buildID, logID int64) (int64, error) {
	v, err := s.view(buildID, logID)
	if err != nil {
		return 0, fmt.Errorf("read log %d of build %d: %w", logID, buildID, err)
	}
	if v.file == nil {
		return 0, nil
	}
	return v.tail.first + v.tail.lines, v.file.release()
}

// Lines implements state.LogStore. Times of a run are valid only during the call,
// as its text is.
func (s *Store) Lines(ctx context.Context, buildID, logID, from, limit int64, fn func(state.LogRun) error) error {
	v, err := s.view(buildID, logID)
	if err != nil {
		return fmt.Errorf("read log %d of build %d: %w", logID, buildID, err)
	}
	if v.file == nil {
		return nil
	}
	defer v.file.release()
	from = max(from, 0)
	to := v.tail.first + v.tail.lines
	if limit >= 0 && limit < to-from {
		to = from + limit
	}
	r := lineReader{store: s, view: v, from: from, to: to, fn: fn, keep: limit >= 0 && limit <= cacheLimit}
	defer r.release()
	for i := find(v.finished, from); i < len(v.finished); i++ {
		if err := r.extent(ctx, v.finished[i]); err != nil {
			return r.explain(buildID, logID, err)
		}
	}
	if err := r.extent(ctx, v.tail); err != nil {
		return r.explain(buildID, logID, err)
	}
	return nil
}

// lineReader carries one call of Lines.
type lineReader struct {
	store    *Store
	view     view
	from, to int64
	fn       func(state.LogRun) error
	fnErr    error // what fn returned
	keep     bool  // what is decoded may go to the cache

	raw    []byte           // a big extent as it is in the file
	shared *[maxExtent]byte // for others; back to the store at the end
	block  block
	times  []state.Time
}

func (r *lineReader) release() {
	if r.shared != nil {
		r.store.buffers.Put(r.shared)
	}
}

// explain leaves what fn returned and contexts as they are.
func (r *lineReader) explain(buildID, logID int64, err error) error {
	if r.fnErr != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, errTorn) {
		err = errors.New("the segment file is damaged")
	}
	return fmt.Errorf("read log %d of build %d at line %d: %w", logID, buildID, r.from, err)
}

// extent emits those lines of an extent that are asked for.
func (r *lineReader) extent(ctx context.Context, e extent) error {
	if e.lines == 0 || r.from >= r.to || e.first >= r.to || e.first+e.lines <= r.from {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.packed {
		b, err := r.packed(e)
		if err != nil {
			return err
		}
		return r.emit(b)
	}
	raw, err := r.read(e)
	if err != nil {
		return err
	}
	for len(raw) > 0 && r.from < r.to {
		h, err := parseHeader(raw)
		if err != nil || h.size() > int64(len(raw)) {
			return errTorn
		}
		if h.first+h.lines > r.from {
			if _, err := r.block.parse(raw, nil); err != nil {
				return err
			}
			if err := r.emit(&r.block); err != nil {
				return err
			}
		}
		raw = raw[h.size():]
	}
	return nil
}

// packed returns the block of a compressed frame, from the cache if it is there.
func (r *lineReader) packed(e extent) (*block, error) {
	key := blockKey{r.view.id, e.off}
	if b := r.store.cache.get(key); b != nil {
		return b, nil
	}
	raw, err := r.read(e)
	if err != nil {
		return nil, err
	}
	b := &r.block
	if r.keep {
		b = &block{}
	}
	if _, err := b.parse(raw, r.store.dec.DecodeAll); err != nil {
		return nil, err
	}
	if r.keep {
		r.store.cache.add(key, b)
	}
	return b, nil
}

// buffer returns memory for an extent: shared between readers, unless a long line
// makes it a big one.
func (r *lineReader) buffer(size int64) []byte {
	if size <= maxExtent {
		if r.shared == nil {
			r.shared = r.store.buffers.Get().(*[maxExtent]byte)
		}
		return r.shared[:size]
	}
	if int64(cap(r.raw)) < size {
		r.raw = make([]byte, size)
	}
	return r.raw[:size]
}

func (r *lineReader) read(e extent) ([]byte, error) {
	raw := r.buffer(e.size)
	if _, err := r.view.file.ReadAt(raw, e.off); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errTorn
		}
		return nil, err
	}
	return raw, nil
}

// emit calls fn for the lines of a block that are asked for.
func (r *lineReader) emit(b *block) error {
	line, text := b.first, b.text
	for i, run := range b.runs {
		if line >= r.to {
			return nil
		}
		next := line + run.lines
		if next <= r.from {
			text = text[skip(text, run.lines):]
			line = next
			continue
		}
		lo, hi := max(line, r.from), min(next, r.to)
		text = text[skip(text, lo-line):]
		n := len(text)
		if i < len(b.runs)-1 || hi < next {
			n = skip(text, hi-lo)
		}
		r.times = timesOf(r.times[:0], b.times, lo-b.first, hi-b.first)
		out := state.LogRun{Stream: run.stream, Text: text[:n:n], First: lo, Times: r.times}
		if len(r.times) == 0 {
			out.Times = nil
		}
		r.from = hi
		if err := r.fn(out); err != nil {
			r.fnErr = err
			return err
		}
		text = text[n:]
		line = hi
		if hi < next {
			return nil
		}
	}
	return nil
}

// skip returns the length of the first n lines of a text.
func skip(text []byte, n int64) int {
	at := 0
	for ; n > 0; n-- {
		at += bytes.IndexByte(text[at:], '\n') + 1
	}
	return at
}

// timesOf appends the times of the lines [from, to) of a block; the last is not
// repeated. If none is known it appends nothing.
func timesOf(dst []state.Time, spans []span, from, to int64) []state.Time {
	known := false
	at := int64(0)
	for _, s := range spans {
		lo, hi := max(at, from), min(at+s.lines, to)
		at += s.lines
		if lo >= hi {
			continue
		}
		known = known || s.at != 0
		n := hi - lo
		if hi == to {
			n = 1
		}
		for ; n > 0; n-- {
			dst = append(dst, s.at)
		}
		if hi == to {
			break
		}
	}
	if !known {
		return dst[:0]
	}
	return dst
}
