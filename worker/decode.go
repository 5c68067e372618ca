package worker

import (
	"bytes"
	"unicode/utf8"
)

// A decoder turns a stream of bytes into valid UTF-8, whatever way it is cut into
// chunks. Bytes that are no UTF-8 become U+FFFD, one for each longest part of a
// character that was begun (as Python's "replace" does).
type decoder struct {
	tail [utf8.UTFMax]byte // the begun character at the end of the last chunk
	n    int
}

// decode returns the text of the next chunk. The result may be p itself or part of
// it.
func (d *decoder) decode(p []byte) []byte {
	if d.n > 0 {
		joined := make([]byte, 0, d.n+len(p))
		p = append(append(joined, d.tail[:d.n]...), p...)
		d.n = 0
	}
	p = p[:len(p)-d.hold(p)]
	if utf8.Valid(p) {
		return p
	}
	return replaceInvalid(p)
}

// end returns what remains when the stream is over.
func (d *decoder) end() []byte {
	if d.n == 0 {
		return nil
	}
	d.n = 0
	return []byte("\uFFFD")
}

// hold keeps a character that p ends in the middle of, and returns its length.
func (d *decoder) hold(p []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		b := p[len(p)-i]
		if b < utf8.RuneSelf {
			return 0
		}
		if utf8.RuneStart(b) {
			if utf8.FullRune(p[len(p)-i:]) {
				return 0
			}
			d.n = copy(d.tail[:], p[len(p)-i:])
			return i
		}
	}
	return 0
}

func replaceInvalid(p []byte) []byte {
	out := make([]byte, 0, len(p)+len(p)/8+16)
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			out = append(out, "\uFFFD"...)
			p = p[begun(p):]
			continue
		}
		out = append(out, p[:size]...)
		p = p[size:]
	}
	return out
}

// begun returns how many bytes at the start of p, which is not valid there, could
// have been the start of a character.
func begun(p []byte) int {
	n := 1
	for n < len(p) && n < utf8.UTFMax && !utf8.FullRune(p[:n]) {
		// p[:n] may begin a character; does it still with the next byte?
		if utf8.FullRune(p[:n+1]) {
			if r, size := utf8.DecodeRune(p[:n+1]); r == utf8.RuneError && size == 1 {
				return n
			}
		}
		n++
	}
	return n
}

// validText makes s fit for the wire.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string(replaceInvalid(bytes.Clone([]byte(s))))
}
