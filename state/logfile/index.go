package logfile

import (
	"errors"
	"io"
	"slices"
	"sort"
	"sync/atomic"

	"buildstar/state"
)

// maxExtent bounds the bytes of small frames that are indexed and read as one.
const maxExtent = 64 << 10

// extent is adjacent frames of one log in the file: one compressed frame, or small
// raw ones up to maxExtent.
type extent struct {
	off, size    int64
	first, lines int64
	packed       bool // one compressed frame
}

// logIndex says where the lines of one log are. The finished extents never change;
// tail is the newest one, which may still grow.
type logIndex struct {
	lines    int64
	finished []extent
	tail     extent
}

// index says where everything in a segment is.
type index struct {
	id      uint64 // unique in this process; names what the cache holds
	end     int64  // of the last good frame
	logs    map[int64]*logIndex
	resumes map[string]int64 // newest update of each command
	raw     int64            // bytes of raw text
	frames  int64            // raw frames
}

var indexes atomic.Uint64

func newIndex() *index {
	return &index{id: indexes.Add(1), logs: make(map[int64]*logIndex), resumes: make(map[string]int64)}
}

// lines returns how many lines a log has.
func (x *index) lines(log int64) int64 {
	if l := x.logs[log]; l != nil {
		return l.lines
	}
	return 0
}

// frame is what the index keeps of one.
type frame struct {
	header
	resumes []state.Resume
}

// add puts the frame at the end of the file into the index.
func (x *index) add(f frame) {
	for _, r := range f.resumes {
		x.resumes[r.CommandID] = max(x.resumes[r.CommandID], r.Update)
	}
	h, off := f.header, x.end
	x.end += h.size()
	packed := h.flags&flagZstd != 0
	if !packed {
		x.raw += h.text
		x.frames++
	}
	log := x.logs[h.log]
	if log == nil {
		log = &logIndex{}
		x.logs[h.log] = log
	}
	log.lines += h.lines
	t := &log.tail
	if !packed && !t.packed && t.size > 0 && t.off+t.size == off && t.size+h.size() <= maxExtent {
		t.size += h.size()
		t.lines += h.lines
		return
	}
	if t.size > 0 {
		log.finished = append(log.finished, *t)
	}
	*t = extent{off: off, size: h.size(), first: h.first, lines: h.lines, packed: packed}
}

// view returns the extents of a log as they are now: a list that never changes, and
// one more.
func (x *index) view(log int64) (finished []extent, tail extent) {
	l := x.logs[log]
	if l == nil {
		return nil, extent{}
	}
	return l.finished, l.tail
}

// find returns the position of the first extent that ends after a line.
func find(extents []extent, line int64) int {
	return sort.Search(len(extents), func(i int) bool { return extents[i].first+extents[i].lines > line })
}

// scan builds the index of a file of the given size from the headers of its frames.
// It stops at the first thing that is not a whole frame, and before an append whose last
// frame is not there: a crash can leave those only at the end. If known is given, it also
// stops at the first frame of a log that is not, and the text of every frame is checked;
// otherwise only that of a frame that ends with the file.
func scan(r io.ReaderAt, size int64, known func(logID int64) bool) (*index, error) {
	x := newIndex()
	w := window{r: r, size: size}
	var l lists
	var begun []frame // of an append whose last frame did not come yet
	var lines int64   // in them
	for at := int64(0); ; {
		head, err := w.peek(at, headerSize)
		if err != nil {
			return x, ignoreTorn(err)
		}
		h, err := parseHeader(head)
		if err != nil || h.size() > size-at || h.first != x.lines(h.log)+lines || len(begun) > 0 && h.log != begun[0].log {
			return x, nil
		}
		if known != nil && !known(h.log) {
			return x, nil
		}
		head, err = w.peek(at, headerSize+h.list)
		if err != nil {
			return x, ignoreTorn(err)
		}
		if h.parseLists(head, &l) != nil {
			return x, nil
		}
		if known != nil || at+h.size() == size {
			ok, err := h.check(r, at)
			if err != nil || !ok {
				return x, err
			}
		}
		at += h.size()
		if h.flags&flagMore != 0 {
			begun = append(begun, frame{h, slices.Clone(l.resumes)})
			lines += h.lines
			continue
		}
		for _, f := range begun {
			x.add(f)
		}
		x.add(frame{h, l.resumes})
		begun, lines = begun[:0], 0
	}
}

func ignoreTorn(err error) error {
	if errors.Is(err, errTorn) {
		return nil
	}
	return err
}

// window reads a file forward, in pieces of 16 KiB, so that small frames do not cost
// a system call each and big ones are skipped.
type window struct {
	r    io.ReaderAt
	size int64
	off  int64
	buf  []byte
}

// peek returns n bytes at off, valid until the next call; errTorn if the file ends
// before.
func (w *window) peek(off, n int64) ([]byte, error) {
	if n > w.size-off {
		return nil, errTorn
	}
	if off < w.off || off+n > w.off+int64(len(w.buf)) {
		want := min(max(n, 16<<10), w.size-off)
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want)
		}
		w.buf = w.buf[:want]
		w.off = off
		if _, err := w.r.ReadAt(w.buf, off); err != nil {
			w.buf = w.buf[:0]
			if errors.Is(err, io.EOF) {
				return nil, errTorn
			}
			return nil, err
		}
	}
	return w.buf[off-w.off:][:n], nil
}
