package util

import (
	"strings"
	"testing"

	"buildstar/engine/sched"
	"buildstar/state"
)

// Each argument lets one of two changes through.
func TestChangeFilterArguments(t *testing.T) {
	yes := state.Change{Project: "yes", Repository: "yes", Branch: str("yes"), Category: str("yes"), Codebase: "yes",
		Files: []string{"f"}, Properties: state.Properties{"p": {Value: "yes"}}}
	no := state.Change{Project: "no", Repository: "no", Branch: str("no"), Category: str("no"), Codebase: "no",
		Properties: state.Properties{"p": {Value: "no"}}}
	args := []string{
		`filter_fn=lambda change: change.files == ["f"]`, `filter_fn=lambda change: change.properties.getProperty("p") == "yes"`,
		`property_eq={"p": "yes"}`, `property_eq={"p": ["x", "yes"]}`, `property_not_eq={"p": "no"}`,
		`property_re={"p": "y"}`, `property_not_re={"p": ["x", "n"]}`,
	}
	for _, field := range []string{"project", "repository", "branch", "category", "codebase"} {
		for _, arg := range []string{
			`X="yes"`, `X=["x", "yes"]`, `X_not_eq="no"`, `X_not_eq=["x", "no"]`, `X_re="ye?"`, `X_re=["x", "y"]`,
			`X_not_re="n"`, `X_not_re=["x", "n"]`, `X_fn=lambda value: value == "yes"`,
		} {
			args = append(args, strings.Replace(arg, "X", field, 1))
		}
	}
	for _, arg := range args {
		f := value[*sched.Filter](t, "x = util.ChangeFilter("+arg+")")
		for c, want := range map[*state.Change]bool{&yes: true, &no: false} {
			if got, err := f.Match(t.Context(), c); got != want || err != nil {
				t.Errorf("%s of %s: %v, %v", arg, c.Project, got, err)
			}
		}
	}
}

// None is the default branch, and for other fields as if it was not there.
func TestChangeFilterNone(t *testing.T) {
	on, off := &state.Change{Branch: str("main")}, &state.Change{}
	for arg, want := range map[string][2]bool{
		`branch=None`:           {false, true},
		`branch=["main", None]`: {true, true},
		`branch_not_eq=None`:    {true, false},
		`branch_re="m"`:         {true, false},
		`branch_not_re="m"`:     {false, true},
		`project=None, category=None, branch_re=None, filter_fn=None, property_eq=None`: {true, true},
		`branch_fn=lambda b: b == None`: {false, true},
		``:                              {true, true},
	} {
		f := value[*sched.Filter](t, "x = util.ChangeFilter("+arg+")")
		for i, c := range []*state.Change{on, off} {
			if got, err := f.Match(t.Context(), c); got != want[i] || err != nil {
				t.Errorf("%s: %v, %v", arg, got, err)
			}
		}
	}
}
