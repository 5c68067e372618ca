package wire

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseUpdate(t *testing.T, args any) []Entry {
	t.Helper()
	frame, err := AppendRequest(nil, 5, OpUpdate, map[string]any{KeyCommandID: "1", KeyArgs: args})
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := m.Parse(frame); err != nil || m.Bad != nil {
		t.Fatalf("%v, %v", err, m.Bad)
	}
	return m.Entries
}

func TestUpdateLists(t *testing.T) {
	at := 1_700_000_000.25
	const ms = 1_700_000_000_250
	tests := []struct {
		name    string
		text    any
		indexes []any
		times   []any
		want    Entry
	}{
		{"whole lines", "a\nbc\n", []any{1, 4}, []any{at, at}, Entry{Text: []byte("a\nbc\n"), Times: []TimeRun{{2, ms}}}},
		{"two times", "a\nb\n", []any{1, 3}, []any{at, at + 1}, Entry{Text: []byte("a\nb\n"), Times: []TimeRun{{1, ms}, {1, ms + 1000}}}},
		{"times within a millisecond", "a\nb\n", []any{1, 3}, []any{at, at + 0.0001}, Entry{Text: []byte("a\nb\n"), Times: []TimeRun{{2, ms}}}},
		{"times as whole numbers", "a\n", []any{1}, []any{1_700_000_000}, Entry{Text: []byte("a\n"), Times: []TimeRun{{1, 1_700_000_000_000}}}},
		{"bin for text", []byte("a\n"), []any{1}, []any{at}, Entry{Text: []byte("a\n"), Times: []TimeRun{{1, ms}}}},
		{"CR stays", "a\rb\r\n", []any{4}, []any{at}, Entry{Text: []byte("a\rb\r\n"), Times: []TimeRun{{1, ms}}}},
		{"nothing", "", []any{}, []any{}, Entry{Text: []byte{}}},
		{"no LF at the end", "a", []any{1}, []any{at}, Entry{Text: []byte("a\n"), Times: []TimeRun{{1, ms}}}},
		{"not UTF-8", []byte("a\xff\n"), []any{2}, []any{at}, Entry{Text: []byte("a\uFFFD\n"), Times: []TimeRun{{1, ms}}}},
		// docs/protocol.md 0.2 item 4: a line that the worker cut
		{"a time too few", "a\nb\n", []any{1, 3}, []any{at}, Entry{Text: []byte("a\nb\n")}},
		{"no times", "a\nb\n", []any{1, 3}, []any{}, Entry{Text: []byte("a\nb\n")}},
		{"an offset too many", "a\n", []any{1, 3}, []any{at}, Entry{Text: []byte("a\n")}},
		{"a time too many", "a\n", []any{1}, []any{at, at}, Entry{Text: []byte("a\n")}},
		{"not a number", "a\n", []any{1}, []any{math.NaN()}, Entry{Text: []byte("a\n")}},
		{"endless", "a\n", []any{1}, []any{math.Inf(1)}, Entry{Text: []byte("a\n")}},
		{"before 1970", "a\n", []any{1}, []any{-1.0}, Entry{Text: []byte("a\n")}},
	}
	for _, tt := range tests {
		want := tt.want
		want.Key = Stdout
		got := parseUpdate(t, []any{[]any{"stdout", []any{tt.text, tt.indexes, tt.times}}})
		if d := cmp.Diff([]Entry{want}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestUpdateValues(t *testing.T) {
	got := parseUpdate(t, []any{
		[]any{"rc", 0}, []any{"elapsed", 0.5}, []any{"files", []any{"a", "b"}}, []any{"failure_reason", "timeout"},
		[]any{"log", []any{"test.log", []any{"x\n", []any{1}, []any{2.0}}}},
		[]any{"something new", map[string]any{"a": int64(1)}},
	})
	want := []Entry{
		{Key: RC, Value: int64(0)}, {Key: Elapsed, Value: 0.5}, {Key: Files, Value: []any{"a", "b"}},
		{Key: FailureReason, Value: "timeout"},
		{Key: Log, Log: "test.log", Text: []byte("x\n"), Times: []TimeRun{{1, 2000}}},
		{Key: "something new", Value: map[string]any{"a": int64(1)}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The order of keys means nothing: args may come before op.
func TestUpdateArgsFirst(t *testing.T) {
	frame, err := AppendUpdate(nil, 3, "9", []Entry{{Key: Stderr, Text: []byte("x\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if op, args := bytes.Index(frame, []byte("op")), bytes.Index(frame, []byte("args")); args > op {
		t.Fatal("our own encoder is expected to write args first")
	}
	var m Message
	if err := m.Parse(frame); err != nil || len(m.Entries) != 1 || string(m.Entries[0].Text) != "x\n" {
		t.Errorf("got %v, %v", m.Entries, err)
	}
}

// Offsets are counted in code points, not bytes (docs/protocol.md 0.2 item 23).
func TestAppendUpdateOffsets(t *testing.T) {
	b, err := AppendUpdate(nil, 0, "1", []Entry{{Key: Stdout, Text: []byte("äöü\n€𝄞\n"), Times: []TimeRun{{2, 1500}}}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"op": "update", "command_id": "1", "seq_number": int64(0), "args": []any{
		[]any{"stdout", []any{"äöü\n€𝄞\n", []any{int64(3), int64(6)}, []any{1.5, 1.5}}}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The longest line that a worker may send arrives whole (docs/protocol.md D 3).
func TestLongestLine(t *testing.T) {
	line := []byte(strings.Repeat("𝄞", MaxLine) + "\n")
	frame, err := AppendUpdate(nil, 0, "1", []Entry{{Key: Stdout, Text: line, Times: []TimeRun{{1, 5}}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(frame) > MaxFrame {
		t.Fatalf("%d bytes, more than a frame may have", len(frame))
	}
	var m Message
	if err := m.Parse(frame); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Entries[0].Text, line) || len(m.Entries[0].Times) != 1 {
		t.Errorf("%d bytes of text, want %d", len(m.Entries[0].Text), len(line))
	}
}

// Runs of every length around the block sizes come out right.
func TestTimeRuns(t *testing.T) {
	for _, first := range []int{1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 1300} {
		for _, second := range []int{0, 1, 8, 70, 600} {
			want := []TimeRun{{first, 1000}}
			if second > 0 {
				want = append(want, TimeRun{second, 2000})
			}
			text := bytes.Repeat([]byte("\n"), first+second)
			frame, err := AppendUpdate(nil, 0, "1", []Entry{{Key: Stdout, Text: text, Times: want}})
			if err != nil {
				t.Fatal(err)
			}
			var m Message
			if err := m.Parse(frame); err != nil || m.Bad != nil {
				t.Fatal(err, m.Bad)
			}
			if d := cmp.Diff(want, m.Entries[0].Times); d != "" {
				t.Errorf("%d and %d lines:\n%s", first, second, d)
			}
		}
	}
}

func TestCloneEntries(t *testing.T) {
	frame, err := AppendUpdate(nil, 0, "1", []Entry{{Key: Stdout, Text: []byte("one\n")}, {Key: RC, Value: 0}, {Key: Stderr, Text: []byte("two\n")}})
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := m.Parse(frame); err != nil {
		t.Fatal(err)
	}
	got := CloneEntries(m.Entries)
	clear(frame)
	if string(got[0].Text) != "one\n" || string(got[2].Text) != "two\n" {
		t.Errorf("got %q and %q", got[0].Text, got[2].Text)
	}
}
