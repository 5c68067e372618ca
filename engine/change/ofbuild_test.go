package change

import (
	"fmt"
	"testing"

	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

// stampsAt returns stamps by codebase, from pairs of codebase and id.
func stampsAt(pairs ...any) (all []state.SourceStamp) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, state.SourceStamp{Codebase: pairs[i].(string), ID: int64(pairs[i+1].(int))})
	}
	return all
}

func TestSpans(t *testing.T) {
	// Stamp n has change n, but for those from 100.
	newest := map[int64]state.Change{}
	for id := range int64(20) {
		newest[id] = state.Change{ID: id}
	}
	tests := []struct {
		name         string
		mine, before []state.SourceStamp
		want         string // newest and after, of each span
	}{
		{"never built", stampsAt("", 5), nil, "5>0 "},
		{"some since", stampsAt("", 5), stampsAt("", 3), "5>3 "},
		{"the same again", stampsAt("", 5), stampsAt("", 5), ""},
		{"an older one again", stampsAt("", 5), stampsAt("", 9), "5>4 "},
		{"forced, without a change", stampsAt("", 100), stampsAt("", 5), ""},
		{"forced before", stampsAt("", 5), stampsAt("", 100), "5>0 "},
		{"two codebases", stampsAt("a", 5, "b", 6), stampsAt("b", 4, "a", 5), "6>4 "},
		{"two codebases, both new", stampsAt("a", 5, "b", 6), stampsAt("b", 4, "a", 2), "5>2 6>4 "},
		{"nothing", nil, nil, ""},
	}
	for _, tt := range tests {
		got := ""
		for _, s := range spans(tt.mine, tt.before, newest) {
			got += fmt.Sprintf("%d>%d ", s.newest.ID, s.after)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSources(t *testing.T) {
	a := state.SourceStamp{Codebase: "a", Repository: "r", Branch: ptr("main"), Revision: ptr("1")}
	b := state.SourceStamp{Codebase: "b", Repository: "r"}
	other := a
	other.Revision, other.ID = ptr("2"), 7
	if diff := cmp.Diff(sources([]state.SourceStamp{a, b}), sources([]state.SourceStamp{b, other}), cmp.AllowUnexported(source{})); diff != "" {
		t.Errorf("order and revision count: %s", diff)
	}
	for _, differs := range []func(*state.SourceStamp){
		func(s *state.SourceStamp) { s.Branch = ptr("") }, func(s *state.SourceStamp) { s.Repository = "x" }, func(s *state.SourceStamp) { s.Codebase = "x" },
	} {
		s := b
		differs(&s)
		if cmp.Equal(sources([]state.SourceStamp{b}), sources([]state.SourceStamp{s}), cmp.AllowUnexported(source{})) {
			t.Errorf("%+v is of the same source as %+v", s, b)
		}
	}
}
