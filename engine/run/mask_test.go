package run

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"buildstar/state"
)

func TestMask(t *testing.T) {
	var m mask
	if m.text("s3cret") != "s3cret" {
		t.Error("something is hidden before there is a secret")
	}
	m.add("short", "ab")
	m.add("pw", `s3cr"et '&/`)
	m.add("longer", `s3cr"et '&/ and more`)
	m.add("key", "-----BEGIN KEY-----\nAAAABBBBCCCC\n}\n  \nDDDDEEEEFFFF\n-----END KEY-----\n")
	for in, want := range map[string]string{
		`a s3cr"et '&/ b`:                   `a <pw> b`,
		`s3cr"et '&/ and more`:              `<longer>`,
		`argv: [b's3cr"et \'&/']`:           `argv: [b'<pw>']`,
		`{"x": "s3cr\"et '&/"}`:             `{"x": "<pw>"}`,
		`?token=s3cr%22et+%27%26%2F`:        `?token=<pw>`,
		`/s3cr%22et%20%27&%2F/x`:            `/<pw>/x`,
		`sh -c 's3cr"et '"'"'&/'`:           `sh -c '<pw>'`,
		`Basic czNjciJldCAnJi8=`:            `Basic <pw>`,
		"AAAABBBBCCCC\n} DDDDEEEEFFFF ab\n": "<key>\n} <key> ab\n",
		"-----BEGIN KEY-----\n":             "-----BEGIN KEY-----\n",
		"S3cr\"et is another":               "S3cr\"et is another",
	} {
		if got := m.text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if got := string(m.lines([]byte(in))); got != want {
			t.Errorf("lines %q: got %q, want %q", in, got, want)
		}
	}
}

func TestMaskRows(t *testing.T) {
	var m mask
	m.add("pw", "hunter2")
	step := m.step(state.Step{Name: "log in with hunter2", StateString: "hunter2", URLs: []state.URL{{Name: "hunter2", URL: "http://x/?hunter2"}}})
	if want := (state.Step{Name: "log in with <pw>", StateString: "<pw>", URLs: []state.URL{{Name: "<pw>", URL: "http://x/?<pw>"}}}); !reflect.DeepEqual(step, want) {
		t.Errorf("got %+v", step)
	}
	set := state.Properties{"a": {Value: []any{"x hunter2", map[string]any{"hunter2": "hunter2", "n": int64(1)}}, Source: "s"}}
	want := state.Properties{"a": {Value: []any{"x <pw>", map[string]any{"<pw>": "<pw>", "n": int64(1)}}, Source: "s", Secrets: []string{"pw"}}}
	if got := m.properties(set); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if set["a"].Value.([]any)[0] != "x hunter2" {
		t.Error("the property itself changed")
	}
	if b := m.build(state.Build{StateString: "hunter2", StopReason: "hunter2"}); b.StateString != "<pw>" || b.StopReason != "<pw>" {
		t.Errorf("got %+v", b)
	}
}

// What is kept of a property has the names of its secrets, so that it can be made whole; or
// not, and then it says nothing of them either.
func TestMaskProperty(t *testing.T) {
	secrets := map[string]string{
		"pw": "hunter2", "more": "hunter2 and more", "key": "-----BEGIN-----\nAAAABBBBCCCC\n-----END-----\n", "quoted": `a "b"`, "tiny": "ab",
	}
	var m mask
	for name, text := range secrets {
		m.add(name, text)
	}
	tests := []struct {
		value, kept any
		names       []string
	}{
		{"nothing", "nothing", nil},
		{int64(1), int64(1), nil},
		{"ab", "ab", nil},
		{"is hunter2!", "is <pw>!", []string{"pw"}},
		{"hunter2 and more hunter2", "<more> <pw>", []string{"more", "pw"}},
		{[]any{"x", map[string]any{"hunter2": true, "k": secrets["key"]}}, []any{"x", map[string]any{"<pw>": true, "k": "<key>"}}, []string{"key", "pw"}},
		{`a "b"`, "<quoted>", []string{"quoted"}},
		{`a \"b\"`, "<quoted>", nil}, // in another form
		{`hunter2 aHVudGVyMg==`, "<pw> <pw>", nil},
		{"hunter2 and not <pw>", "<pw> and not <pw>", nil}, // which cannot be told apart
	}
	for _, tt := range tests {
		p := state.Property{Value: tt.value, Source: "s"}
		got := m.property(p)
		if want := (state.Property{Value: tt.kept, Source: "s", Secrets: tt.names}); !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got %+v, want %+v", tt.value, got, want)
		}
		if again := m.property(got); len(tt.names) > 0 && !reflect.DeepEqual(again, got) {
			t.Errorf("%v: kept twice it is %+v", tt.value, again)
		}
		table := &Table{set: state.Properties{"p": got}, secret: func(_ context.Context, name string) (string, error) { return secrets[name], nil }}
		if err := table.reveal(t.Context()); err != nil {
			t.Fatal(err)
		}
		whole := state.Property{Value: tt.kept, Source: "s"}
		if len(tt.names) > 0 {
			whole = p
		}
		if got := table.All()["p"]; !reflect.DeepEqual(got, whole) {
			t.Errorf("%v: revealed it is %+v", tt.value, got)
		}
	}
	gone := &Table{set: state.Properties{"p": {Value: "<pw>", Secrets: []string{"pw"}}}, secret: func(context.Context, string) (string, error) { return "", errors.New("gone") }}
	if err := gone.reveal(t.Context()); err == nil || err.Error() != `property "p": gone` {
		t.Errorf("a secret that is gone: %v", err)
	}
}
