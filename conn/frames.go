package conn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"buildstar/conn/wire"
)

// The opcodes of RFC 6455 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

const maxControl = 125 // bytes in a control frame

// frames takes a client's messages out of its bytes (RFC 6455 5). Between messages it
// holds no more than few.
type frames struct {
	from  io.Reader
	signs *atomic.Uint64                // counts reads that brought something
	heard func(op byte, payload []byte) // is told of pings and pongs, and keeps no payload
	few   [maxControl + maxHeader]byte  // what was read and not yet used is few[r:w]
	r, w  int
	err   error // of the last read, once few is used up
}

// maxHeader is that of a masked frame of 64 KiB and more.
const maxHeader = 2 + 8 + 4

// await returns once something was read that no message used, or nothing will be.
// It needs little stack.
func (f *frames) await() {
	if f.quiet() {
		f.r, f.w = 0, 0
		f.read()
	}
}

// quiet reports whether next would have to wait.
func (f *frames) quiet() bool { return f.r == f.w && f.err == nil }

func (f *frames) read() {
	var n int
	n, f.err = f.from.Read(f.few[f.w:])
	if n > 0 {
		f.w += n
		f.signs.Add(1)
	}
}

// next returns the next binary message. Text is ignored, as stock peers do. The error
// is permanent.
func (f *frames) next() (*wire.Buffer, error) {
	for {
		buf := wire.GetBuffer()
		kind, err := f.message(buf)
		if err == nil && kind == opBinary {
			return buf, nil
		}
		buf.Free()
		if err != nil {
			return nil, err
		}
	}
}

// message collects the fragments of a message, between which control frames may stand.
func (f *frames) message(buf *wire.Buffer) (kind byte, err error) {
	for {
		h, err := f.header()
		if err != nil {
			return 0, err
		}
		switch {
		case h.op >= opClose:
			if err := f.control(h); err != nil {
				return 0, err
			}
			continue
		case h.op == opContinuation && kind == 0:
			return 0, errors.New("no WebSocket frame: a continuation of nothing")
		case h.op != opContinuation && kind != 0:
			return 0, errors.New("no WebSocket frame: the message before has not ended")
		case h.op > opBinary:
			return 0, fmt.Errorf("no WebSocket frame: opcode %d", h.op)
		case h.op != opContinuation:
			kind = h.op
		}
		if h.size > uint64(wire.MaxFrame-len(buf.B)) {
			return 0, ErrFrameTooBig
		}
		if err := f.payload(buf, int(h.size), h.mask); err != nil {
			return 0, err
		}
		if h.last {
			return kind, nil
		}
	}
}

// header is that of a frame.
type header struct {
	last bool
	op   byte
	size uint64
	mask [4]byte
}

func (f *frames) header() (h header, err error) {
	if err := f.need(2); err != nil {
		return h, err
	}
	first, second := f.few[f.r], f.few[f.r+1]
	h.last, h.op, h.size = first&0x80 != 0, first&0x0f, uint64(second&0x7f)
	switch {
	case first&0x70 != 0:
		return h, errors.New("no WebSocket frame: reserved bits are set")
	case second&0x80 == 0:
		return h, errors.New("no WebSocket frame of a client: it is not masked")
	}
	long := 0 // bytes that tell the size
	switch h.size {
	case 126:
		long = 2
	case 127:
		long = 8
	}
	if err := f.need(2 + long + 4); err != nil {
		return h, unexpected(err)
	}
	b := f.few[f.r+2 : f.w]
	switch long {
	case 2:
		h.size = uint64(binary.BigEndian.Uint16(b))
	case 8:
		h.size = binary.BigEndian.Uint64(b)
	}
	copy(h.mask[:], b[long:])
	f.r += 2 + long + 4
	return h, nil
}

// need makes few[r:w] at least n bytes.
func (f *frames) need(n int) error {
	if f.w-f.r >= n {
		return nil
	}
	f.w = copy(f.few[:], f.few[f.r:f.w])
	f.r = 0
	for f.w < n {
		if f.err != nil {
			return f.err
		}
		f.read()
	}
	return nil
}

// payload appends what a frame holds.
func (f *frames) payload(buf *wire.Buffer, size int, mask [4]byte) error {
	start := len(buf.B)
	end := start + size
	n := min(size, f.w-f.r)
	buf.B = append(buf.B, f.few[f.r:f.r+n]...)
	f.r += n
	for len(buf.B) < end {
		if f.err != nil {
			return unexpected(f.err)
		}
		if len(buf.B) == cap(buf.B) { // as it comes, not as the header claims
			buf.B = slices.Grow(buf.B, min(end-len(buf.B), max(4096, len(buf.B))))
		}
		var n int
		n, f.err = f.from.Read(buf.B[len(buf.B):min(cap(buf.B), end)])
		if n > 0 {
			buf.B = buf.B[:len(buf.B)+n]
			f.signs.Add(1)
		}
	}
	unmask(buf.B[start:], mask)
	return nil
}

// control handles a control frame; that of a close is an error.
func (f *frames) control(h header) error {
	if !h.last || h.size > maxControl {
		return errors.New("no WebSocket frame: a control frame in parts, or of more than 125 bytes")
	}
	if err := f.need(int(h.size)); err != nil {
		return unexpected(err)
	}
	payload := f.few[f.r : f.r+int(h.size)]
	f.r += len(payload)
	unmask(payload, h.mask)
	switch h.op {
	case opClose:
		return closeError(payload)
	case opPing, opPong:
		f.heard(h.op, payload)
		return nil
	}
	return fmt.Errorf("no WebSocket frame: opcode %d", h.op)
}

// closeError says what a close frame says.
func closeError(payload []byte) error {
	switch {
	case len(payload) < 2:
		return errors.New("the worker closed the connection")
	case len(payload) == 2:
		return fmt.Errorf("the worker closed the connection (code %d)", binary.BigEndian.Uint16(payload))
	}
	return fmt.Errorf("the worker closed the connection: %q", payload[2:])
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unmask undoes what a client does to a payload (RFC 6455 5.3).
func unmask(b []byte, mask [4]byte) {
	word := binary.LittleEndian.Uint32(mask[:])
	twice := uint64(word)<<32 | uint64(word)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^twice)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= mask[i&3]
	}
}
