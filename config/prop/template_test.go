package prop

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// upper is a FromValue.
type upper string

func (u *upper) FromValue(v any) error {
	s, ok := v.(string)
	if !ok {
		return errors.New("no upper")
	}
	*u = upper(strings.ToUpper(s))
	return nil
}

func TestConvert(t *testing.T) {
	check := func(got any, err error, want any) {
		t.Helper()
		text, isErr := want.(error)
		switch {
		case isErr && (err == nil || err.Error() != text.Error()):
			t.Errorf("got %#v, %v; want error %v", got, err, want)
		case !isErr && (err != nil || !reflect.DeepEqual(got, want)):
			t.Errorf("got %#v, %v; want %#v", got, err, want)
		}
	}
	try[string](check, "x", "x")
	try[string](check, int64(1), errors.New("want string, got int 1"))
	try[string](check, nil, errors.New("want string, got None"))
	try[string](check, strings.Repeat("x", 50), strings.Repeat("x", 50))
	try[bool](check, true, true)
	try[bool](check, int64(1), errors.New("want bool, got int 1"))
	try[int64](check, int64(5), int64(5))
	try[int](check, int64(5), 5)
	try[int64](check, 5.0, errors.New("want int, got float 5"))
	try[int64](check, true, errors.New("want int, got bool True"))
	try[float64](check, int64(2), 2.0)
	try[float64](check, 2.5, 2.5)
	try[float64](check, "2.5", errors.New(`want number, got string "2.5"`))
	try[any](check, []any{"a"}, []any{"a"})
	try[any](check, nil, nil)
	try[*string](check, nil, (*string)(nil))
	try[*string](check, "a", str("a"))
	try[*string](check, false, errors.New("want string, got bool False"))
	try[[]string](check, []any{"a", "b"}, []string{"a", "b"})
	try[[]string](check, []any{"a", nil}, errors.New("item 2: want string, got None"))
	try[[]string](check, "a", errors.New(`want list of strings, got string "a"`))
	try[[][]int](check, []any{[]any{int64(1)}}, [][]int{{1}})
	try[map[string]int64](check, map[string]any{"a": int64(1)}, map[string]int64{"a": 1})
	try[map[string]int64](check, map[string]any{"a": "b"}, errors.New(`"a": want int, got string "b"`))
	try[map[string]any](check, []any{}, errors.New("want dict of values, got list"))
	try[upper](check, "a", upper("A"))
	try[upper](check, nil, errors.New("no upper"))
	try[[]upper](check, []any{"a"}, []upper{"A"})
	try[map[string]*upper](check, map[string]any{"a": nil}, map[string]*upper{"a": nil})
	try[int](check, map[string]any{}, errors.New("want int, got dict"))
	try[*int](check, "a", errors.New(`want int, got string "a"`))
}

func try[T any](check func(any, error, any), v any, want any) {
	got, err := Convert[T](v)
	check(got, err, want)
}

func TestTemplate(t *testing.T) {
	var unset Template[string]
	if v, err := unset.Render(t.Context(), sample); v != "" || err != nil || unset.IsSet() {
		t.Errorf("unset: %q, %v, %t", v, err, unset.IsSet())
	}
	if v, ok := unset.Plain(); v != "" || !ok {
		t.Errorf("unset: Plain %q, %t", v, ok)
	}

	plain := Of("x")
	if v, ok := plain.Plain(); v != "x" || !ok || !plain.IsSet() {
		t.Errorf("plain: %q, %t, %t", v, ok, plain.IsSet())
	}

	var set Template[int64]
	if err := set.Set(Const{"x"}); err == nil || set.IsSet() {
		t.Errorf("a string was set where an int belongs: %v", err)
	}
	if err := set.Set(Const{int64(3)}); err != nil {
		t.Error(err)
	}
	if v, ok := set.Plain(); v != 3 || !ok {
		t.Errorf("set: Plain %d, %t", v, ok)
	}

	if err := set.Set(&Property{Name: "jobs"}); err != nil {
		t.Error(err)
	}
	if v, err := set.Render(t.Context(), sample); v != 4 || err != nil {
		t.Errorf("dynamic: %d, %v", v, err)
	}
	if _, ok := set.Plain(); ok {
		t.Error("dynamic is plain")
	}
	if err := set.Set(&Property{Name: "branch"}); err != nil {
		t.Error(err)
	}
	if _, err := set.Render(t.Context(), sample); err == nil || err.Error() != `want int, got string "main"` {
		t.Errorf("dynamic of a wrong type: %v", err)
	}
	if err := set.Set(Secret{"lost"}); err != nil {
		t.Error(err)
	}
	if _, err := set.Render(t.Context(), sample); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("dynamic that fails: %v", err)
	}
}

// A bool that renders is true or false as in Python; a plain one must be a bool.
func TestTemplateBool(t *testing.T) {
	for name, want := range map[string]bool{"jobs": true, "zero": false, "missing": false, "branch": true, "empty": false, "yes": true, "no": false} {
		var b Template[bool]
		if err := b.Set(&Property{Name: name}); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Render(t.Context(), sample); got != want || err != nil {
			t.Errorf("%s: got %t, %v", name, got, err)
		}
	}
	var b Template[bool]
	if err := b.Set(Const{"yes"}); err == nil {
		t.Error("a plain string is accepted as a bool")
	}
}

func TestTemplateCanonical(t *testing.T) {
	var unset, dynamic Template[any]
	if err := dynamic.Set(&Property{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, tt := range []Template[any]{unset, dynamic, Of[any](nil), Of[any](int64(1)), Of[any](1.0), Of[any]("1"), Of[any]([]any{"1"})} {
		enc := string(tt.AppendCanonical(nil))
		if seen[enc] {
			t.Errorf("%#v: encoding %q is taken", tt, enc)
		}
		seen[enc] = true
	}
}

func TestTruthy(t *testing.T) {
	for _, v := range []any{nil, false, int64(0), 0.0, "", []any{}, map[string]any{}} {
		if Truthy(v) {
			t.Errorf("%#v is true", v)
		}
	}
	for _, v := range []any{true, int64(-1), 0.1, "0", []any{nil}, map[string]any{"": nil}, &struct{}{}} {
		if !Truthy(v) {
			t.Errorf("%#v is false", v)
		}
	}
}

func TestSourceStampAttr(t *testing.T) {
	ss := SourceStamp{Codebase: "c", Repository: "r", Project: "p", Branch: str("b")}
	for name, want := range map[string]any{"branch": "b", "revision": nil, "repository": "r", "project": "p", "codebase": "c"} {
		if got, ok := ss.Attr(name); got != want || !ok {
			t.Errorf("%s: got %#v, %t", name, got, ok)
		}
	}
	if _, ok := ss.Attr("patch"); ok {
		t.Error("patch is an attribute")
	}
}
