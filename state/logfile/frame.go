package logfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"buildstar/state"
)

// A frame is a header of fixed size, a list part (resume points, runs, times) and
// the text, raw or compressed:
//
//	 0  magic "bsl1"
//	 4  flags, 3 bytes of 0
//	 8  length of the list part
//	12  length of the text as stored
//	16  length of the text
//	20  lines
//	24  log id
//	32  number of the first line in the log
//	40  CRC-32C of the text as stored
//	44  CRC-32C of all before it and the list part
//
// Numbers are little-endian. A frame holds whole lines of one log. An append that needs
// several frames says so in all but the last: together they count, or not at all.
const (
	magic      = 0x316c7362
	headerSize = 48

	flagZstd = 1 // the text is compressed
	flagMore = 2 // the next frame is of the same append

	maxText = 128 << 20 // bytes of text in one frame: a line of 16 Mi characters and more
	maxList = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errTorn says that bytes are not a whole valid frame.
var errTorn = errors.New("not a whole frame")

// header is the fixed part of a frame.
type header struct {
	flags        byte
	list, stored int64
	text         int64
	lines        int64
	log, first   int64
	textSum, sum uint32
}

func (h header) size() int64 { return headerSize + h.list + h.stored }

// run is consecutive lines of one stream, span of one time.
type (
	run struct {
		stream byte
		lines  int64
	}
	span struct {
		lines int64
		at    state.Time
	}
)

// lists is the list part of a frame.
type lists struct {
	resumes []state.Resume
	runs    []run
	times   []span
}

// addRun appends lines of a stream.
func (l *lists) addRun(stream byte, lines int64) {
	if n := len(l.runs); n > 0 && l.runs[n-1].stream == stream {
		l.runs[n-1].lines += lines
		return
	}
	l.runs = append(l.runs, run{stream, lines})
}

// addTime appends lines of a time.
func (l *lists) addTime(at state.Time, lines int64) {
	if n := len(l.times); n > 0 && l.times[n-1].at == at {
		l.times[n-1].lines += lines
		return
	}
	l.times = append(l.times, span{lines, at})
}

// addResume appends a resume point, or moves that of its command on.
func (l *lists) addResume(at state.Resume) {
	if at.CommandID == "" {
		return
	}
	for i := range l.resumes {
		if l.resumes[i].CommandID == at.CommandID {
			l.resumes[i].Update = max(l.resumes[i].Update, at.Update)
			return
		}
	}
	l.resumes = append(l.resumes, at)
}

func (l *lists) reset() {
	l.resumes, l.runs, l.times = l.resumes[:0], l.runs[:0], l.times[:0]
}

func (l *lists) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(l.resumes)))
	for _, r := range l.resumes {
		dst = binary.AppendUvarint(dst, uint64(len(r.CommandID)))
		dst = append(dst, r.CommandID...)
		dst = binary.AppendVarint(dst, r.Update)
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.runs)))
	for _, r := range l.runs {
		dst = binary.AppendUvarint(append(dst, r.stream), uint64(r.lines))
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.times)))
	var last state.Time
	for _, s := range l.times {
		dst = binary.AppendUvarint(dst, uint64(s.lines))
		dst = binary.AppendVarint(dst, int64(s.at-last))
		last = s.at
	}
	return dst
}

// appendFrame appends a frame; compress, if not nil, is asked to append the compressed
// text. more says that another frame of the same append follows.
func appendFrame(dst []byte, log, first, lines int64, l *lists, text []byte, compress func(src, dst []byte) []byte, more bool) ([]byte, header) {
	start := len(dst)
	dst = append(dst, make([]byte, headerSize)...)
	dst = l.append(dst)
	h := header{list: int64(len(dst) - start - headerSize), text: int64(len(text)), lines: lines, log: log, first: first}
	body := len(dst)
	if compress != nil {
		dst = compress(text, dst)
		h.flags = flagZstd
	}
	if compress == nil || len(dst)-body >= len(text) {
		dst = append(dst[:body], text...)
		h.flags = 0
	}
	if more {
		h.flags |= flagMore
	}
	h.stored = int64(len(dst) - body)
	b := dst[start:]
	le := binary.LittleEndian
	le.PutUint32(b[0:], magic)
	b[4] = h.flags
	le.PutUint32(b[8:], uint32(h.list))
	le.PutUint32(b[12:], uint32(h.stored))
	le.PutUint32(b[16:], uint32(h.text))
	le.PutUint32(b[20:], uint32(h.lines))
	le.PutUint64(b[24:], uint64(log))
	le.PutUint64(b[32:], uint64(first))
	putSums(b, h)
	return dst, h
}

