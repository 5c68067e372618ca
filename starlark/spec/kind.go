package spec

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// A setter stores v in dst, which is addressable. It returns what is wrong with
// v. If v is or holds a placeholder it poisons b.
type setter func(b *binding, dst reflect.Value, v star.Value) faults

// A kind is how the values of one Go type are bound.
type kind struct {
	set    setter
	name   string // what users call the type
	noneOK bool
	object bool // the value of another class
}

// A fault is one thing that is wrong with a value.
type fault struct{ code, text, hint string }

type faults []fault

func wrongType(want string, v star.Value) faults {
	f := fault{code: "wrong-type", text: fmt.Sprintf("want %s, got %s", want, describe(v))}
	if fn, ok := v.(*star.Function); ok && fn.Name() != "lambda" {
		f.hint = "call it: " + fn.Name() + "(...)"
	}
	return faults{f}
}

func badValue(format string, args ...any) faults {
	return faults{{code: "bad-value", text: fmt.Sprintf(format, args...)}}
}

// within says which part of the value is at fault: "item 2: ". Only the innermost
// parts are named if there are many.
func (fs faults) within(format string, args ...any) faults {
	const enough = 200
	for i := range fs {
		if len(fs[i].text) > enough {
			continue
		}
		fs[i].text = fmt.Sprintf(format, args...) + ": " + fs[i].text
	}
	return fs
}

var (
	renderableType = reflect.TypeFor[prop.Renderable]()
	fromValueType  = reflect.TypeFor[prop.FromValue]()
	templateType   = reflect.TypeFor[interface{ Set(prop.Renderable) error }]()
	durationType   = reflect.TypeFor[time.Duration]()
	starValueType  = reflect.TypeFor[star.Value]()
	callableType   = reflect.TypeFor[star.Callable]()
	anyType        = reflect.TypeFor[any]()
)

// kindOf returns how values of t are bound.
func kindOf(t reflect.Type) (kind, error) {
	switch {
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(templateType):
		return templateKind(t), nil
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(fromValueType):
		return kind{set: setFromValue, name: valueName(t), noneOK: true}, nil
	case t == renderableType:
		return kind{set: setRenderable, name: "value", noneOK: true}, nil
	case t == starValueType:
		return kind{set: setStar, name: "value", noneOK: true}, nil
	case t == callableType:
		return kind{set: setCallable, name: "function"}, nil
	case t.Implements(starValueType):
		return exactKind(t), nil
	case t == credentialType:
		return kind{set: setCredential, name: "string or util.Secret"}, nil
	case t == durationType:
		return kind{set: setDuration, name: `seconds or a string such as "10m"`}, nil
	case t == anyType:
		return kind{set: setAny, name: "value", noneOK: true}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return kind{set: setString, name: "string"}, nil
	case reflect.Bool:
		return kind{set: setBool, name: "bool"}, nil
	case reflect.Int, reflect.Int64:
		return kind{set: setInt, name: "int"}, nil
	case reflect.Float64:
		return kind{set: setFloat, name: "number"}, nil
	case reflect.Slice:
		return sliceKind(t)
	case reflect.Map:
		return mapKind(t)
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct && t.Elem() != credentialType && !t.Implements(fromValueType) && !t.Implements(templateType) {
			return objectKind(t), nil
		}
		return pointerKind(t)
	case reflect.Struct, reflect.Interface:
		return objectKind(t), nil
	}
	return kind{}, fmt.Errorf("no Starlark value becomes a %v", t)
}

// exactKind binds one type of Starlark's own: *star.Dict.
func exactKind(t reflect.Type) kind {
	name := reflect.Zero(t).Interface().(star.Value).Type()
	set := func(b *binding, dst reflect.Value, v star.Value) faults {
		if reflect.TypeOf(v) != t {
			return b.wrong(name, v)
		}
		dst.Set(reflect.ValueOf(v))
		return nil
	}
	return kind{set: set, name: name}
}

