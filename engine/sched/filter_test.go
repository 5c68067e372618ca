package sched

import (
	"context"
	"errors"
	"testing"

	"buildstar/config/prop"
	"buildstar/state"
)

func ptr(s string) *string { return &s }

func pattern(t *testing.T, text string) []Pattern {
	t.Helper()
	p, err := NewPattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return []Pattern{p}
}

func TestFilterTests(t *testing.T) {
	main := state.Change{Branch: ptr("main"), Project: "p", Properties: state.Properties{"n": {Value: int64(3)}, "s": {Value: "text"}}}
	trunk := state.Change{Category: ptr("")} // on the default branch
	re := func(s string) []Pattern { return pattern(t, s) }
	tests := []struct {
		name        string
		test        Test
		main, trunk bool
	}{
		{"is", Test{Field: "branch", How: Is, Values: []any{"main", "x"}}, true, false},
		{"is None", Test{Field: "branch", How: Is, Values: []any{nil}}, false, true},
		{"is None or a name", Test{Field: "branch", How: Is, Values: []any{nil, "main"}}, true, true},
		{"is nothing", Test{Field: "branch", How: Is}, false, false},
		{"is the empty text", Test{Field: "category", How: Is, Values: []any{""}}, false, true},
		{"is not", Test{Field: "branch", How: IsNot, Values: []any{"main"}}, false, true},
		{"is not None", Test{Field: "branch", How: IsNot, Values: []any{nil}}, true, false},
		{"matches at the beginning", Test{Field: "branch", How: Matches, Patterns: re("ma")}, true, false},
		{"matches at the beginning only", Test{Field: "branch", How: Matches, Patterns: re("ain")}, false, false},
		{"matches one of two", Test{Field: "branch", How: Matches, Patterns: append(re("x"), re("m")...)}, true, false},
		{"an alternative at the beginning only", Test{Field: "branch", How: Matches, Patterns: re("x|ain")}, false, false},
		{"None matches nothing", Test{Field: "branch", How: Matches, Patterns: re("")}, true, false},
		{"matches not", Test{Field: "branch", How: MatchesNot, Patterns: re("ma")}, false, true},
		{"the empty project", Test{Field: "project", How: Matches, Patterns: re("$")}, false, true},
		{"a property", Test{Property: "s", How: Is, Values: []any{"text"}}, true, false},
		{"a property of another type", Test{Property: "n", How: Is, Values: []any{"3"}}, false, false},
		{"a number", Test{Property: "n", How: Is, Values: []any{int64(3)}}, true, false},
		{"a property that is not set", Test{Property: "s", How: Is, Values: []any{""}}, false, true},
		{"a property that is not another", Test{Property: "s", How: IsNot, Values: []any{"text"}}, false, true},
		{"a property that matches", Test{Property: "n", How: Matches, Patterns: re("[0-9]$")}, true, false},
		{"a property that matches not", Test{Property: "s", How: MatchesNot, Patterns: re("t")}, false, true},
	}
	for _, tt := range tests {
		f := &Filter{Tests: []Test{tt.test}}
		for c, want := range map[*state.Change]bool{&main: tt.main, &trunk: tt.trunk} {
			if got, err := f.Match(t.Context(), c); got != want || err != nil {
				t.Errorf("%s: branch %v: got %v, %v", tt.name, textOrNil(c.Branch), got, err)
			}
		}
	}
	both := &Filter{Tests: []Test{tests[0].test, {Field: "project", How: Is, Values: []any{"q"}}}}
	if got, err := both.Match(t.Context(), &main); got || err != nil {
		t.Errorf("one test of two holds: %v, %v", got, err)
	}
	if got, err := (*Filter)(nil).Match(t.Context(), &main); !got || err != nil {
		t.Errorf("no filter: %v, %v", got, err)
	}
}

// function is a user's function.
type function struct {
	called *[]any
	result any
	err    error
}

func (f function) Render(_ context.Context, p prop.Props) (any, error) {
	*f.called = append(*f.called, p.(prop.Arguments).Arguments()...)
	return f.result, f.err
}
func (f function) AppendCanonical(dst []byte) []byte { return append(dst, 'f') }

func (f function) template(t *testing.T) (out prop.Template[bool]) {
	t.Helper()
	if err := out.Set(f); err != nil {
		t.Fatal(err)
	}
	return out
}

// Functions come after what is decided without them, and get the value.
func TestFilterFunctions(t *testing.T) {
	var called []any
	c := &state.Change{ID: 7, Author: "a", Branch: ptr("main"), Files: []string{"f"}, Properties: state.Properties{"p": {Value: "v"}}}
	yes, no := function{&called, true, nil}, function{&called, false, nil}
	f := &Filter{Tests: []Test{
		{Field: "category", How: Function, Fn: yes.template(t)},
		{Field: "branch", How: Function, Fn: yes.template(t)},
		{Field: "project", How: Is, Values: []any{""}},
	}, Fn: yes.template(t)}
	if ok, err := f.Match(t.Context(), c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if len(called) != 3 || called[0] != nil || called[1] != "main" {
		t.Fatalf("called with %v", called)
	}
	change := called[2].(prop.Attributes)
	for name, want := range map[string]any{"who": "a", "author": "a", "branch": "main", "number": int64(7), "revision": nil, "category": nil} {
		if got, ok := change.Attribute(name); !ok || got != want {
			t.Errorf("change.%s = %v, %v", name, got, ok)
		}
	}
	for _, name := range change.AttributeNames() {
		if _, ok := change.Attribute(name); !ok {
			t.Errorf("there is no change.%s", name)
		}
	}
	properties, _ := change.Attribute("properties")
	get, _ := properties.(prop.Attributes).Attribute("getProperty")
	if v, err := get.(prop.Method)(t.Context(), []any{"p"}, nil); v != "v" || err != nil {
		t.Errorf("change.properties.getProperty: %v, %v", v, err)
	}

	called = nil
	f.Tests[2].Values = []any{"other"}
	if ok, err := f.Match(t.Context(), c); ok || err != nil || called != nil {
		t.Errorf("a test fails: %v, %v, called %v", ok, err, called)
	}
	f.Tests = f.Tests[:1]
	f.Fn = no.template(t)
	if ok, err := f.Match(t.Context(), c); ok || err != nil {
		t.Errorf("filter_fn says no: %v, %v", ok, err)
	}
	f.Fn = function{&called, nil, errors.New("boom")}.template(t)
	if ok, err := f.Match(t.Context(), c); ok || err == nil || err.Error() != "call filter_fn: boom" {
		t.Errorf("filter_fn fails: %v, %v", ok, err)
	}
}
