package wire

import (
	"bytes"
	"errors"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

// hostile are inputs that killed or hung other MessagePack libraries, and their kin.
var hostile = map[string][]byte{
	"array of 2^31":           {0xdd, 0x7f, 0xff, 0xff, 0xff},
	"map of 2^32-1":           {0xdf, 0xff, 0xff, 0xff, 0xff},
	"array nested 5M deep":    bytes.Repeat([]byte{0x91}, 5_000_000),
	"map nested 1M deep":      bytes.Repeat([]byte{0x81, 0xa1, 'k'}, 1_000_000),
	"array16 nested, all big": bytes.Repeat([]byte{0xdc, 0xff, 0xff}, 1_000_000),
	"int map key":             {0x81, 0x01, 0x02},
	"str of 2^32-1":           {0xdb, 0xff, 0xff, 0xff, 0xff, 'x'},
	"bin of 2^32-1":           {0xc6, 0xff, 0xff, 0xff, 0xff, 'x'},
	"ext of 2^32-1":           {0xc9, 0xff, 0xff, 0xff, 0xff, 0x01},
	"ext":                     {0xd4, 0x01, 0x00},
	"timestamp":               {0xd6, 0xff, 0, 0, 0, 0},
	"the unused byte":         {0xc1},
	"nothing":                 {},
	"float cut short":         {0xcb, 0x40},
	"rest after the value":    {0xc0, 0xc0},
	"more than 1M values":     append([]byte{0xdd, 0, 0x10, 0, 1}, make([]byte, 1<<20+1)...),
}

// allocated is how many bytes were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestDecodeHostile(t *testing.T) {
	for name, b := range hostile {
		before := allocated()
		v, err := Decode(b)
		got := allocated() - before
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v; want ErrMalformed", name, v, err)
		}
		if got > 16<<20 {
			t.Errorf("%s: %d MiB allocated", name, got>>20)
		}
	}
}

// The same bytes as a value inside a message: the message is refused, or only its
// value is.
func TestParseHostile(t *testing.T) {
	for name, b := range hostile {
		for _, key := range []string{KeyArgs, KeyResult, "x"} {
			if len(b) > 2_000_000 && key != KeyArgs {
				continue // as slow, and nothing new
			}
			frame := msgp.AppendMapHeader(nil, 3)
			frame = msgp.AppendString(frame, KeyOp)
			frame = msgp.AppendString(frame, OpUpdate)
			frame = msgp.AppendString(frame, KeySeq)
			frame = msgp.AppendInt(frame, 1)
			frame = msgp.AppendString(frame, key)
			frame = append(frame, b...)
			before := allocated()
			var m Message
			err := m.Parse(frame)
			got := allocated() - before
			if err == nil && m.Bad == nil {
				t.Errorf("%s as %s: accepted", name, key)
			}
			if got > 16<<20 {
				t.Errorf("%s as %s: %d MiB allocated", name, key, got>>20)
			}
		}
	}
}

// A message that is cut anywhere is refused, not misread (the fast loops
// index raw bytes).
func TestParseCutShort(t *testing.T) {
	for _, lines := range []int{200, 4000} { // offsets of 1 to 5 bytes
		entries := []Entry{
			{Key: Stdout, Text: bytes.Repeat([]byte("a line of 20 chars.\n"), lines), Times: []TimeRun{{Lines: lines, Millis: 1_700_000_000_123}}},
			{Key: Log, Log: "l", Text: []byte("a\nb\n"), Times: []TimeRun{{Lines: 1, Millis: 1}, {Lines: 1, Millis: 2}}},
			{Key: RC, Value: int64(3)},
		}
		frame, err := AppendUpdate(nil, 70_000, "1-2", entries)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := m.Parse(frame); err != nil || len(m.Entries) != 3 {
			t.Fatalf("whole: %v, %d entries", err, len(m.Entries))
		}
		step := 1 + len(frame)/30_000*150 // all of the small one, some of the big one
		for n := 0; n < len(frame); n += step {
			if n > len(frame)-100 {
				step = 1
			}
			if err := m.Parse(frame[:n:n]); err == nil {
				t.Fatalf("cut to %d of %d bytes: accepted", n, len(frame))
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name  string
		value any
		want  string
	}{
		{"an array", []any{"op", "update"}, "malformed message"},
		{"text", "hello", "malformed message"},
		{"no op", map[string]any{"seq_number": 1}, `message did not contain obligatory "op" key`},
		{"no seq_number", map[string]any{"op": "update"}, `message did not contain obligatory "seq_number" key`},
		{"seq_number as text", map[string]any{"op": "update", "seq_number": "1"}, "seq_number is not a number"},
		{"seq_number below 0", map[string]any{"op": "update", "seq_number": -1}, "seq_number is not a number"},
		{"seq_number as float", map[string]any{"op": "update", "seq_number": 1.0}, "seq_number is not a number"},
		{"op as number", map[string]any{"op": 7, "seq_number": 1}, "op is not text"},
	}
	for _, tt := range tests {
		frame, err := Append(nil, tt.value)
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := m.Parse(frame); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Updates of the wrong shape can be answered: the envelope is sound.
func TestParseBadUpdate(t *testing.T) {
	lines := func(v ...any) any { return []any{[]any{"stdout", v}} }
	tests := map[string]any{
		"args is text":             "x",
		"args is nil":              nil,
		"an entry is text":         []any{"stdout"},
		"an entry of three":        []any{[]any{"rc", 1, 2}},
		"a key that is a number":   []any{[]any{1, 2}},
		"stdout is text":           []any{[]any{"stdout", "text"}},
		"stdout of two":            lines("x\n", []any{1}),
		"text is a number":         lines(1, []any{}, []any{}),
		"indexes is a map":         lines("x\n", map[string]any{}, []any{1.0}),
		"indexes holds an array":   lines("x\n", []any{[]any{}}, []any{1.0}),
		"times hold text":          lines("x\n", []any{1}, []any{"now"}),
		"log without a name":       []any{[]any{"log", []any{[]any{"x\n", []any{1}, []any{1.0}}}}},
		"a log's name is a number": []any{[]any{"log", []any{1, []any{"x\n", []any{1}, []any{1.0}}}}},
		"70,000 entries":           make([]any, 70_000),
	}
	for name, args := range tests {
		frame, err := AppendRequest(nil, 5, OpUpdate, map[string]any{KeyCommandID: "1", KeyArgs: args})
		if err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := m.Parse(frame); err != nil {
			t.Errorf("%s: the envelope is sound, got %v", name, err)
		}
		if m.Bad == nil {
			t.Errorf("%s: accepted as %v", name, m.Entries)
		}
	}
}
