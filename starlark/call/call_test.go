package call_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

// worker stands for a node: its template keeps the function under test.
type worker struct {
	Name string             `star:"name"`
	F    prop.Template[any] `star:"f,optional"`
}

func (w *worker) Make(c *spec.Call) any {
	kept[w.Name] = w.F
	return &config.Worker{At: config.At{Where: c.Pos()}, Name: w.Name, Local: true}
}

// kept are the functions of the last evaluation.
var kept = map[string]prop.Template[any]{}

type renderer struct {
	F    star.Callable     `star:"f"`
	Args []prop.Renderable `star:"*"`
}

func (r *renderer) Make(c *spec.Call) any {
	return c.Function(spec.Function{Callable: r.F, First: spec.FirstProps, Args: r.Args})
}

type transform struct {
	F      star.Callable              `star:"f"`
	Args   []prop.Renderable          `star:"*"`
	Kwargs map[string]prop.Renderable `star:"**"`
}

func (r *transform) Make(c *spec.Call) any {
	return c.Function(spec.Function{Callable: r.F, First: spec.FirstNothing, Args: r.Args, Kwargs: r.Kwargs})
}

type property struct {
	Name string `star:"name"`
}

func (p *property) Make(*spec.Call) any { return &prop.Property{Name: p.Name} }

var modules = []*spec.Module{
	{Name: "worker", Classes: []*spec.Class{{Module: "worker", Name: "W", New: func() any { return &worker{} }}}},
	{Name: "util", Classes: []*spec.Class{
		{Module: "util", Name: "renderer", New: func() any { return &renderer{} }},
		{Module: "util", Name: "Transform", New: func() any { return &transform{} }},
		{Module: "util", Name: "Property", New: func() any { return &property{} }},
	}},
}

// function evaluates text, which ends in the value of f.
func function(t testing.TB, text string) prop.Template[any] {
	t.Helper()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	last := len(lines) - 1
	lines[last] = "worker.W('w', f = " + lines[last] + ")"
	opts := starlark.Options{Modules: modules, Function: call.Renderable}
	input := []config.Input{{Path: "master.star", Data: []byte(strings.Join(lines, "\n") + "\nc = {}\n")}}
	_, _, err := starlark.Replay(t.Context(), input, nil, opts)
	var ps prop.Problems
	if !errors.As(err, &ps) {
		t.Fatal(err)
	}
	for _, p := range ps {
		if !strings.HasPrefix(p.Code, "no-") { // the graph is empty here
			t.Fatal(ps)
		}
	}
	return kept["w"]
}

func TestRender(t *testing.T) {
	props := &prop.Map{Values: map[string]any{"branch": "main", "n": int64(3), "list": []any{"a"}}}
	tests := []struct {
		text string
		want any
	}{
		{"lambda props: props.getProperty('branch')", "main"},
		{"lambda props: props.getProperty('none', 'other')", "other"},
		{"lambda props: props.getProperty('none')", nil},
		{"lambda props: [props['n'] + 1, 'n' in props, 'x' in props, props.hasProperty('n')]", []any{int64(4), true, false, true}},
		{"lambda props: props.render(['x', util.Property('branch')])", []any{"x", "main"}},
		{"lambda props: util.Property('branch')", "main"},
		{"lambda props: {'k': [util.Property('n')]}", map[string]any{"k": []any{int64(3)}}},
		{"lambda props: lambda props: props['n']", int64(3)},
		{"lambda props: dir(props)", []any{"getProperty", "hasProperty", "render"}},
		{"def f(p, a):\n    return a + p['branch']\nutil.renderer(f, 'on ')", "on main"},
		{"def f(a, b, c):\n    return a + b + c\nutil.Transform(f, 'x', util.Property('branch'), c = 'y')", "xmainy"},
		{"x = {'a': 1}\nlambda props: x['a']", int64(1)},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := function(t, tt.text).Render(t.Context(), props)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, tt.want)
			}
		})
	}
}

