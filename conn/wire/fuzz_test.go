package wire

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func seed(f *testing.F) {
	for _, b := range hostile {
		if len(b) < 1000 {
			f.Add(b)
		}
	}
	for i, r := range vectors(f) {
		if b := r.frame(f); i%10 == 0 && len(b) < 4000 {
			f.Add(b)
		}
	}
}

// What decodes also encodes, and then decodes to the same.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Append(nil, v)
		if err != nil {
			t.Fatalf("encode %v: %v", v, err)
		}
		w, err := Decode(again)
		if err != nil {
			t.Fatalf("decode again: %v", err)
		}
		if d := cmp.Diff(v, w, cmpopts.EquateNaNs()); d != "" {
			t.Fatal(d)
		}
		if rest, err := skip(b); err != nil || len(rest) != 0 {
			t.Fatalf("skip left %d bytes (%v) of what decodes", len(rest), err)
		}
	})
}

// A parsed update keeps its promises, and agrees with Decode on its text.
func FuzzUpdate(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		if m.Parse(b) != nil {
			return
		}
		if m.Op == "" || m.Seq < 0 {
			t.Fatalf("op %q, seq %d", m.Op, m.Seq)
		}
		for _, e := range m.Entries {
			if n := len(e.Text); n > 0 && e.Text[n-1] != '\n' || !utf8.Valid(e.Text) {
				t.Fatalf("text %q", e.Text)
			}
			lines := 0
			for _, run := range e.Times {
				if lines += run.Lines; run.Lines < 1 || run.Millis < 0 {
					t.Fatalf("run %v", run)
				}
			}
			if e.Times != nil && lines != bytes.Count(e.Text, []byte("\n")) {
				t.Fatalf("%d times for %q", lines, e.Text)
			}
		}
		if m.Op == OpUpdate && m.Bad == nil {
			again, err := AppendUpdate(nil, m.Seq, m.CommandID, m.Entries)
			if err != nil {
				t.Fatal(err)
			}
			var n Message
			if err := n.Parse(again); err != nil || n.Bad != nil || len(n.Entries) != len(m.Entries) {
				t.Fatalf("parse again: %v, %v", err, n.Bad)
			}
		}
	})
}
