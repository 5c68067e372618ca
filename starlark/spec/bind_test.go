package spec_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

type base struct {
	Where prop.Pos `star:"-"`
	Extra string   `star:"extra,optional"`
}

type thing struct{ name string }

type makeThing struct {
	Name string `star:"name"`
}

func (m *makeThing) Make(*spec.Call) any { return &thing{m.Name} }

type property struct {
	Name string `star:"name"`
}

func (p *property) Make(*spec.Call) any { return &prop.Property{Name: p.Name} }

// words is a string or a list of strings.
type words []string

func (w *words) TypeName() string { return "string or list of strings" }

func (w *words) FromValue(v any) error {
	if s, ok := v.(string); ok {
		*w = words{s}
		return nil
	}
	l, err := prop.Convert[[]string](v)
	if err != nil {
		return fmt.Errorf("want %s, got %s", w.TypeName(), prop.Describe(v))
	}
	*w = l
	return nil
}

type all struct {
	base   `star:",kw"`
	S      string                  `star:"s,optional"`
	I      int                     `star:"i,optional" min:"1" max:"10"`
	I64    int64                   `star:"i64,optional"`
	B      bool                    `star:"b,optional"`
	F      float64                 `star:"f,optional"`
	D      time.Duration           `star:"d,optional" min:"0"`
	DP     *time.Duration          `star:"dp,optional"`
	P      *int                    `star:"p,optional" min:"0"`
	L      []string                `star:"l,optional"`
	LL     [][]int                 `star:"ll,optional"`
	M      map[string]int          `star:"m,optional"`
	A      any                     `star:"a,optional"`
	T      prop.Template[string]   `star:"t,optional"`
	TL     prop.Template[[]string] `star:"tl,optional"`
	TP     prop.Template[*int64]   `star:"tp,optional"`
	TA     prop.Template[any]      `star:"ta,optional"`
	R      prop.Renderable         `star:"r,optional"`
	W      words                   `star:"w,optional"`
	Thing  *thing                  `star:"thing,optional"`
	Things []*thing                `star:"things,optional"`
	V      star.Value              `star:"v,optional"`
	C      star.Callable           `star:"c,optional"`
	One    string                  `star:"one,optional" oneof:"a|b|"`
	Dict   *star.Dict              `star:"dict,optional"`
}

var last *all // what the last call bound

func (a *all) Make(*spec.Call) any { last = a; return a }

type rest struct {
	Format string                     `star:"format"`
	Args   []prop.Renderable          `star:"*"`
	Kwargs map[string]prop.Renderable `star:"**"`
}

var lastRest *rest

func (r *rest) Make(c *spec.Call) any {
	lastRest = r
	if strings.Contains(r.Format, "!") {
		c.Problem("bad-value", "format", "there is a !", "drop it")
	}
	return nil
}

// turned had its arguments in another order once: a, v, b.
type turned struct {
	A string `star:"a"`
	B string `star:"b,optional"`
	V *thing `star:"v,optional"`
}

var module = &spec.Module{
	Name: "m",
	Classes: []*spec.Class{
		{Module: "m", Name: "All", New: func() any { return &all{D: 90 * time.Second, I: 3, T: prop.Of("dflt")} },
			Unsupported: map[string]string{"later": "wait"}},
		{Module: "m", Name: "Thing", New: func() any { return &makeThing{} }},
		{Module: "m", Name: "Property", New: func() any { return &property{} },
			Binary: func(op string, x, y prop.Renderable) (prop.Renderable, error) { return prop.Operate(op, x, y) }},
		{Module: "m", Name: "Rest", New: func() any { return &rest{} }},
		{Module: "m", Name: "Turned", New: func() any { return &turned{} }, Former: &spec.Former{Names: []string{"a", "v", "b"}, Mark: "v", Class: "m.Thing"}},
	},
	Values:      map[string]star.Value{"ONE": star.MakeInt(1)},
	Unsupported: map[string]string{"Later": "wait"},
}

