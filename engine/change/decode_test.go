package change

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

// everything is a change with each of its fields.
var everything = Input{
	Author: "a", Committer: "c", Comments: "m", Branch: "b", Revision: "r", Category: "k", RevLink: "l", When: 1500, Files: []string{"x", "y"},
	Properties: map[string]any{"p": int64(1), "q": []any{"s", nil}}, Repository: "repo", Project: "proj", Codebase: ptr("code"),
}

func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	v, err := parseJSON(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v.(map[string]any)
}

func TestDecode(t *testing.T) {
	tests := []struct {
		json string
		want Input
	}{
		{`{"author": "a"}`, Input{Author: "a"}},
		{`{"who": "a", "when": 2}`, Input{Author: "a", When: 2000}},
		{`{"author": "a", "who": null, "files": null, "properties": null, "codebase": null, "when_timestamp": null, "branch": null}`, Input{Author: "a"}},
		{`{"author": "a", "codebase": "", "files": [], "when_timestamp": 0}`, Input{Author: "a", Codebase: ptr(""), Files: []string{}}},
		{`{"author":"a","committer":"c","comments":"m","branch":"b","revision":"r","category":"k","revlink":"l","when_timestamp":1.5,"files":["x","y"],
			"properties":{"p":1,"q":["s",null]},"repository":"repo","project":"proj","codebase":"code"}`, everything},
	}
	for _, tt := range tests {
		got, err := Decode(fields(t, tt.json))
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", tt.json, err, diff)
		}
	}
}

func TestDecodeForm(t *testing.T) {
	form := url.Values{
		"author": {"a"}, "committer": {"c"}, "comments": {"m"}, "branch": {"b"}, "revision": {"r"}, "category": {"k"}, "revlink": {"l"}, "when_timestamp": {"1.5"},
		"files": {`["x","y"]`}, "properties": {`{"p":1,"q":["s",null]}`}, "repository": {"repo"}, "project": {"proj"}, "codebase": {"code"},
	}
	got, err := DecodeForm(form)
	if diff := cmp.Diff(everything, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	got, err = DecodeForm(url.Values{"who": {"a"}, "when": {""}, "files": {""}, "branch": {""}, "codebase": {""}, "revision": {"42"}})
	if diff := cmp.Diff(Input{Author: "a", Codebase: ptr(""), Revision: "42"}, got); diff != "" || err != nil {
		t.Errorf("empty fields: %v %s", err, diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		json string
		want []string
	}{
		{`{}`, []string{"author is missing"}},
		{`{"author": "a", "brnach": "b"}`, []string{`unknown field "brnach": did you mean "branch"?`}},
		{`{"author": "a", "xyzzy": 1}`, []string{`unknown field "xyzzy": there are author, branch`}},
		{`{"author": "a", "who": "b"}`, []string{"author and who are the same"}},
		{`{"author": 1, "branch": ["b"], "revision": 42}`, []string{"author: want a string, got int 1", "branch: want a string, got list", "revision: want a string, got int 42"}},
		{`{"author": "a", "files": "f"}`, []string{`files: want a list of strings, got string "f"`}},
		{`{"author": "a", "files": ["f", 3, 4]}`, []string{"files: item 2: want a string, got int 3"}},
		{`{"author": "a", "properties": [1]}`, []string{"properties: want values by name, got list"}},
		{`{"author": "a", "properties": {"": 1}}`, []string{"a name is empty"}},
		{`{"author": "a", "codebase": 1}`, []string{"codebase: want a string"}},
		{`{"author": "a", "when_timestamp": "now"}`, []string{`when_timestamp: want the seconds since 1970 as a number, got string "now"`}},
		{`{"author": "a", "when_timestamp": -1}`, []string{"got int -1"}},
		{`{"author": "a", "when": 1e300}`, []string{"when_timestamp"}},
		{`{"author": "a", "when": 9223372036854775807}`, []string{"when_timestamp"}},
		{`{"author": "a", "when": 1, "when_timestamp": 1}`, []string{"when_timestamp and when are the same"}},
	}
	for _, tt := range tests {
		_, err := Decode(fields(t, tt.json))
		refused(t, tt.json, err, tt.want)
	}
	forms := []struct {
		form string
		want []string
	}{
		{"author=a&author=b&files=%5B&properties=x", []string{"author: it is there 2 times", "files: want JSON", "properties: want JSON"}},
		{"author=a&files=%5B%5D+1", []string{"files: want JSON"}},
		{"author=a&when=soon", []string{`got string "soon"`}},
		{"author=a&when=NaN", []string{"when_timestamp"}},
		{"author=a&fils=", []string{`did you mean "files"?`}},
	}
	for _, tt := range forms {
		form, err := url.ParseQuery(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		_, err = DecodeForm(form)
		refused(t, tt.form, err, tt.want)
	}
}

func refused(t *testing.T, what string, err error, want []string) {
	t.Helper()
	var e *Invalid
	if !errors.As(err, &e) {
		e = &Invalid{}
	}
	if len(e.Problems) != len(want) {
		t.Errorf("%s: %v, want %q", what, err, want)
		return
	}
	for i := range want {
		if !strings.Contains(e.Problems[i], want[i]) {
			t.Errorf("%s: %v, want %q", what, e.Problems[i], want[i])
		}
	}
}

// What strangers send is refused or becomes a row that can be written.
func FuzzDecode(f *testing.F) {
	f.Add(`{"author":"a","files":["x"],"properties":{"p":1},"when":1.5}`, "author=a&files=[]&when=1e3")
	f.Add(`{"who":null,"author":{},"revision":"\u0000"}`, "author=%ff&files=%5B1%5D")
	f.Fuzz(func(t *testing.T, text, form string) {
		if v, err := parseJSON(text); err == nil {
			if m, ok := v.(map[string]any); ok {
				check(t, m)
			}
		}
		if values, err := url.ParseQuery(form); err == nil {
			if in, err := DecodeForm(values); err == nil {
				writable(t, in)
			}
		}
	})
}

func check(t *testing.T, m map[string]any) {
	in, err := Decode(m)
	var invalid *Invalid
	switch {
	case err == nil:
		writable(t, in)
	case !errors.As(err, &invalid):
		t.Errorf("%v: %v is no *Invalid", m, err)
	}
}

func writable(t *testing.T, in Input) {
	row := in.Row()
	var back state.Change
	if err := json.Unmarshal(row.AppendJSON(nil), &back); err != nil || back.Author != row.Author || back.When/1000 != row.When/1000 {
		t.Errorf("%+v is read back as %+v, %v", row, back, err)
	}
}
