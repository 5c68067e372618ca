package logfile

import (
	"bufio"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const (
	packing    = ".packing" // suffix of the file that will replace a segment
	packFrames = 16
	packBytes  = 64 << 10
)

// worthPacking reports whether a segment has so much text in small frames that
// compressing it pays for the second fsync.
func worthPacking(x *index) bool { return x.frames >= packFrames && x.raw >= packBytes }

// pack writes the segment anew with its small frames merged into big compressed ones,
// log by log, and puts the new file in the place of the old. Readers of the old file
// keep it.
func (g *segment) pack() (err error) {
	f, err := os.OpenFile(g.path+packing, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	p := packer{segment: g, index: newIndex(), out: bufio.NewWriterSize(f, frameText)}
	for _, log := range slices.Sorted(maps.Keys(g.index.logs)) {
		if err := p.log(log); err != nil {
			return err
		}
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), g.path); err != nil {
		return err
	}
	g.mu.Lock()
	old := g.file
	g.file, g.index = newHandle(f), p.index
	g.mu.Unlock()
	if err := fsync(filepath.Dir(g.path)); err != nil {
		g.store.log.Warn("the directory of a log segment could not be synced", "file", g.path, "error", err)
	}
	if err := old.release(); err != nil {
		g.store.log.Warn("close a packed log segment", "file", g.path, "error", err)
	}
	return nil
}

// packer writes the packed file.
type packer struct {
	segment *segment
	index   *index
	out     *bufio.Writer

	raw, buf     []byte
	block        block
	text         []byte // merged and not yet written
	lists        lists
	first, lines int64
}

func (p *packer) log(id int64) error {
	finished, tail := p.segment.index.view(id)
	for _, e := range append(slices.Clip(finished), tail) {
		if e.size == 0 {
			continue
		}
		if err := p.extent(id, e); err != nil {
			return err
		}
	}
	return p.flush(id)
}

// extent copies a compressed frame as it is and merges raw ones.
func (p *packer) extent(id int64, e extent) error {
	p.raw = slices.Grow(p.raw[:0], int(e.size))[:e.size]
	if _, err := p.segment.file.ReadAt(p.raw, e.off); err != nil {
		return err
	}
	if e.packed {
		if err := p.flush(id); err != nil {
			return err
		}
		h, err := parseHeader(p.raw)
		if err != nil {
			return err
		}
		if err := h.parseLists(p.raw, &p.lists); err != nil {
			return err
		}
		p.index.add(frame{h, p.lists.resumes})
		p.lists.reset()
		_, err = p.out.Write(p.raw)
		return err
	}
	for raw := p.raw; len(raw) > 0; {
		h, err := p.block.parse(raw, nil)
		if err != nil {
			return err
		}
		if err := p.merge(id, h); err != nil {
			return err
		}
		raw = raw[h.size():]
	}
	return nil
}

// merge adds the block to the frame in the making.
func (p *packer) merge(id int64, h header) error {
	if h.log != id {
		return errTorn
	}
	if len(p.text) > 0 && len(p.text)+len(p.block.text) > frameText {
		if err := p.flush(id); err != nil {
			return err
		}
	}
	if p.lines == 0 && len(p.lists.resumes) == 0 {
		p.first = h.first
	}
	p.text = append(p.text, p.block.text...)
	p.lines += h.lines
	for _, r := range p.block.resumes {
		p.lists.addResume(r)
	}
	for _, r := range p.block.runs {
		p.lists.addRun(r.stream, r.lines)
	}
	for _, s := range p.block.times {
		p.lists.addTime(s.at, s.lines)
	}
	return nil
}

// flush writes the frame in the making.
func (p *packer) flush(id int64) error {
	if p.lines == 0 && len(p.lists.resumes) == 0 {
		return nil
	}
	var h header
	p.buf, h = appendFrame(p.buf[:0], id, p.first, p.lines, &p.lists, p.text, p.segment.store.enc.EncodeAll, false)
	p.index.add(frame{h, p.lists.resumes})
	p.text, p.lines = p.text[:0], 0
	p.lists.reset()
	_, err := p.out.Write(p.buf)
	return err
}