// eval evaluates an expression; collect is how master.star is evaluated.
func eval(t testing.TB, expr string, collect bool) (star.Value, *spec.Env, error) {
	t.Helper()
	last, lastRest = nil, nil
	env := &spec.Env{Collect: collect, Function: func(f spec.Function) prop.Renderable {
		return &prop.Property{Name: "function " + f.Callable.Name()}
	}}
	thread := &star.Thread{}
	env.Attach(thread)
	v, err := star.EvalOptions(&syntax.FileOptions{Set: true}, thread, "x.star", expr, star.StringDict{"m": module.Value(env)})
	return v, env, err
}

func text(ps prop.Problems) string {
	var lines []string
	for _, p := range ps {
		lines = append(lines, fmt.Sprintf("%s: %s [%s] %s", p.Param, p.Text, p.Code, p.Hint))
	}
	return strings.Join(lines, "\n")
}

func ptr[T any](v T) *T { return &v }

// Each type takes what it should, and says what it wants of other values.
func TestBindTypes(t *testing.T) {
	tests := []struct {
		arg  string
		want any    // the field's value
		err  string // or the problem
	}{
		{`s = "x"`, "x", ""},
		{`s = 3`, nil, "s: want string, got int 3 [wrong-type] "},
		{`s = None`, "", ""},
		{`i = 10`, 10, ""},
		{`i = None`, 3, ""},
		{`i = 11`, nil, "i: want at most 10, got 11 [bad-value] "},
		{`i = 0`, nil, "i: want at least 1, got 0 [bad-value] "},
		{`i = True`, nil, "i: want int, got bool True [wrong-type] "},
		{`i64 = -9223372036854775808`, int64(-9223372036854775808), ""},
		{`i64 = 9223372036854775808`, nil, "i64: 9223372036854775808 is too big: the largest int is 9223372036854775807 [bad-value] "},
		{`b = True`, true, ""},
		{`b = 1`, nil, "b: want bool, got int 1 [wrong-type] "},
		{`f = 1`, 1.0, ""},
		{`f = 1.5`, 1.5, ""},
		{`f = "1"`, nil, `f: want number, got string "1" [wrong-type] `},
		{`d = 60`, time.Minute, ""},
		{`d = 1.5`, 1500 * time.Millisecond, ""},
		{`d = "1h30m"`, 90 * time.Minute, ""},
		{`d = "soon"`, nil, `d: want a duration, got string "soon" [bad-value] write seconds as a number, or a string such as "90s", "10m" or "1h30m"`},
		{`d = -1`, nil, "d: want at least 0, got -1 [bad-value] "},
		{`d = "-5m"`, nil, `d: want at least 0, got "-5m" [bad-value] `},
		{`d = 1e300`, nil, "d: 1e+300 is no possible number of seconds [bad-value] "},
		{`d = None`, 90 * time.Second, ""},
		{`dp = None`, (*time.Duration)(nil), ""},
		{`dp = 3`, ptr(3 * time.Second), ""},
		{`p = 3`, ptr(3), ""},
		{`p = None`, (*int)(nil), ""},
		{`p = -1`, nil, "p: want at least 0, got -1 [bad-value] "},
		{`p = "x"`, nil, `p: want int or None, got string "x" [wrong-type] `},
		{`l = ["a", "b"]`, []string{"a", "b"}, ""},
		{`l = ("a",)`, []string{"a"}, ""},
		{`l = "a"`, nil, `l: want list of strings, got string "a" [wrong-type] put [ ] around it`},
		{`l = ["a", 1, None]`, nil, "l: item 2: want string, got int 1 [wrong-type] \nl: item 3: want string, got None [wrong-type] "},
		{`ll = [[1], [2, "x"]]`, nil, `ll: item 2: item 2: want int, got string "x" [wrong-type] `},
		{`m = {"a": 1}`, map[string]int{"a": 1}, ""},
		{`m = {"a": "b", 1: 2}`, nil, "m: \"a\": want int, got string \"b\" [wrong-type] \nm: want string keys, got int 1 [wrong-type] "},
		{`m = [1]`, nil, "m: want dict of ints, got list [wrong-type] "},
		{`a = [1, 2.5, None, {"k": (True,)}]`, []any{int64(1), 2.5, nil, map[string]any{"k": []any{true}}}, ""},
		{`a = None`, nil, ""},
		{`a = m.Thing("x")`, nil, `a: want a value, got m.Thing("x") [wrong-type] `},
		{`a = m.Property("x")`, nil, `a: want a plain value, got m.Property("x") [wrong-type] this is needed before there is a build, so it cannot depend on properties`},
		{`a = len`, nil, "a: want a plain value, got builtin_function_or_method [wrong-type] "},
		{`a = float("nan")`, nil, "a: nan is no number that can be stored [bad-value] "},
		{`a = b"x"`, nil, "a: want a value, got bytes [wrong-type] use a string"},
		{`w = "x"`, words{"x"}, ""},
		{`w = ["x", "y"]`, words{"x", "y"}, ""},
		{`w = 3`, nil, "w: want string or list of strings, got int 3 [wrong-type] "},
		{`w = None`, words(nil), ""},
		{`thing = m.Thing("x")`, &thing{"x"}, ""},
		{`thing = None`, (*thing)(nil), ""},
		{`thing = m.Thing`, nil, "thing: want a thing, got the class m.Thing [wrong-type] call it: m.Thing(...)"},
		{`thing = 3`, nil, "thing: want a thing, got int 3 [wrong-type] "},
		{`things = [m.Thing("x"), m.Thing("y")]`, []*thing{{"x"}, {"y"}}, ""},
		{`things = [None, 3]`, nil, "things: item 1: want a thing, got None [wrong-type] \nthings: item 2: want a thing, got int 3 [wrong-type] "},
		{`v = 3`, star.MakeInt(3), ""},
		{`c = len`, star.Universe["len"], ""},
		{`c = 3`, nil, "c: want function, got int 3 [wrong-type] "},
		{`one = "b"`, "b", ""},
		{`one = "c"`, nil, `one: want a, b or "", got "c" [bad-value] `},
		{`dict = []`, nil, "dict: want dict, got list [wrong-type] "},
		{`extra = "e"`, "e", ""},
		{`later = 3`, nil, "later: not supported yet [not-supported] wait"},
		{`exrta = 3`, nil, `exrta: no such parameter [unknown-parameter] did you mean "extra"?`},
		{`qqqqqq = 3`, nil, `qqqqqq: no such parameter [unknown-parameter] `},
	}
	for _, tt := range tests {
		t.Run(tt.arg, func(t *testing.T) {
			v, env, err := eval(t, "m.All("+tt.arg+")", true)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(env.Problems()); got != tt.err {
				t.Fatalf("problems:\n%s\nwant:\n%s", got, tt.err)
			}
			if _, placeholder := v.(*spec.Placeholder); placeholder != (tt.err != "") {
				t.Fatalf("the value is a %T", v)
			}
			if tt.err != "" {
				return
			}
			name, _, _ := strings.Cut(tt.arg, " ")
			if got := field(last, name); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

// field returns the field with a tag.
func field(a *all, name string) any {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(*a)) {
		if tag, _, _ := strings.Cut(f.Tag.Get("star"), ","); tag == name {
			return reflect.ValueOf(*a).FieldByIndex(f.Index).Interface()
		}
	}
	return errors.New("no such field")
}

// Templates take plain values, renderables, functions and containers of them.
func TestBindTemplates(t *testing.T) {
	props := &prop.Map{Values: map[string]any{"x": "ex", "function len": "f"}}
	tests := []struct {
		arg  string
		want any
		err  string
	}{
		{`t = "x"`, "x", ""},
		{`t = None`, "dflt", ""},
		{`t = m.Property("x")`, "ex", ""},
		{`t = m.Property("x") + "y"`, "exy", ""},
		{`t = "y" + m.Property("x")`, "yex", ""},
		{`t = len`, "f", ""},
		{`t = 3`, nil, "t: want string, got int 3 [wrong-type] "},
		{`t = m.Thing("x")`, nil, `t: want a value, got m.Thing("x") [wrong-type] `},
		{`t = m.Property`, nil, "t: want a value, got the class m.Property [wrong-type] call it: m.Property(...)"},
		{`tl = ["a", m.Property("x")]`, []string{"a", "ex"}, ""},
		{`tl = [m.Property("x"), "a"]`, []string{"ex", "a"}, ""},
		{`tl = [1]`, nil, "tl: item 1: want string, got int 1 [wrong-type] "},
		{`tp = None`, (*int64)(nil), ""},
		{`tp = 3`, ptr(int64(3)), ""},
		{`ta = {"k": m.Property("x"), m.Property("x"): 1, "a": [len]}`, map[string]any{"k": "ex", "ex": int64(1), "a": []any{"f"}}, ""},
		{`ta = None`, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.arg, func(t *testing.T) {
			_, env, err := eval(t, "m.All("+tt.arg+")", true)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(env.Problems()); got != tt.err || tt.err != "" {
				if got != tt.err {
					t.Errorf("problems:\n%s\nwant:\n%s", got, tt.err)
				}
				return
			}
			var got any
			switch name, _, _ := strings.Cut(tt.arg, " "); name {
			case "t":
				got, err = last.T.Render(context.Background(), props)
			case "tl":
				got, err = last.TL.Render(context.Background(), props)
			case "tp":
				got, err = last.TP.Render(context.Background(), props)
			case "ta":
				got, err = last.TA.Render(context.Background(), props)
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, %v; want %#v", got, err, tt.want)
			}
		})
	}
}

func TestPositions(t *testing.T) {
	v, env, err := eval(t, "m.All(\n  'x', 4)", true)
	if err != nil || len(env.Problems()) > 0 {
		t.Fatal(err, env.Problems())
	}
	if last.S != "x" || last.I != 4 {
		t.Errorf("by position: %q %d", last.S, last.I)
	}
	want := prop.Pos{File: "x.star", Line: 1, Col: 6}
	if last.Where != want || v.(*spec.Object).Pos() != want {
		t.Errorf("places: %v, %v", last.Where, v.(*spec.Object).Pos())
	}
}

func TestFormer(t *testing.T) {
	for src, want := range map[string]string{
		`m.Turned("x", "y", m.Thing("t"))`: "x y t", `m.Turned("x", b = "y", v = m.Thing("t"))`: "x y t", `m.Turned("x")`: "x  ",
		`m.Turned("x", m.Thing("t"), "y")`: "x y t", `m.Turned("x", m.Thing("t"), b = "y")`: "x y t", `m.Turned("x", m.Thing("t"))`: "x  t",
	} {
		v, _, err := eval(t, src, false)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		got := v.(*spec.Object).Value.(*turned)
		name := ""
		if got.V != nil {
			name = got.V.name
		}
		if s := got.A + " " + got.B + " " + name; s != want {
			t.Errorf("%s: %s, want %s", src, s, want)
		}
	}
	for src, want := range map[string]string{
		`m.Turned("x", m.Thing("t"), "y", b = "z")`: "given twice", `m.Turned("x", m.Thing("t"), v = m.Thing("u"))`: "given twice",
		`m.Turned("x", m.Property("t"), "y")`: "b: want string",
	} {
		if _, _, err := eval(t, src, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", src, err)
		}
	}
}

func TestRest(t *testing.T) {
	_, env, err := eval(t, `m.Rest("f", 1, m.Property("x"), k = [m.Property("x")], l = 2)`, true)
	if err != nil || len(env.Problems()) > 0 {
		t.Fatal(err, env.Problems())
	}
	if len(lastRest.Args) != 2 || len(lastRest.Kwargs) != 2 {
		t.Fatalf("bound %+v", lastRest)
	}
	got, err := prop.List{lastRest.Args[0], lastRest.Args[1], lastRest.Kwargs["k"], lastRest.Kwargs["l"]}.
		Render(context.Background(), &prop.Map{Values: map[string]any{"x": "ex"}})
	if want := []any{int64(1), "ex", []any{"ex"}, int64(2)}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	_, env, _ = eval(t, `m.Rest("!", set([1]), k = set([1]))`, true)
	want := ": item 1: want a value, got set [wrong-type] a set has no order; use sorted(...)\n" +
		": \"k\": want a value, got set [wrong-type] a set has no order; use sorted(...)"
	if got := text(env.Problems()); got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
	_, env, _ = eval(t, `m.Rest("!")`, true)
	if got, want := text(env.Problems()), "format: there is a ! [bad-value] drop it"; got != want {
		t.Errorf("problems of Make: %q, want %q", got, want)
	}
}

// Without Collect, as when a callback runs, a bad call is an error.
func TestErrorsAtRunTime(t *testing.T) {
	_, _, err := eval(t, `m.Thing(3)`, false)
	var ps prop.Problems
	if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Subject != "m.Thing" {
		t.Errorf("got %v", err)
	}
	_, _, err = eval(t, `m.Thnig("x")`, false)
	if err == nil || !strings.Contains(err.Error(), `did you mean "Thing"?`) {
		t.Errorf("got %v", err)
	}
	if v, _, err := eval(t, `m.ONE`, false); err != nil || v != star.MakeInt(1) {
		t.Errorf("constant: %v, %v", v, err)
	}
}

func TestObjects(t *testing.T) {
	for expr, want := range map[string]string{
		`m.Thing("x").name`:        `"x"`,
		`m.Thing(name = "x").name`: `"x"`,
		`str(m.Thing("x"))`:        `"m.Thing(\"x\")"`,
		`type(m.Thing("x"))`:       `"m.Thing"`,
		`m.All().d`:                `90`,
		`m.All().t`:                `"dflt"`,
		`m.All().tl`:               `None`,
		`m.All().l`:                `[]`,
		`m.All(d = "1m").d`:        `"1m"`,
		`[hasattr(m, "Nope"), hasattr(m.All(), "nope"), getattr(m.All(), "nope", 3)]`: `[False, False, 3]`,
		`type(m.Thing("x").nmae.foo)`:          `"placeholder"`,
		`m.All().dp`:                           `None`,
		`hasattr(m.All(), "nothing")`:          `False`,
		`"extra" in dir(m.All())`:              `True`,
		`m.Thing("x") == m.Thing("x")`:         `False`,
		`[a == a for a in [m.Thing("x")]]`:     `[True]`,
		`{m.Thing("x"): 1}.keys()[0].name`:     `"x"`,
		`type(m.Property("x") * 2)`:            `"m.Property"`,
		`str(m.All)`:                           `"<class m.All>"`,
		`str(m)`:                               `"<module m>"`,
		`[type(m.Nope), type(m.Nope.a[1](2))]`: `["placeholder", "placeholder"]`,
	} {
		if v, _, err := eval(t, expr, true); err != nil || v.String() != want {
			t.Errorf("%s = %v, %v; want %s", expr, v, err, want)
		}
	}
}

func TestWrongDeclarations(t *testing.T) {
	for name, newStruct := range map[string]func() any{
		"no pointer": func() any { return all{} },
		"nil":        func() any { return nil },
		"two of one": func() any {
			return &struct {
				A, B string `star:"x"`
			}{}
		},
		"a channel": func() any {
			return &struct {
				A chan int `star:"x"`
			}{}
		},
		"map of ints": func() any {
			return &struct {
				A map[int]string `star:"x"`
			}{}
		},
		"bad option": func() any {
			return &struct {
				A string `star:"x,opt"`
			}{}
		},
		"bad min": func() any {
			return &struct {
				A int `star:"x" min:"low"`
			}{}
		},
		"bad rest": func() any {
			return &struct {
				A string `star:"*"`
			}{}
		},
		"bad kwrest": func() any {
			return &struct {
				A []string `star:"**"`
			}{}
		},
		"hidden": func() any {
			return &struct {
				a string `star:"x"`
			}{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("the declaration is accepted")
				}
			}()
			(&spec.Class{Name: name, New: newStruct}).Value()
		})
	}
}

// FuzzBind gives a callable any expression as arguments: it must not panic, and
// either bind or say why not.
func FuzzBind(f *testing.F) {
	for _, s := range []string{`s = "x"`, `"x", 3, i = 4`, `*[1, 2], **{"a": 3}`, `ta = {"a": [m.Property("x")]}`, `m.Nope`, `things = [m.Thing(1)]`, `i = -1, i64 = 1 << 99`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, args string) {
		if len(args) > 1000 || strings.Contains(args, "*") && strings.ContainsAny(args, "0123456789") {
			return // not to repeat strings for long
		}
		v, env, err := eval(t, "m.All("+args+"\n)", true)
		if err != nil {
			return
		}
		if _, bad := v.(*spec.Placeholder); bad && len(env.Problems()) == 0 && !strings.Contains(args, "m.") {
			t.Errorf("%q: a placeholder without a problem", args)
		}
	})
}