// putSums writes the checksums of a frame.
func putSums(b []byte, h header) {
	binary.LittleEndian.PutUint32(b[40:], crc32.Checksum(b[headerSize+h.list:], castagnoli))
	binary.LittleEndian.PutUint32(b[44:], headSum(b[:headerSize+h.list]))
}

func headSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:44], castagnoli), castagnoli, b[headerSize:])
}

// parseHeader reads the fixed part; its checksum is checked by parseLists.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		return header{}, errTorn
	}
	le := binary.LittleEndian
	h := header{
		flags: b[4], list: int64(le.Uint32(b[8:])), stored: int64(le.Uint32(b[12:])), text: int64(le.Uint32(b[16:])),
		lines: int64(le.Uint32(b[20:])), log: int64(le.Uint64(b[24:])), first: int64(le.Uint64(b[32:])),
		textSum: le.Uint32(b[40:]), sum: le.Uint32(b[44:]),
	}
	switch {
	case le.Uint32(b) != magic || h.flags > flagZstd|flagMore || b[5]|b[6]|b[7] != 0:
		return h, errTorn
	case h.list > maxList || h.text > maxText || h.stored > h.text || h.lines > h.text || h.first < 0:
		return h, errTorn
	case h.flags&flagZstd == 0 && h.stored != h.text:
		return h, errTorn
	}
	return h, nil
}

// parseLists reads the list part of b, which starts with the header, into l after
// checking the header's checksum.
func (h header) parseLists(b []byte, l *lists) error {
	if int64(len(b)) < headerSize+h.list {
		return errTorn
	}
	if headSum(b[:headerSize+h.list]) != h.sum {
		return errTorn
	}
	l.reset()
	d := decoder{b: b[headerSize : headerSize+h.list]}
	for n := d.count(); n > 0 && !d.bad; n-- {
		id := string(d.bytes(d.count()))
		l.resumes = append(l.resumes, state.Resume{CommandID: id, Update: d.signed()})
	}
	var lines int64
	for n := d.count(); n > 0 && !d.bad; n-- {
		r := run{d.byte(), int64(d.uint())}
		if r.lines < 1 || r.lines > h.lines-lines {
			return errTorn
		}
		lines += r.lines
		l.runs = append(l.runs, r)
	}
	var timed int64
	var at state.Time
	for n := d.count(); n > 0 && !d.bad; n-- {
		s := span{lines: int64(d.uint())}
		at += state.Time(d.signed())
		s.at = at
		if s.lines < 1 || s.lines > h.lines-timed {
			return errTorn
		}
		timed += s.lines
		l.times = append(l.times, s)
	}
	if d.bad || len(d.b) > 0 || lines != h.lines || timed != h.lines {
		return errTorn
	}
	return nil
}

// decode returns the text of frame b, decompressed into dst's memory if need be.
func (h header) decode(b []byte, decompress func(src, dst []byte) ([]byte, error), dst []byte) ([]byte, error) {
	body := b[headerSize+h.list : h.size()]
	if crc32.Checksum(body, castagnoli) != h.textSum {
		return nil, errTorn
	}
	if h.flags&flagZstd != 0 {
		if int64(cap(dst)) < h.text {
			dst = make([]byte, 0, h.text)
		}
		text, err := decompress(body, dst[:0:h.text])
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		body = text
	}
	if int64(len(body)) != h.text || int64(bytes.Count(body, lf)) != h.lines || len(body) > 0 && body[len(body)-1] != '\n' {
		return nil, errTorn
	}
	return body, nil
}

var lf = []byte{'\n'}

// decoder reads numbers from outside; after a fault everything is 0 and bad is set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) signed() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of things that follow, each of at least a byte.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) bytes(n int) []byte {
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}
