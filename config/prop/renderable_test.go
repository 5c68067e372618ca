package prop

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRenderables(t *testing.T) {
	branch, missing := &Property{Name: "branch"}, &Property{Name: "missing"}
	tests := []struct {
		name string
		r    Renderable
		want any
	}{
		{"a constant", Const{int64(3)}, int64(3)},
		{"a property", branch, "main"},
		{"a missing property", missing, nil},
		{"a missing property with a default", &Property{Name: "missing", Default: branch}, "main"},
		{"a false property that keeps its value", &Property{Name: "zero", Default: Const{"d"}}, int64(0)},
		{"a false property that takes its default", &Property{Name: "zero", Default: Const{"d"}, DefaultWhenFalse: true}, "d"},
		{"a false property without a default", &Property{Name: "zero", DefaultWhenFalse: true}, nil},
		{"a true property", &Property{Name: "jobs", Default: Const{"d"}, DefaultWhenFalse: true}, int64(4)},
		{"a list", List{branch, Const{int64(1)}, List{missing}}, []any{"main", int64(1), []any{nil}}},
		{"a dict, whose keys render too", Dict{{branch, Const{"b"}}, {Const{"k"}, List{branch}}}, map[string]any{"main": "b", "k": []any{"main"}}},
		{"a flat list", FlattenList{List{branch, Const{[]any{"x", []any{"y", []any{}}}}, Const{"z"}}}, []any{"main", "x", "y", "z"}},
		{"the address of the build", URLForBuild{}, "http://ci/builders/1/builds/2"},
		{"a secret", Secret{"token"}, "t0k"},
	}
	for _, tt := range tests {
		if got, err := tt.r.Render(t.Context(), sample); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, %v; want %#v", tt.name, got, err, tt.want)
		}
	}
}

func TestRenderableErrors(t *testing.T) {
	broken := renderFunc(func(context.Context, Props) (any, error) { return nil, errors.New("broken") })
	tests := []struct {
		r    Renderable
		want string
	}{
		{List{Const{}, broken}, "item 2: broken"},
		{Dict{{Const{"a"}, broken}}, `"a": broken`},
		{Dict{{broken, Const{}}}, "key of a dict: broken"},
		{Dict{{Const{int64(1)}, Const{}}}, "key of a dict: want string, got int 1"},
		{FlattenList{Const{"x"}}, `FlattenList: want list, got string "x"`},
		{FlattenList{broken}, "broken"},
		{&Property{Name: "missing", Default: broken}, "broken"},
		{&Operation{"+", broken, Const{}}, "broken"},
		{&Operation{"+", Const{}, broken}, "broken"},
		{Secret{"lost"}, `there is no secret "lost"`},
	}
	for _, tt := range tests {
		if v, err := tt.r.Render(t.Context(), sample); err == nil || err.Error() != tt.want {
			t.Errorf("%#v: got %v, %v; want %s", tt.r, v, err, tt.want)
		}
	}
}

// Renderables that render differently have different encodings, so that the hash
// of a config node sees every change.
func TestCanonicalTellsApart(t *testing.T) {
	interpolate := func(format string, kw map[string]Renderable, args ...Renderable) Renderable {
		in, err := Interpolate(format, args, kw)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	a, b := Const{"a"}, Const{"b"}
	all := []Renderable{
		Const{nil}, Const{true}, Const{false}, Const{int64(1)}, Const{1.0}, Const{"1"}, Const{""},
		Const{[]any{}}, Const{[]any{"a", "b"}}, Const{[]any{"ab"}}, Const{[]any{[]any{"a"}, "b"}},
		Const{map[string]any{}}, Const{map[string]any{"a": "b"}}, Const{map[string]any{"a": nil}},
		List{}, List{a, b}, List{Const{"ab"}}, List{List{a}, b},
		Dict{}, Dict{{a, b}}, Dict{{b, a}}, FlattenList{List{a, b}}, FlattenList{List{a}},
		&Property{Name: "a"}, &Property{Name: "a", DefaultWhenFalse: true}, &Property{Name: "a", Default: Const{nil}},
		&Property{Name: "a", Default: b}, &Property{Name: "b"}, Secret{"a"}, URLForBuild{},
		&Operation{"+", a, b}, &Operation{"-", a, b}, &Operation{"+", b, a},
		interpolate("a", nil), interpolate("%(kw:a)s", nil), interpolate("%(kw:a)s", map[string]Renderable{"a": a}),
		interpolate("%(kw:a)s", map[string]Renderable{"a": b}), interpolate("%s", nil, a), interpolate("%s", nil, b),
	}
	seen := map[string]int{}
	for i, r := range all {
		enc := string(r.AppendCanonical(nil))
		if j, ok := seen[enc]; ok {
			t.Errorf("%#v and %#v have the encoding %q", all[j], r, enc)
		}
		seen[enc] = i
		if again := r.AppendCanonical(nil); !bytes.Equal(again, []byte(enc)) {
			t.Errorf("%#v: two encodings", r)
		}
	}
}

func TestMapKnowsItsSecretsByName(t *testing.T) {
	if _, err := sample.Secret(t.Context(), "nope"); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("got %v", err)
	}
}
