package conn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"buildstar/conn/wire"
)

// clientFrame is a frame as a client sends it.
func clientFrame(first byte, payload []byte) []byte {
	mask := [4]byte{0xa1, 0x52, 0x03, 0xf4}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// taken is everything that comes out of bytes.
type taken struct {
	messages []string
	heard    []string
	signs    atomic.Uint64
	err      error
}

// take reads to the end, resting wherever that is allowed.
func take(from io.Reader) *taken {
	var all taken
	f := frames{from: from, signs: &all.signs, heard: func(op byte, payload []byte) { all.heard = append(all.heard, string('0'+rune(op))+string(payload)) }}
	for {
		if f.quiet() {
			f.await()
		}
		buf, err := f.next()
		if err != nil {
			all.err = err
			return &all
		}
		all.messages = append(all.messages, string(buf.B))
		buf.Free()
	}
}

func TestFrames(t *testing.T) {
	big := make([]byte, 100_000)
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	const last = 0x80
	stream := slices.Concat(
		clientFrame(last|opBinary, []byte("one")),
		clientFrame(last|opBinary, nil),
		clientFrame(last|opText, []byte("nobody reads this")),
		clientFrame(opBinary, big[:70_000]),
		clientFrame(last|opPing, []byte("between")),
		clientFrame(opContinuation, big[70_000:70_300]),
		clientFrame(last|opPong, nil),
		clientFrame(last|opContinuation, big[70_300:]),
		clientFrame(last|opPing, bytes.Repeat([]byte("p"), maxControl)),
		clientFrame(last|opBinary, []byte("last")),
		clientFrame(last|opClose, []byte("\x03\xe8enough")),
	)
	for name, from := range map[string]io.Reader{
		"whole":     bytes.NewReader(stream),
		"bytes":     iotest.OneByteReader(bytes.NewReader(stream)),
		"halves":    iotest.HalfReader(bytes.NewReader(stream)),
		"end early": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		got := take(from)
		if !slices.Equal(got.messages, []string{"one", "", string(big), "last"}) {
			t.Errorf("%s: %d messages", name, len(got.messages))
		}
		if want := []string{"9between", ":", "9" + strings.Repeat("p", maxControl)}; !slices.Equal(got.heard, want) {
			t.Errorf("%s: heard %q", name, got.heard)
		}
		if got.err == nil || got.err.Error() != `the worker closed the connection: "enough"` {
			t.Errorf("%s: ended with %v", name, got.err)
		}
		if got.signs.Load() == 0 {
			t.Errorf("%s: no sign of life", name)
		}
	}
}

func TestFramesBroken(t *testing.T) {
	const last = 0x80
	whole := clientFrame(last|opBinary, bytes.Repeat([]byte("x"), 1000))
	tests := []struct {
		stream []byte
		want   string
	}{
		{nil, "EOF"},
		{whole[:1], "EOF"},
		{whole[:5], "unexpected EOF"},
		{whole[:500], "unexpected EOF"},
		{clientFrame(last|opPing, []byte("hello"))[:9], "unexpected EOF"},
		{[]byte{last | opBinary, 1, 'x'}, "it is not masked"},
		{clientFrame(last|0x40|opBinary, nil), "reserved bits"},
		{clientFrame(last|3, nil), "opcode 3"},
		{clientFrame(last|11, nil), "opcode 11"},
		{clientFrame(last|opContinuation, nil), "a continuation of nothing"},
		{slices.Concat(clientFrame(opBinary, nil), clientFrame(last|opBinary, nil)), "the message before has not ended"},
		{clientFrame(opPing, nil), "a control frame in parts"},
		{clientFrame(last|opPing, make([]byte, maxControl+1)), "more than 125 bytes"},
		{clientFrame(last|opClose, nil), "the worker closed the connection"},
		{clientFrame(last|opClose, []byte{3, 0xe9}), "(code 1001)"},
		{[]byte{last | opBinary, 0xff, 0, 0, 0, 0, 0x06, 0, 0, 0, 1, 2, 3, 4}, ErrFrameTooBig.Error()},
		{[]byte{last | opBinary, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, ErrFrameTooBig.Error()},
		{append(clientFrame(opText, []byte("x")), last|opContinuation, 0xff, 0, 0, 0, 0, 0x05, 0, 0, 0, 1, 2, 3, 4), ErrFrameTooBig.Error()},
	}
	for _, tt := range tests {
		got := take(bytes.NewReader(tt.stream))
		if got.err == nil || !strings.Contains(got.err.Error(), tt.want) || len(got.messages) > 0 {
			t.Errorf("%x...: %d messages, ended with %v, want %q", tt.stream[:min(len(tt.stream), 16)], len(got.messages), got.err, tt.want)
		}
	}
	if got := take(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(got.err, io.ErrClosedPipe) {
		t.Errorf("ended with %v", got.err)
	}
}

// Whatever comes, in whatever pieces, is the same, and takes no more memory than came.
func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(clientFrame(opBinary, []byte("ab")), clientFrame(0x80|opPing, []byte("p")), clientFrame(0x80, []byte("c"))))
	f.Add(clientFrame(0x80|opBinary, make([]byte, 300)))
	f.Add(clientFrame(0x80|opClose, []byte("\x03\xe8x")))
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, pieces := take(bytes.NewReader(b)), take(iotest.OneByteReader(bytes.NewReader(b)))
		if !slices.Equal(whole.messages, pieces.messages) || !slices.Equal(whole.heard, pieces.heard) || whole.err.Error() != pieces.err.Error() {
			t.Fatalf("whole: %q, %q, %v\npieces: %q, %q, %v", whole.messages, whole.heard, whole.err, pieces.messages, pieces.heard, pieces.err)
		}
		f := frames{from: bytes.NewReader(b), signs: new(atomic.Uint64), heard: func(byte, []byte) {}}
		for {
			var buf wire.Buffer
			kind, err := f.message(&buf)
			if cap(buf.B) > 4*(len(b)+4096) {
				t.Fatalf("%d bytes took a buffer of %d", len(b), cap(buf.B))
			}
			if err != nil || kind == 0 {
				return
			}
		}
	})
}
