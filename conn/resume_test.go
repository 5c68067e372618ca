package conn

import (
	"strings"
	"testing"
)

func TestReadHeld(t *testing.T) {
	entry := []any{"1-2.3", int64(5), int64(2), []byte("t")}
	ours := func(running any) map[string]any {
		return map[string]any{"version": "1", "resume": int64(1), "life": "l", "running": running}
	}
	for name, tt := range map[string]struct {
		ours map[string]any
		life string
		held int
		err  string
	}{
		"a worker that cannot":     {ours: map[string]any{"version": "1"}},
		"another way to do it":     {ours: map[string]any{"resume": int64(2), "life": "l", "running": 7}},
		"nothing runs":             {ours: ours([]any{}), life: "l"},
		"two run":                  {ours: ours([]any{entry, []any{"x", int64(0), int64(0), []byte{}}}), life: "l", held: 2},
		"no life":                  {ours: map[string]any{"resume": int64(1), "running": []any{}}, err: "list of running"},
		"no list":                  {ours: ours("x"), err: "list of running"},
		"an entry that is none":    {ours: ours([]any{"x"}), err: "list of running"},
		"an entry that is short":   {ours: ours([]any{entry[:3]}), err: "list of running"},
		"an entry without an id":   {ours: ours([]any{[]any{"", int64(5), int64(2), []byte{}}}), err: "list of running"},
		"a number that is none":    {ours: ours([]any{[]any{"x", "5", int64(2), []byte{}}}), err: "list of running"},
		"a token that is no bytes": {ours: ours([]any{[]any{"x", int64(5), int64(2), "t"}}), err: "list of running"},
	} {
		t.Run(name, func(t *testing.T) {
			life, held, err := readHeld(tt.ours)
			if life != tt.life || len(held) != tt.held || (err == nil) != (tt.err == "") {
				t.Errorf("got %q, %v, %v", life, held, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v", err)
			}
			if tt.held > 0 && (held[0].ID != "1-2.3" || held[0].Next != 5 || held[0].First != 2 || string(held[0].Token) != "t") {
				t.Errorf("got %+v", held[0])
			}
		})
	}
}