func pointerKind(t reflect.Type) (kind, error) {
	elem, err := kindOf(t.Elem())
	if err != nil {
		return kind{}, err
	}
	set := func(b *binding, dst reflect.Value, v star.Value) faults {
		if v == star.None {
			dst.SetZero()
			return nil
		}
		p := reflect.New(t.Elem())
		if fs := elem.set(b, p.Elem(), v); fs != nil {
			return orNone(fs)
		}
		dst.Set(p)
		return nil
	}
	return kind{set: set, name: elem.name + " or None", noneOK: true}, nil
}

// orNone says that None is possible too.
func orNone(fs faults) faults {
	for i, f := range fs {
		if want, got, ok := strings.Cut(f.text, ", got "); ok && f.code == "wrong-type" && strings.HasPrefix(want, "want ") {
			fs[i].text = want + " or None, got " + got
		}
	}
	return fs
}

func sliceKind(t reflect.Type) (kind, error) {
	elem, err := kindOf(t.Elem())
	if err != nil {
		return kind{}, err
	}
	name := "list of " + prop.Plural(elem.name)
	if n, ok := reflect.New(t).Interface().(interface{ TypeName() string }); ok {
		name = n.TypeName()
	}
	set := func(b *binding, dst reflect.Value, v star.Value) faults {
		seq, ok := sequence(v)
		if !ok {
			if b.isPlaceholder(v) {
				return nil
			}
			fs := wrongType(name, v)
			if fs[0].hint == "" && elem.set(b, reflect.New(t.Elem()).Elem(), v) == nil {
				fs[0].hint = "put [ ] around it"
			}
			return fs
		}
		n := seq.Len()
		out := reflect.MakeSlice(t, 0, n) // the good ones
		keep := t.Elem() == starValueType // whose placeholders the class skips
		before := b.poisoned
		var fs faults
		for i := range n {
			e := seq.Index(i)
			if _, ok := e.(*Placeholder); ok && keep {
				b.held = true
				out = reflect.Append(out, reflect.ValueOf(&e).Elem())
				continue
			}
			item := reflect.New(t.Elem()).Elem()
			b.poisoned = false
			f := elem.set(b, item, e)
			if f == nil && !b.poisoned {
				out = reflect.Append(out, item)
			}
			before = before || b.poisoned
			fs = append(fs, f.within("item %d", i+1)...)
		}
		b.poisoned = before
		dst.Set(out)
		return fs
	}
	return kind{set: set, name: name}, nil
}

func mapKind(t reflect.Type) (kind, error) {
	if t.Key().Kind() != reflect.String {
		return kind{}, fmt.Errorf("the keys of %v are not strings", t)
	}
	elem, err := kindOf(t.Elem())
	if err != nil {
		return kind{}, err
	}
	name := "dict of " + prop.Plural(elem.name)
	set := func(b *binding, dst reflect.Value, v star.Value) faults {
		d, ok := v.(*star.Dict)
		if !ok {
			if b.isPlaceholder(v) {
				return nil
			}
			return wrongType(name, v)
		}
		out := reflect.MakeMapWithSize(t, d.Len())
		var fs faults
		for _, item := range d.Items() {
			k, ok := star.AsString(item[0])
			if !ok {
				if !b.isPlaceholder(item[0]) {
					fs = append(fs, wrongType("string keys", item[0])...)
				}
				continue
			}
			if b.isPlaceholder(item[1]) {
				continue
			}
			e := reflect.New(t.Elem()).Elem()
			fs = append(fs, elem.set(b, e, item[1]).within("%q", k)...)
			out.SetMapIndex(reflect.ValueOf(k).Convert(t.Key()), e)
		}
		if fs == nil {
			dst.Set(out)
		}
		return fs
	}
	return kind{set: set, name: name}, nil
}

// sequence returns a list or a tuple.
func sequence(v star.Value) (star.Indexable, bool) {
	switch v := v.(type) {
	case *star.List:
		return v, true
	case star.Tuple:
		return v, true
	}
	return nil, false
}
