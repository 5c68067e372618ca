package wire

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAppendRequest(t *testing.T) {
	fields := map[string]any{"command_id": "e-1", "command_name": "shell", "args": map[string]any{
		"workdir": "/w", "command": []string{"make", "all"}, "env": map[string]string{"A": "b"}, "timeout": 1200, "usePTY": false,
		"logfiles": nil, "data": []byte{1}, "times": []float64{0.5}, "ints": []int64{-1, 200}, "u": uint64(7)}}
	b, err := AppendRequest(nil, 300, OpStartCommand, fields)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"op": "start_command", "seq_number": int64(300), "command_id": "e-1", "command_name": "shell",
		"args": map[string]any{"workdir": "/w", "command": []any{"make", "all"}, "env": map[string]any{"A": "b"}, "timeout": int64(1200),
			"usePTY": false, "logfiles": nil, "data": []byte{1}, "times": []any{0.5}, "ints": []any{int64(-1), int64(200)}, "u": int64(7)}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for range 20 {
		again, err := AppendRequest(nil, 300, OpStartCommand, fields)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("equal requests have different bytes (%v)", err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	_, err := AppendRequest(nil, 0, OpStartCommand, map[string]any{"args": map[string]any{"env": struct{}{}}})
	if err == nil || !strings.Contains(err.Error(), "args: env: encode struct {}: the wire has no such type") {
		t.Errorf("got %v", err)
	}
}

func TestAppendResponse(t *testing.T) {
	var m Message
	if err := m.Parse(AppendResponse(nil, 9, []byte("block"))); err != nil {
		t.Fatal(err)
	}
	if v, err := m.Value(KeyResult); m.Op != OpResponse || m.Seq != 9 || m.Exception || string(v.([]byte)) != "block" {
		t.Errorf("got %+v, %v, %v", m, v, err)
	}
	if err := m.Parse(AppendException(nil, 10, "no")); err != nil {
		t.Fatal(err)
	}
	if v, err := m.Text(KeyResult); m.Seq != 10 || !m.Exception || v != "no" {
		t.Errorf("got %+v, %v, %v", m, v, err)
	}
	// A request is always answered, even with something that cannot be sent.
	if err := m.Parse(AppendResponse(nil, 11, struct{}{})); err != nil || !m.Exception || m.Seq != 11 {
		t.Errorf("got %+v, %v", m, err)
	}
}

// One bad byte would make a stock peer drop the whole message (docs/protocol.md 0.2
// item 9).
func TestAppendReplacesBadText(t *testing.T) {
	b, err := Append(nil, []any{"a\xffb", map[string]any{"k\xff": 1}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if d := cmp.Diff([]any{"a\uFFFDb", map[string]any{"k\uFFFD": int64(1)}}, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestMessageFields(t *testing.T) {
	b, err := AppendRequest(nil, 1, OpReadFile, map[string]any{"command_id": "7", "length": 4096, "name": []byte("n"), "map": map[string]any{"a": 1}})
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := m.Parse(b); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Int(KeyLength); n != 4096 || err != nil {
		t.Errorf("length %d, %v", n, err)
	}
	if s, err := m.Text("name"); s != "n" || err != nil {
		t.Errorf("name %q, %v", s, err)
	}
	if v, err := m.Map("map"); v["a"] != int64(1) || err != nil {
		t.Errorf("map %v, %v", v, err)
	}
	if !m.Has("name") || m.Has("nothing") || m.Size("length") != 3 {
		t.Errorf("Has or Size is wrong: %d", m.Size("length"))
	}
	if _, err := m.Int("nothing"); err == nil || err.Error() != `message did not contain obligatory "nothing" key` {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{second(m.Int("name")), second(m.Map("name")), second(m.Bytes("length"))} {
		if err == nil {
			t.Error("a value of the wrong type was accepted")
		}
	}
}

func second[T any](_ T, err error) error { return err }
