package util

import (
	"reflect"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

// echo is a step for these tests.
type echo struct {
	config.At
	Text string `star:"text"`
}

func (*echo) Type() string { return "Echo" }

var steps = &spec.Module{Name: "steps", Classes: []*spec.Class{{Module: "steps", Name: "Echo", New: func() any { return &echo{} }}}}

// eval runs a file and returns its globals.
func eval(t *testing.T, src string) (star.StringDict, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true, Function: call.Renderable}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", src,
		star.StringDict{"util": Module.Value(env), "steps": steps.Value(env)})
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	g.Freeze()
	env.Seal()
	return g, env.Problems()
}

// value evaluates a file and returns the Go value of its variable x.
func value[T any](t *testing.T, src string) T {
	t.Helper()
	g, ps := eval(t, src)
	if ps != nil {
		t.Fatalf("%s: %v", src, ps)
	}
	v, ok := g["x"].(*spec.Object).Value.(T)
	if !ok {
		t.Fatalf("%s: x is a %T", src, g["x"].(*spec.Object).Value)
	}
	return v
}

func str(s string) *string { return &s }

// sample is what the tests of this package render with.
var sample = &prop.Map{
	Values: map[string]any{"branch": "main", "zero": int64(0), "jobs": int64(4), "list": []any{"a", []any{"b"}}},
	Stamps: map[string]prop.SourceStamp{"": {Branch: str("dev")}},
	Facts:  map[string]any{"os_id": "debian"},
	URL:    "http://ci/1",
}

// rendered evaluates an expression and renders it.
func renderedValue(t *testing.T, src string) any {
	t.Helper()
	v, err := value[prop.Renderable](t, src).Render(t.Context(), sample)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return v
}

// A badCall is a call and the one problem that it has.
type badCall struct{ src, code, param, text string }

func testProblems(t *testing.T, tests []badCall) {
	t.Helper()
	for _, tt := range tests {
		_, ps := eval(t, tt.src)
		if len(ps) != 1 || ps[0].Code != tt.code || ps[0].Param != tt.param || !strings.Contains(ps[0].Text+" "+ps[0].Hint, tt.text) {
			t.Errorf("%s: got %+v", tt.src, ps)
		}
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}
