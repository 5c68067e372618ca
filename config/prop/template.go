package prop

import (
	"context"
	"fmt"
	"reflect"
	"strings"
)

// Const is the Renderable of a plain value.
type Const struct{ V any }

// Render returns the value.
func (c Const) Render(context.Context, Props) (any, error) { return c.V, nil }

// AppendCanonical appends the value as [AppendValue] does.
func (c Const) AppendCanonical(dst []byte) []byte { return AppendValue(dst, c.V) }

// A Template is a T that may depend on the properties of a build. A plain value,
// Interpolate, Property, Transform and a Starlark function are all Templates. It
// is a struct, not an interface, because binding fills it by reflection through
// Set, which checks a plain value at once.
//
// The zero Template is not set and renders the zero T.
type Template[T any] struct {
	r  Renderable // nil: not set, or plain
	v  T
	is kind
}

type kind uint8

const (
	unset kind = iota
	plain
	dynamic
)

// Of returns the Template of a plain value.
func Of[T any](v T) Template[T] { return Template[T]{v: v, is: plain} }

// Set makes t render r. A [Const] is converted now, so that a value of the wrong
// type is an error where the user wrote it.
func (t *Template[T]) Set(r Renderable) error {
	if c, ok := r.(Const); ok {
		v, err := Convert[T](c.V)
		if err != nil {
			return err
		}
		*t = Of(v)
		return nil
	}
	*t = Template[T]{r: r, is: dynamic}
	return nil
}

// Renderable returns what t renders, a [Const] if that is plain.
func (t Template[T]) Renderable() Renderable {
	if t.is == dynamic {
		return t.r
	}
	return Const{any(t.v)}
}

// IsSet reports whether the user gave a value.
func (t Template[T]) IsSet() bool { return t.is != unset }

// Plain returns the value and true if it does not depend on properties; the zero
// T and true if t is not set.
func (t Template[T]) Plain() (T, bool) { return t.v, t.is != dynamic }

// Render returns the value for p. What renders where a bool is wanted counts as
// true or false as in Python: doStepIf=util.Property("clean") is false if the
// property is missing. Errors name the wrong type; callers add which argument it
// was.
func (t Template[T]) Render(ctx context.Context, p Props) (T, error) {
	if t.is != dynamic {
		return t.v, nil
	}
	var out T
	v, err := t.r.Render(ctx, p)
	if err != nil {
		return out, err
	}
	if b, ok := any(&out).(*bool); ok {
		*b = Truthy(v)
		return out, nil
	}
	return Convert[T](v)
}

// AppendCanonical appends the encoding that the content hash uses.
func (t Template[T]) AppendCanonical(dst []byte) []byte {
	switch t.is {
	case dynamic:
		return t.r.AppendCanonical(append(dst, 'r'))
	case plain:
		return AppendValue(append(dst, 'v'), any(t.v))
	}
	return append(dst, '-')
}

// FromValue is implemented by pointers to types that a Template can hold and that
// know how to read themselves from a property value.
type FromValue interface{ FromValue(v any) error }

// Convert returns the property value v as a T: string, bool, int64, float64,
// any, slices and string maps of these, pointers to them (nil for None), and
// types whose pointer is a [FromValue].
func Convert[T any](v any) (T, error) {
	var t T
	err := convert(v, reflect.ValueOf(&t).Elem())
	return t, err
}

func convert(v any, to reflect.Value) error {
	if f, ok := to.Addr().Interface().(FromValue); ok {
		return f.FromValue(v)
	}
	switch to.Kind() {
	case reflect.Interface:
		if v != nil {
			to.Set(reflect.ValueOf(v))
		}
		return nil
	case reflect.Pointer:
		if v == nil {
			return nil
		}
		p := reflect.New(to.Type().Elem())
		if err := convert(v, p.Elem()); err != nil {
			return err
		}
		to.Set(p)
		return nil
	case reflect.String:
		if s, ok := v.(string); ok {
			to.SetString(s)
			return nil
		}
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			to.SetBool(b)
			return nil
		}
	case reflect.Int64, reflect.Int:
		if n, ok := v.(int64); ok {
			to.SetInt(n)
			return nil
		}
	case reflect.Float64:
		switch n := v.(type) {
		case float64:
			to.SetFloat(n)
			return nil
		case int64:
			to.SetFloat(float64(n))
			return nil
		}
	case reflect.Slice:
		if l, ok := v.([]any); ok {
			s := reflect.MakeSlice(to.Type(), len(l), len(l))
			for i, e := range l {
				if err := convert(e, s.Index(i)); err != nil {
					return fmt.Errorf("item %d: %w", i+1, err)
				}
			}
			to.Set(s)
			return nil
		}
	case reflect.Map:
		if m, ok := v.(map[string]any); ok {
			out := reflect.MakeMapWithSize(to.Type(), len(m))
			for k, e := range m {
				x := reflect.New(to.Type().Elem()).Elem()
				if err := convert(e, x); err != nil {
					return fmt.Errorf("%q: %w", k, err)
				}
				out.SetMapIndex(reflect.ValueOf(k), x)
			}
			to.Set(out)
			return nil
		}
	}
	return fmt.Errorf("want %s, got %s", TypeName(to.Type()), Describe(v))
}

// TypeName returns what a user calls the values of a Go type.
func TypeName(t reflect.Type) string {
	if n, ok := reflect.Zero(t).Interface().(interface{ TypeName() string }); ok {
		return n.TypeName()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return TypeName(t.Elem()) + " or None"
	case reflect.Int64, reflect.Int:
		return "int"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "list of " + Plural(TypeName(t.Elem()))
	case reflect.Map:
		return "dict of " + Plural(TypeName(t.Elem()))
	case reflect.Interface:
		return "value"
	}
	return t.Kind().String()
}

// Plural makes "strings" of "string", for "list of strings".
func Plural(name string) string {
	if strings.Contains(name, " ") || strings.HasSuffix(name, "s") {
		return name
	}
	return name + "s"
}

// Describe returns the type of a property value and, if it is short, the value,
// for an error message: int 3, string "x", list.
func Describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "bool True"
		}
		return "bool False"
	case int64:
		return fmt.Sprintf("int %d", v)
	case float64:
		return fmt.Sprintf("float %g", v)
	case string:
		if len(v) > 40 {
			return "string"
		}
		return fmt.Sprintf("string %q", v)
	case []any:
		return "list"
	case map[string]any:
		return "dict"
	}
	return fmt.Sprintf("%T", v)
}
