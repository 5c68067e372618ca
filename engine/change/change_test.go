package change

import (
	"errors"
	"strings"
	"testing"

	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

func ptr(s string) *string { return &s }

func TestCheck(t *testing.T) {
	tests := []struct {
		in   Input
		want []string // parts of the problems
	}{
		{Input{Author: "a"}, nil},
		{Input{Author: "a", When: maxWhen, Properties: map[string]any{"p": nil}}, nil},
		{Input{}, []string{"author is missing"}},
		{Input{Author: " \n", When: -1000, Properties: map[string]any{"": 1}}, []string{"author", "-1 is not", "a name is empty"}},
		{Input{Author: "a", When: maxWhen + 1}, []string{"when_timestamp"}},
	}
	for _, tt := range tests {
		var e *Invalid
		err := tt.in.Check()
		if !errors.As(err, &e) {
			e = &Invalid{}
		}
		if len(e.Problems) != len(tt.want) || (err == nil) != (len(tt.want) == 0) {
			t.Errorf("%+v: %v, want %v", tt.in, err, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(e.Problems[i], want) {
				t.Errorf("%+v: %v, want %q", tt.in, err, want)
			}
		}
	}
}

func TestRow(t *testing.T) {
	if diff := cmp.Diff(state.Change{Author: "a"}, Input{Author: "a"}.Row()); diff != "" {
		t.Error(diff)
	}
	files := []string{"f", "\xff"}
	got := Input{
		Author: "a\xff", Committer: "c", Comments: "m", Branch: "b", Revision: "r", Category: "k", RevLink: "l", When: 5, Files: files,
		Properties: map[string]any{"p": int64(1)}, Repository: "repo", Project: "proj", Codebase: ptr("code"),
	}.Row()
	want := state.Change{
		Author: "a\ufffd", Committer: ptr("c"), Comments: "m", Branch: ptr("b"), Revision: ptr("r"), Category: ptr("k"), RevLink: ptr("l"), When: 5,
		Files: []string{"f", "\ufffd"}, Properties: state.Properties{"p": {Value: int64(1), Source: "Change"}}, Repository: "repo", Project: "proj", Codebase: "code",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if files[1] != "\xff" {
		t.Error("Row wrote into the files it was given")
	}
}

func TestDict(t *testing.T) {
	want := map[string]any{
		"author": "a", "committer": nil, "comments": "", "files": []any{}, "revision": nil, "when_timestamp": nil, "branch": nil, "category": nil,
		"revlink": "", "properties": map[string]any{}, "repository": "", "project": "",
	}
	if diff := cmp.Diff(want, Input{Author: "a", Codebase: ptr("x")}.Dict()); diff != "" {
		t.Error(diff)
	}
	want = map[string]any{
		"author": "a", "committer": "c", "comments": "m", "files": []any{"f"}, "revision": "r", "when_timestamp": int64(5), "branch": "b", "category": "k",
		"revlink": "l", "properties": map[string]any{"p": true}, "repository": "repo", "project": "proj",
	}
	if diff := cmp.Diff(want, Input{
		Author: "a", Committer: "c", Comments: "m", Branch: "b", Revision: "r", Category: "k", RevLink: "l", When: 5999, Files: []string{"f"},
		Properties: map[string]any{"p": true}, Repository: "repo", Project: "proj",
	}.Dict()); diff != "" {
		t.Error(diff)
	}
}