func BenchmarkCall(b *testing.B) {
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	class := module.Classes[0].Value()
	kwargs := []star.Tuple{
		{star.String("s"), star.String("x")}, {star.String("l"), star.NewList([]star.Value{star.String("a")})},
		{star.String("t"), star.String("y")}, {star.String("d"), star.MakeInt(3)},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := star.Call(thread, class, nil, kwargs); err != nil {
			b.Fatal(err)
		}
	}
}

// A misspelled attribute or method of an object is a problem, and evaluation goes
// on.
func TestMisspelledAttribute(t *testing.T) {
	_, env, err := eval(t, `[m.Thing("x").nmae, m.Thing("x").foo()]`, true)
	if err != nil {
		t.Fatal(err)
	}
	want := ": there is no nmae in m.Thing [unknown-name] did you mean \"name\"?\n: there is no foo in m.Thing [unknown-name] "
	if got := text(env.Problems()); got != want {
		t.Errorf("problems:\n%s\nwant:\n%s", got, want)
	}
}

// The value of a secret argument is in no message, and is known for the source lines.
func TestBindSecret(t *testing.T) {
	type holder struct {
		Key prop.Template[*string] `star:"key,optional,secret"`
		N   int                    `star:"n,optional"`
	}
	class := &spec.Class{Module: "m", Name: "Holder", New: func() any { return &holder{} }}
	for src, secret := range map[string]string{
		`m.Holder(key = "hunter2", n = "x")`: "hunter2",
		`m.Holder(key = 123456)`:             "123456",
	} {
		env := &spec.Env{Collect: true}
		thread := &star.Thread{}
		env.Attach(thread)
		module := &spec.Module{Name: "m", Classes: []*spec.Class{class}}
		if _, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", src, star.StringDict{"m": module.Value(env)}); err != nil {
			t.Fatal(err)
		}
		problems := env.Problems()
		if len(problems) != 1 || strings.Contains(problems.Error(), secret) {
			t.Errorf("%s: %v", src, problems)
		}
		if _, isString := strings.CutPrefix(src, `m.Holder(key = "`); isString && !env.Secrets()[secret] {
			t.Errorf("%s: the secret is not known", src)
		}
	}
}
