package config

import (
	"fmt"
	"iter"
	"reflect"
	"testing"

	"buildstar/config/prop"
)

// Every exported field of every node matters to its hash, at any depth, except
// positions; and no two single changes look alike.
func TestEveryFieldMatters(t *testing.T) {
	for _, node := range []any{
		&Worker{}, &Builder{Factory: &Factory{}}, &Factory{}, &Project{}, &Lock{}, &Master{WWW: WWW{Port: &Listen{}}},
	} {
		typ := reflect.TypeOf(node).Elem()
		seen := map[Digest]string{Hash(node): "nothing"}
		changes := 0
		for path, set := range fields(reflect.ValueOf(node).Elem(), typ.Name()) {
			undo, counts := set()
			h := Hash(node)
			undo()
			switch other, dup := seen[h]; {
			case !counts && other != "nothing":
				t.Errorf("%s: a position changes the hash", path)
			case counts && dup:
				t.Errorf("%s: the hash is that of %s", path, other)
			}
			seen[h] = path
			seen[Hash(node)] = "nothing"
			changes++
		}
		if changes < 3 {
			t.Errorf("%v: only %d fields were changed", typ, changes)
		}
	}
}

// fields yields for each exported leaf field of v a function that changes it; it
// returns how to undo that, and whether the field is content.
func fields(v reflect.Value, path string) iter.Seq2[string, func() (undo func(), counts bool)] {
	return func(yield func(string, func() (func(), bool)) bool) {
		for i := range v.NumField() {
			f, name := v.Field(i), path+"."+v.Type().Field(i).Name
			if !v.Type().Field(i).IsExported() {
				continue
			}
			if f.Kind() == reflect.Pointer && !f.IsNil() && f.Elem().Kind() == reflect.Struct {
				f = f.Elem()
			}
			_, template := f.Addr().Interface().(interface{ Set(prop.Renderable) error })
			if f.Kind() == reflect.Struct && f.Type() != posType && !template {
				for n, set := range fields(f, name) {
					if !yield(n, set) {
						return
					}
				}
				continue
			}
			set := func() (func(), bool) {
				old := reflect.ValueOf(f.Interface())
				if !old.IsValid() {
					old = reflect.Zero(f.Type())
				}
				change(f)
				return func() { f.Set(old) }, f.Type() != posType
			}
			if !yield(name, set) {
				return
			}
		}
	}
}

// change gives f a value that is not zero.
func change(f reflect.Value) {
	if s, ok := f.Addr().Interface().(interface{ Set(prop.Renderable) error }); ok {
		for _, v := range []any{"x", []any{}, true, int64(3), nil} {
			if s.Set(prop.Const{V: v}) == nil {
				return
			}
		}
		panic(fmt.Sprintf("no value fits %v", f.Type()))
	}
	switch f.Kind() {
	case reflect.String:
		f.SetString("x")
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Int, reflect.Int64:
		f.SetInt(7)
	case reflect.Slice:
		if f.Type() == reflect.TypeFor[LockAccesses]() {
			f.Set(reflect.ValueOf(LockAccesses{{Lock: &Lock{Name: "x"}}}))
			return
		}
		f.Set(reflect.MakeSlice(f.Type(), 1, 1))
	case reflect.Map:
		e := reflect.New(f.Type().Elem()).Elem()
		f.Set(reflect.MakeMap(f.Type()))
		f.SetMapIndex(reflect.ValueOf("k"), e)
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
	case reflect.Struct: // a position
		f.Field(1).SetInt(9)
	default:
		panic(fmt.Sprintf("no way to change a %v", f.Type()))
	}
}

type step struct {
	At
	Command prop.Template[any]
	Times   map[string]float64
	Value   prop.Renderable
	Any     any
}

func (*step) Type() string { return "Step" }

type otherStep step

func (*otherStep) Type() string { return "Other" }

func builder(steps ...Step) *Builder {
	return &Builder{Name: "b", Workers: []string{"w"}, Factory: &Factory{Steps: steps}}
}

func TestHashOfSteps(t *testing.T) {
	a := builder(&step{Command: prop.Of[any]("make"), Times: map[string]float64{"a": 1, "b": 2}})
	same := builder(&step{At: At{prop.Pos{File: "x", Line: 3}}, Command: prop.Of[any]("make"), Times: map[string]float64{"b": 2, "a": 1}})
	if Hash(a) != Hash(same) {
		t.Error("positions or the order of a map matter")
	}
	for name, other := range map[string]*Builder{
		"another command":         builder(&step{Command: prop.Of[any]("mak"), Times: map[string]float64{"a": 1, "b": 2}}),
		"another type of value":   builder(&step{Command: prop.Of[any]([]any{"make"}), Times: map[string]float64{"a": 1, "b": 2}}),
		"another class":           builder(&otherStep{Command: prop.Of[any]("make"), Times: map[string]float64{"a": 1, "b": 2}}),
		"another entry":           builder(&step{Command: prop.Of[any]("make"), Times: map[string]float64{"a": 1, "b": 3}}),
		"a further step":          builder(&step{Command: prop.Of[any]("make"), Times: map[string]float64{"a": 1, "b": 2}}, &step{}),
		"no step":                 builder(),
		"a renderable":            builder(&step{Value: prop.Const{V: "a"}}),
		"another renderable":      builder(&step{Value: prop.Const{V: "b"}}),
		"a pointer to one":        builder(&step{Value: &prop.Property{Name: "b"}}),
		"a renderable as any":     builder(&step{Any: prop.Const{V: "a"}}),
		"1 is not 1.0, nor True":  builder(&step{Command: prop.Of[any](int64(1))}),
		"1.0":                     builder(&step{Command: prop.Of[any](1.0)}),
		"True":                    builder(&step{Command: prop.Of[any](true)}),
		"a nil step in the list":  builder(nil),
		"two workers for the one": {Name: "b", Workers: []string{"w", ""}, Factory: &Factory{}},
	} {
		h := Hash(other)
		if Hash(a) == h || Hash(other) != h {
			t.Errorf("%s does not matter, or differs from itself", name)
		}
	}
}

func TestHashPanicsOnFunctions(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a function has a hash")
		}
	}()
	Hash(&struct{ F func() }{func() {}})
}

// FuzzHash: strings cannot run into each other.
func FuzzHash(f *testing.F) {
	f.Add("a", "b", "ab", "")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		x := &Project{Name: a, Slug: b, Description: "x"}
		y := &Project{Name: c, Slug: d, Description: "x"}
		if (Hash(x) == Hash(y)) != (a == c && b == d) {
			t.Errorf("%q %q and %q %q", a, b, c, d)
		}
		v := &Worker{Properties: map[string]any{a: b, c: d}}
		w := &Worker{Properties: map[string]any{c: d, a: b}}
		if a != c && Hash(v) != Hash(w) {
			t.Error("the order of a map matters")
		}
	})
}

func BenchmarkHash(b *testing.B) {
	n := builder(&step{Command: prop.Of[any]([]any{"make", "all"})}, &step{Command: prop.Of[any]("x")}, &step{})
	b.ReportAllocs()
	for b.Loop() {
		Hash(n)
	}
}