// Errors name the function, its place, where it failed and why.
func TestErrors(t *testing.T) {
	props := &prop.Map{Values: map[string]any{"list": []any{"a"}}}
	tests := []struct{ text, want string }{
		{"def inner():\n    return 1 + 'a'\ndef f(props):\n    return inner()\nf", "function f (master.star:3): master.star:2:14: unknown binary op: int + string"},
		{"lambda props: props['list'].append(1)", "function lambda (master.star:1): master.star:1:53: append: cannot append to frozen list"},
		{"l = []\nlambda props: l.append(1)", "append: cannot append to frozen list"},
		{"lambda props: props.nothing", "properties has no .nothing"},
		{"lambda props: props.getProperty()", "getProperty: name is missing"},
		{"lambda props: props.getProperty(1)", "getProperty: name: want string, got int 1"},
		{"lambda props: props.getProperty('a', 1, 2)", "at most 2 are possible"},
		{"lambda props: props.getProperty(nam = 'a')", "unknown argument"},
		{"lambda props: props[1]", "the name of a property is a string"},
		{"lambda props: props['missing']", `key "missing" not in properties`},
		{"lambda props: env('HOME')", "inputs can only be read while the file is loaded"},
		{"lambda props: read_file('x')", "inputs can only be read while the file is loaded"},
		{"lambda props: set([1])", "returned what is no value: want a value, got set"},
		{"lambda props: worker.W()", "name: required"},
		{"lambda props: worker.Nope", "there is no Nope in worker"},
		{"def f(props):\n    return f\nf", "functions returned functions 20 times"},
		{"def f(props):\n    while True: pass\nf", "it took more than 10000000 steps"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // the step limit comes first
			defer cancel()
			_, err := function(t, tt.text).Render(ctx, props)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestTraceback(t *testing.T) {
	_, err := function(t, "def inner():\n    fail('boom')\ndef f(props):\n    return inner()\nf").Render(t.Context(), &prop.Map{})
	var e *call.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	const want = "function f (master.star:3): fail: boom\n  at master.star:2:9\n  at master.star:4:17"
	if e.Traceback() != want {
		t.Errorf("got\n%s\nwant\n%s", e.Traceback(), want)
	}
}

// A function ends with its context, which says why.
func TestDeadline(t *testing.T) {
	// Each step takes long enough that the deadline comes before the limit of steps.
	f := function(t, "def f(props):\n    for i in range(1 << 30):\n        \"x\" * 1000000\nf")
	why := errors.New("the build was stopped")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, why)
	defer cancel()
	_, err := f.Render(ctx, &prop.Map{})
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// step is what doStepIf gets.
type step struct {
	*prop.Map
	printed []string
}

func (s *step) Arguments() []any         { return []any{int64(2), s} }
func (s *step) TypeName() string         { return "step" }
func (s *step) AttributeNames() []string { return []string{"name", "getProperty", "build"} }
func (s *step) Print(text string)        { s.printed = append(s.printed, text) }
func (s *step) Attribute(name string) (any, bool) {
	switch name {
	case "name":
		return "compile", true
	case "build":
		return s, true
	case "fail":
		return prop.Method(func(context.Context, []any, map[string]any) (any, error) { return nil, errors.New("it failed") }), true
	}
	m, ok := prop.PropertyMethod(s.Map, name)
	return m, ok
}

// A bare function gets the arguments of its place, a renderer the properties.
func TestArguments(t *testing.T) {
	s := &step{Map: &prop.Map{Values: map[string]any{"x": "ex"}}}
	for text, want := range map[string]any{
		"lambda results, step: [results, step.name, step.build.getProperty('x', default = 1), step.hasProperty(name = 'y')]": []any{int64(2), "compile", "ex", false},
		"util.renderer(lambda props: props['x'])": "ex",
		"lambda r, step: print('said', step)":     nil,
	} {
		got, err := function(t, text).Render(t.Context(), s)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v; want %#v", text, got, err, want)
		}
	}
	if len(s.printed) != 1 || s.printed[0] != "said <step>" {
		t.Errorf("printed %q", s.printed)
	}
	for text, want := range map[string]string{
		"lambda r, step: step['x']":          "a step has no items",
		"lambda r, step: step.nam":           "did you mean .name?",
		"lambda r, step: step.fail()":        "it failed",
		"lambda r, step: {step: 1}":          "unhashable: step",
		"lambda r, step: [step]":             "no value",
		"lambda r, step: step.build(1)":      "invalid call",
		"lambda r, step: step.fail(set([]))": "argument 1: want a value, got set",
	} {
		if _, err := function(t, text).Render(t.Context(), s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// Functions of one configuration run in many goroutines at once.
func TestConcurrent(t *testing.T) {
	f := function(t, "n = [1, 2, 3]\ndef g(x):\n    return [x * i for i in n]\nlambda props: g(props['i']) + [util.Property('i')]")
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for range 50 {
				got, err := f.Render(context.Background(), &prop.Map{Values: map[string]any{"i": int64(i)}})
				want := []any{int64(i), int64(2 * i), int64(3 * i), int64(i)}
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got %v, %v; want %v", got, err, want)
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkRender(b *testing.B) {
	f := function(b, "lambda props: 'make -j%d %s' % (props['n'], props.getProperty('target'))")
	props := &prop.Map{Values: map[string]any{"n": int64(4), "target": "all"}}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Render(ctx, props); err != nil {
			b.Fatal(err)
		}
	}
}

// gallery gives a function a list of objects.
type gallery struct {
	*prop.Map
	list []any
}

func (g gallery) Arguments() []any { return []any{g.list} }

// A function may get objects in a list, and return one of them as it came.
func TestObjects(t *testing.T) {
	a, b := &step{Map: &prop.Map{}}, &step{Map: &prop.Map{}}
	g := gallery{&prop.Map{}, []any{a, b}}
	for text, want := range map[string]any{
		"lambda steps: steps[1]":                   b,
		"lambda steps: [s.name for s in steps][0]": "compile",
		"lambda steps: len(steps)":                 int64(2),
		"lambda steps: steps[0].build":             a,
	} {
		if got, err := function(t, text).Render(t.Context(), g); err != nil || got != want {
			t.Errorf("%s: got %#v, %v; want %#v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"lambda steps: steps":           "returned what is no value",
		"lambda steps: steps.append(1)": "cannot append to frozen list",
	} {
		if got, err := function(t, text).Render(t.Context(), g); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %#v, %v; want %s", text, got, err, want)
		}
	}
	bare, ok := function(t, "lambda steps: 1").Renderable().(prop.Callback)
	rendered, ok2 := function(t, "util.renderer(lambda props: 1)").Renderable().(prop.Callback)
	if !ok || !ok2 || !bare.TakesPlace() || rendered.TakesPlace() {
		t.Error("a bare function is not told from util.renderer")
	}
}
