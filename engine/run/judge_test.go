package run

import (
	"strconv"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/conn/wire"
)

func TestJoin(t *testing.T) {
	tests := []struct {
		system string
		elems  []string
		want   string
	}{
		{"posix", []string{"/w", "b", "build"}, "/w/b/build"},
		{"posix", []string{"/w/", "b", "", "x/../y"}, "/w/b/y"},
		{"posix", []string{"/w", "b", "/tmp"}, "/tmp"},
		{"posix", []string{"", "b"}, "b"},
		{"nt", []string{`C:\w`, "b", "build"}, `C:\w\b\build`},
		{"nt", []string{`C:\w`, `D:\x`, "y"}, `D:\x\y`},
		{"nt", []string{`C:\w\`, "b"}, `C:\w\b`},
	}
	for _, tt := range tests {
		if got := Join(tt.system, tt.elems...); got != tt.want {
			t.Errorf("Join(%s, %q) = %q, want %q", tt.system, tt.elems, got, tt.want)
		}
	}
}

func TestCommandText(t *testing.T) {
	for want, command := range map[string]any{
		"'make'": "make", "'make all'": []any{"make", "all"}, "'make -j ...'": []any{"make", "-j", []any{"4", "all"}}, "???": 3,
	} {
		if got := CommandText(command); got != want {
			t.Errorf("CommandText(%v) = %s, want %s", command, got, want)
		}
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{"stdio": "stdio", "err.text": "err_text", "1st": "_1st", "a b/ü": "a_b__", "": "_"} {
		if got := slug(name); got != want {
			t.Errorf("slug(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestStronger(t *testing.T) {
	stop := &ending{result: config.Cancelled, reason: "stop"}
	lost := &ending{result: config.Retry, reason: "lost", hard: true}
	full := &ending{result: config.Exception, reason: "full", hard: true}
	tests := []struct {
		name     string
		old, new *ending
		want     ending
	}{
		{"first", nil, stop, *stop},
		{"a stop, then the worker goes: no retry", stop, lost, ending{result: config.Cancelled, reason: "stop", hard: true}},
		{"the worker goes, then a stop: no retry", lost, stop, ending{result: config.Cancelled, reason: "stop", hard: true}},
		{"the first hard one stays", lost, full, *lost},
		{"two stops", stop, stop, *stop},
	}
	for _, tt := range tests {
		if got := stronger(tt.old, tt.new); *got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, *got, tt.want)
		}
	}
}

// The facts that docs/requirements.md A2.7 promises are there without a worker saying so.
func TestFacts(t *testing.T) {
	table := &Table{facts: map[string]any{"os_id": "debian", "numcpus": int64(2)}}
	for name, want := range map[string]any{"os_id": "debian", "os_id_like": nil, "os_version_id": nil, "numcpus": int64(2)} {
		if v, ok := table.Fact(name); v != want || !ok {
			t.Errorf("%s: %v, %v", name, v, ok)
		}
	}
	if _, ok := table.Fact("os_nonsense"); ok {
		t.Error("a fact nobody told")
	}
	if _, err := table.Secret(t.Context(), "x"); err == nil {
		t.Error("a secret without a provider")
	}
}

func TestText(t *testing.T) {
	for want, v := range map[string]any{"a": "a", "a b": []any{"a", "b"}, "": []any{}} {
		got, err := prop.Convert[Text](v)
		if err != nil || string(got) != want {
			t.Errorf("%v: %q, %v", v, got, err)
		}
	}
	if _, err := prop.Convert[Text](int64(3)); err == nil {
		t.Error("a number is no text")
	}
}

// A worker of version 3.7.0 says why it killed a command only in a header
// (docs/protocol.md A.7).
func TestFailureFromHeader(t *testing.T) {
	for text, want := range map[string]string{
		"\ncommand timed out: 5 seconds without output running [b'x'], attempting to kill\n": "timeout_without_output",
		"\ncommand timed out: 5 seconds elapsed running [b'x'], attempting to kill\n":        "timeout",
		"\ncommand interrupted, attempting to kill\n":                                        "",
	} {
		x := &execution{}
		if err := x.take(conn.Update{Entries: []wire.Entry{{Key: "header", Text: []byte(text)}}, Number: 1}); err != nil {
			t.Fatal(err)
		}
		if x.result.Failure != want {
			t.Errorf("%q: got %q, want %q", text, x.result.Failure, want)
		}
	}
}

// What a worker says last counts only as a whole: an exit status and no error
// (docs/protocol.md 0.2 items 6 and 7). Logs nobody asked for are dropped.
func TestTakeUpdates(t *testing.T) {
	x := &execution{c: Command{Files: map[string]*Log{}}}
	if x.result.Succeeded() {
		t.Error("success without an exit status")
	}
	err := x.take(conn.Update{Number: 1, Entries: []wire.Entry{
		{Key: "rc", Value: int64(0)}, {Key: "elapsed", Value: 0.5}, {Key: "files", Value: []any{"a"}},
		{Key: "log", Log: "nobody asked", Text: []byte("x\n")}, {Key: "rc", Value: "nonsense"}, {Key: "stdout", Text: []byte("late\n")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !x.result.Succeeded() || len(x.result.Values["files"].([]any)) != 1 {
		t.Errorf("%+v", x.result)
	}
	x.result.Error = "RuntimeError"
	if x.result.Succeeded() || x.result.Result() != config.Failure {
		t.Error("success with an error")
	}
	for i := range 100 {
		x.keep(wire.Entry{Key: strconv.Itoa(i), Value: "x"})
	}
	if len(x.result.Values) > 16 {
		t.Errorf("%d values were kept", len(x.result.Values))
	}
}
