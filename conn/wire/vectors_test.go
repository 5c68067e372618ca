package wire

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// recorded is one WebSocket message between a worker and a master, as a proxy saw it.
type recorded struct {
	Dir, Kind, Hex string
	Decoded        any // bin is {"$bin": hex}
	file           string
	line           int
}

func (r recorded) frame(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(r.Hex)
	if err != nil {
		t.Fatalf("%s:%d: %v", r.file, r.line, err)
	}
	return b
}

// vectors returns every recorded MessagePack message of testdata.
func vectors(t testing.TB) []recorded {
	t.Helper()
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files of vectors (%v), want at least 40", len(files), err)
	}
	var out []recorded
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 8<<20)
		for n := 1; lines.Scan(); n++ {
			r := recorded{file: name, line: n}
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatalf("%s:%d: %v", name, n, err)
			}
			if r.Kind == "binary" {
				out = append(out, r)
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f.Close()
	}
	return out
}

// likeJSON turns what Decode returns into what encoding/json makes of the recording.
func likeJSON(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case []byte:
		return map[string]any{"$bin": hex.EncodeToString(v)}
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = likeJSON(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key := range v {
			out[key] = likeJSON(v[key])
		}
		return out
	}
	return v
}

// The recorder named these payloads as not being messages.
func isHostile(r recorded) bool {
	if s, ok := r.Decoded.(string); ok {
		return s != ""
	}
	m, ok := r.Decoded.(map[string]any)
	return ok && m["$undecodable"] != nil
}

func TestDecodeVectors(t *testing.T) {
	count := 0
	for _, r := range vectors(t) {
		if r.Decoded == nil || isHostile(r) {
			continue
		}
		got, err := Decode(r.frame(t))
		if err != nil {
			t.Errorf("%s:%d: %v", r.file, r.line, err)
			continue
		}
		if d := cmp.Diff(r.Decoded, likeJSON(got)); d != "" {
			t.Errorf("%s:%d: decoded differently (-recorded +got):\n%s", r.file, r.line, d)
		}
		count++
	}
	if count < 1000 {
		t.Errorf("%d messages decoded, want at least 1000", count)
	}
}

// What we encode is as short as what other libraries encode, and means the same.
func TestEncodeVectors(t *testing.T) {
	for _, r := range vectors(t) {
		frame := r.frame(t)
		want, err := Decode(frame)
		if err != nil || isHostile(r) {
			continue
		}
		b, err := Append(nil, want)
		if err != nil {
			t.Fatalf("%s:%d: %v", r.file, r.line, err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s:%d: decode our own: %v", r.file, r.line, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:%d: encoded differently:\n%s", r.file, r.line, d)
		}
		if len(b) > len(frame) {
			t.Errorf("%s:%d: %d bytes, recorded were %d", r.file, r.line, len(b), len(frame))
		}
	}
}

// Parse agrees with Decode on every recorded message.
func TestParseVectors(t *testing.T) {
	updates := 0
	for _, r := range vectors(t) {
		frame := r.frame(t)
		var m Message
		err := m.Parse(frame)
		v, _ := Decode(frame)
		whole, _ := v.(map[string]any)
		if whole["op"] == nil || whole["seq_number"] == nil {
			if err == nil {
				t.Errorf("%s:%d: parsed, though it has no op or no seq_number", r.file, r.line)
			}
			continue
		}
		if err != nil || m.Bad != nil {
			t.Errorf("%s:%d: %v, %v", r.file, r.line, err, m.Bad)
			continue
		}
		id, _ := whole["command_id"].(string)
		if m.Op != whole["op"] || m.Seq != whole["seq_number"] || m.CommandID != id {
			t.Errorf("%s:%d: got %s %d %q", r.file, r.line, m.Op, m.Seq, m.CommandID)
		}
		if _, says := whole["is_exception"]; says != m.Exception {
			t.Errorf("%s:%d: exception %v, want %v", r.file, r.line, m.Exception, says)
		}
		if m.Op == OpUpdate {
			updates++
			compareUpdate(t, r, m.Entries, whole["args"].([]any))
			reencodeUpdate(t, r, &m, frame)
		} else if result, ok := whole["result"]; ok {
			got, err := m.Value("result")
			if d := cmp.Diff(result, got); d != "" || err != nil {
				t.Errorf("%s:%d: result: %v\n%s", r.file, r.line, err, d)
			}
		}
	}
	if updates < 130 {
		t.Errorf("%d updates, want at least 130", updates)
	}
}

// compareUpdate compares the fast decoder's entries with the generic decoder's lists.
func compareUpdate(t *testing.T, r recorded, got []Entry, want []any) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s:%d: %d entries, want %d", r.file, r.line, len(got), len(want))
	}
	for i, e := range got {
		pair := want[i].([]any)
		value := pair[1]
		if e.Key != pair[0] {
			t.Fatalf("%s:%d: key %q, want %q", r.file, r.line, e.Key, pair[0])
		}
		switch e.Key {
		case Log:
			if e.Log != value.([]any)[0] {
				t.Errorf("%s:%d: log %q", r.file, r.line, e.Log)
			}
			value = value.([]any)[1]
		case Stdout, Stderr, Header:
		default:
			if d := cmp.Diff(value, e.Value); d != "" {
				t.Errorf("%s:%d: %s:\n%s", r.file, r.line, e.Key, d)
			}
			continue
		}
		lists := value.([]any)
		text, indexes, times := lists[0].(string), lists[1].([]any), lists[2].([]any)
		if string(e.Text) != text {
			t.Errorf("%s:%d: %s: text differs", r.file, r.line, e.Key)
		}
		lines := strings.Count(text, "\n")
		agree := len(indexes) == lines && len(times) == lines
		var want []int64
		for _, at := range times {
			want = append(want, int64(at.(float64)*1000+0.5))
		}
		if !agree {
			want = nil
		}
		if d := cmp.Diff(want, spread(e.Times)); d != "" {
			t.Errorf("%s:%d: %s: times:\n%s", r.file, r.line, e.Key, d)
		}
	}
}

func spread(runs []TimeRun) (out []int64) {
	for _, run := range runs {
		for range run.Lines {
			out = append(out, run.Millis)
		}
	}
	return out
}

// reencodeUpdate encodes a worker's update from our entries. Times lose what is below
// a millisecond; where the worker's lists disagreed the result differs by design.
func reencodeUpdate(t *testing.T, r recorded, m *Message, frame []byte) {
	t.Helper()
	for _, e := range m.Entries {
		if len(e.Text) > 0 && e.Times == nil {
			return
		}
	}
	b, err := AppendUpdate(nil, m.Seq, m.CommandID, m.Entries)
	if err != nil {
		t.Fatalf("%s:%d: %v", r.file, r.line, err)
	}
	if len(b) > len(frame) {
		t.Errorf("%s:%d: %d bytes, recorded were %d", r.file, r.line, len(b), len(frame))
	}
	var again Message
	if err := again.Parse(b); err != nil || again.Bad != nil {
		t.Fatalf("%s:%d: parse our own: %v, %v", r.file, r.line, err, again.Bad)
	}
	if d := cmp.Diff(m.Entries, again.Entries); d != "" {
		t.Errorf("%s:%d: encoded differently:\n%s", r.file, r.line, d)
	}
}
