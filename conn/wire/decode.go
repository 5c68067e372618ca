package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Bounds of one message against hostile bytes.
const (
	maxDepth    = 32      // arrays and maps within each other
	maxElements = 1 << 20 // values decoded one by one; the lists of an update are not
)

// ErrMalformed is wrapped by every error about bytes that are not a MessagePack
// message of the kind wanted.
var ErrMalformed = errors.New("malformed message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Decode returns the one value that b holds, as nil, bool, int64, float64, string,
// []byte, []any or map[string]any; a number beyond int64 becomes a float64. Text
// that is not UTF-8 has its bad bytes replaced by U+FFFD. Nothing in the result
// refers to b. It allocates no more than a small multiple of len(b), whatever b
// says, and fails on values nested too deeply, too many of them, extension types,
// and map keys that are not text.
func Decode(b []byte) (any, error) {
	d := decoder{left: maxElements}
	v, rest, err := d.value(b, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, malformed("%d bytes after the value", len(rest))
	}
	return v, nil
}

// decoder reads values; left is how many more it may read.
type decoder struct{ left int }

func (d *decoder) value(b []byte, depth int) (any, []byte, error) {
	if len(b) == 0 {
		return nil, nil, malformed("cut short")
	}
	if depth > maxDepth {
		return nil, nil, malformed("nested more than %d deep", maxDepth)
	}
	if d.left--; d.left < 0 {
		return nil, nil, malformed("more than %d values", maxElements)
	}
	switch msgp.NextType(b) {
	case msgp.NilType:
		return nil, b[1:], nil
	case msgp.BoolType:
		v, rest, err := msgp.ReadBoolBytes(b)
		return v, rest, wrap(err)
	case msgp.IntType:
		v, rest, err := msgp.ReadInt64Bytes(b)
		return v, rest, wrap(err)
	case msgp.UintType:
		v, rest, err := msgp.ReadUint64Bytes(b)
		if v > math.MaxInt64 {
			return float64(v), rest, wrap(err)
		}
		return int64(v), rest, wrap(err)
	case msgp.Float32Type:
		v, rest, err := msgp.ReadFloat32Bytes(b)
		return float64(v), rest, wrap(err)
	case msgp.Float64Type:
		v, rest, err := msgp.ReadFloat64Bytes(b)
		return v, rest, wrap(err)
	case msgp.StrType:
		v, rest, err := msgp.ReadStringZC(b)
		return clean(v), rest, wrap(err)
	case msgp.BinType:
		v, rest, err := msgp.ReadBytesZC(b)
		return bytes.Clone(v), rest, wrap(err)
	case msgp.ArrayType:
		return d.array(b, depth)
	case msgp.MapType:
		return d.mapping(b, depth)
	}
	return nil, nil, malformed("type byte %#02x", b[0])
}

func (d *decoder) array(b []byte, depth int) (any, []byte, error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, nil, wrap(err)
	}
	if int64(n) > int64(len(b)) || int64(n) > int64(d.left) {
		return nil, nil, malformed("an array of %d with %d bytes to come", n, len(b))
	}
	out := make([]any, 0, min(n, 1024)) // what is claimed is not yet there
	for range n {
		var v any
		if v, b, err = d.value(b, depth+1); err != nil {
			return nil, nil, err
		}
		out = append(out, v)
	}
	return out, b, nil
}

func (d *decoder) mapping(b []byte, depth int) (any, []byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return nil, nil, wrap(err)
	}
	if 2*int64(n) > int64(len(b)) || int64(n) > int64(d.left) {
		return nil, nil, malformed("a map of %d with %d bytes to come", n, len(b))
	}
	out := make(map[string]any, min(n, 64))
	for range n {
		var key []byte
		if key, b, err = readText(b); err != nil {
			return nil, nil, err
		}
		var v any
		if v, b, err = d.value(b, depth+1); err != nil {
			return nil, nil, err
		}
		out[intern(key)] = v
	}
	return out, b, nil
}

// readText reads a str or a bin, as a slice of b.
func readText(b []byte) (text, rest []byte, err error) {
	switch msgp.NextType(b) {
	case msgp.StrType:
		text, rest, err = msgp.ReadStringZC(b)
	case msgp.BinType:
		text, rest, err = msgp.ReadBytesZC(b)
	default:
		return nil, nil, malformed("no text where text should be")
	}
	return text, rest, wrap(err)
}

func readArray(b []byte) (n int, rest []byte, err error) {
	size, rest, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return 0, nil, wrap(err)
	}
	if int64(size) > int64(len(rest)) {
		return 0, nil, malformed("an array of %d with %d bytes to come", size, len(rest))
	}
	return int(size), rest, nil
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

func clean(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
}

// skip returns what follows the value at the start of b. It needs neither memory nor
// stack, however deep the value.
func skip(b []byte) ([]byte, error) {
	for open := int64(1); open > 0; open-- {
		size, inside := extent(b)
		if size == 0 || size > int64(len(b)) {
			return nil, malformed("cut short")
		}
		b = b[size:]
		if open += inside; open-1 > int64(len(b)) {
			return nil, malformed("%d values with %d bytes to come", open-1, len(b))
		}
	}
	return b, nil
}

// extent says how many bytes the value at the start of b takes without the values
// inside it, and how many those are; 0 bytes if b does not say.
func extent(b []byte) (size, inside int64) {
	if len(b) == 0 {
		return 0, 0
	}
	switch c := b[0]; {
	case c <= 0x7f, c >= 0xe0: // small numbers
		return 1, 0
	case c <= 0x8f: // small maps
		return 1, 2 * int64(c&0x0f)
	case c <= 0x9f: // small arrays
		return 1, int64(c & 0x0f)
	case c <= 0xbf: // short str
		return 1 + int64(c&0x1f), 0
	default:
		k := kinds[c-0xc0]
		if len(b) <= int(k.width) {
			return 0, 0
		}
		n := int64(0)
		switch k.width {
		case 1:
			n = int64(b[1])
		case 2:
			n = int64(binary.BigEndian.Uint16(b[1:]))
		case 4:
			n = int64(binary.BigEndian.Uint32(b[1:]))
		}
		return int64(k.fixed) + int64(k.width) + n*int64(k.bytes), n * int64(k.values)
	}
}

// kinds are the values with type bytes 0xc0 to 0xdf: fixed bytes, among them the type
// byte, then a count of this width, which counts bytes or values. Without fixed bytes
// the type byte is never used.
var kinds = [32]struct{ fixed, width, bytes, values uint8 }{
	{fixed: 1}, {}, {fixed: 1}, {fixed: 1}, // nil, unused, false, true
	{1, 1, 1, 0}, {1, 2, 1, 0}, {1, 4, 1, 0}, // bin
	{2, 1, 1, 0}, {2, 2, 1, 0}, {2, 4, 1, 0}, // ext
	{fixed: 5}, {fixed: 9}, // float
	{fixed: 2}, {fixed: 3}, {fixed: 5}, {fixed: 9}, // uint
	{fixed: 2}, {fixed: 3}, {fixed: 5}, {fixed: 9}, // int
	{fixed: 3}, {fixed: 4}, {fixed: 6}, {fixed: 10}, {fixed: 18}, // fixext
	{1, 1, 1, 0}, {1, 2, 1, 0}, {1, 4, 1, 0}, // str
	{1, 2, 0, 1}, {1, 4, 0, 1}, // array
	{1, 2, 0, 2}, {1, 4, 0, 2}, // map
}
