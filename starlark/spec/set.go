package spec

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

func setString(b *binding, dst reflect.Value, v star.Value) faults {
	if s, ok := v.(star.String); ok {
		dst.SetString(string(s))
		return nil
	}
	return b.wrong("string", v)
}

func setBool(b *binding, dst reflect.Value, v star.Value) faults {
	if t, ok := v.(star.Bool); ok {
		dst.SetBool(bool(t))
		return nil
	}
	return b.wrong("bool", v)
}

func setInt(b *binding, dst reflect.Value, v star.Value) faults {
	i, ok := v.(star.Int)
	if !ok {
		return b.wrong("int", v)
	}
	n, ok := i.Int64()
	if !ok {
		return tooBig(i)
	}
	dst.SetInt(n)
	return nil
}

func tooBig(i star.Int) faults {
	return badValue("%s is too big: the largest int is %d", short(i.String()), int64(math.MaxInt64))
}

func setFloat(b *binding, dst reflect.Value, v star.Value) faults {
	f, ok := number(v)
	if !ok {
		return b.wrong("number", v)
	}
	dst.SetFloat(f)
	return nil
}

// number returns an int or a float as a float64.
func number(v star.Value) (float64, bool) {
	switch v := v.(type) {
	case star.Float:
		return float64(v), true
	case star.Int:
		return float64(v.Float()), true
	}
	return 0, false
}

// setDuration takes seconds, or a string of Go's form: "1h30m".
func setDuration(b *binding, dst reflect.Value, v star.Value) faults {
	if s, ok := v.(star.String); ok {
		d, err := time.ParseDuration(string(s))
		if err != nil {
			return faults{{code: "bad-value", text: "want a duration, got " + describe(v),
				hint: `write seconds as a number, or a string such as "90s", "10m" or "1h30m"`}}
		}
		dst.SetInt(int64(d))
		return nil
	}
	f, ok := number(v)
	if !ok {
		return b.wrong(`seconds or a string such as "10m"`, v)
	}
	if ns := f * float64(time.Second); ns > -math.MaxInt64 && ns < math.MaxInt64 {
		dst.SetInt(int64(ns))
		return nil
	}
	return badValue("%s is no possible number of seconds", short(v.String()))
}

// setCredential takes a password or the secret that is one.
func setCredential(b *binding, dst reflect.Value, v star.Value) faults {
	if s, ok := v.(star.String); ok {
		dst.Set(reflect.ValueOf(prop.Credential{Password: prop.Password(s)}))
		return nil
	}
	if o, ok := v.(*Object); ok {
		if s, ok := o.Value.(prop.Secret); ok {
			dst.Set(reflect.ValueOf(prop.Credential{Secret: s.Name}))
			return nil
		}
	}
	return b.wrong("string or util.Secret", v)
}

// setAny takes a property value.
func setAny(b *binding, dst reflect.Value, v star.Value) faults {
	x, _, fs := b.value(v, plainOnly)
	switch {
	case fs != nil:
	case x == nil:
		dst.SetZero()
	default:
		dst.Set(reflect.ValueOf(x))
	}
	return fs
}

func setFromValue(b *binding, dst reflect.Value, v star.Value) faults {
	x, _, fs := b.value(v, opaque)
	if fs != nil {
		return fs
	}
	if b.poisoned {
		if _, whole := v.(*Placeholder); !whole { // the names beside it still count
			_ = dst.Addr().Interface().(prop.FromValue).FromValue(x)
		}
		return nil
	}
	if err := dst.Addr().Interface().(prop.FromValue).FromValue(x); err != nil {
		return errorFault(named(err, v))
	}
	return nil
}

// named replaces the Go type of an object of another class by what users call it:
// such values are opaque to prop.
func named(err error, v star.Value) error {
	items := []star.Value{v}
	if l, ok := sequence(v); ok {
		for i := range l.Len() {
			items = append(items, l.Index(i))
		}
	}
	for _, item := range items {
		if o, ok := item.(*Object); ok {
			if before, after, found := strings.Cut(err.Error(), fmt.Sprintf("got %T", o.Value)); found {
				return errors.New(before + "got " + o.text() + after)
			}
		}
	}
	return err
}

func setRenderable(b *binding, dst reflect.Value, v star.Value) faults {
	r, fs := b.renderable(v, anything)
	if fs == nil && r != nil {
		dst.Set(reflect.ValueOf(r))
	}
	return fs
}

func setStar(b *binding, dst reflect.Value, v star.Value) faults {
	b.isPlaceholder(v) // kept as it is all the same
	dst.Set(reflect.ValueOf(v))
	return nil
}

func setCallable(b *binding, dst reflect.Value, v star.Value) faults {
	if b.isPlaceholder(v) {
		return nil
	}
	if _, ok := v.(star.Callable); !ok {
		return wrongType("function", v)
	}
	dst.Set(reflect.ValueOf(v))
	return nil
}

// templateKind binds what has Set(prop.Renderable): the Templates.
func templateKind(t reflect.Type) kind {
	elem, mode := anyType, anything
	if m, ok := t.MethodByName("Plain"); ok && m.Type.NumOut() == 2 {
		elem = m.Type.Out(0)
	}
	if reflect.PointerTo(elem).Implements(fromValueType) {
		mode = anything | opaque
	}
	name := valueName(elem)
	set := func(b *binding, dst reflect.Value, v star.Value) faults {
		r, fs := b.renderable(v, mode)
		if fs != nil || r == nil {
			return fs
		}
		if err := dst.Addr().Interface().(interface{ Set(prop.Renderable) error }).Set(r); err != nil {
			return errorFault(named(err, v))
		}
		return nil
	}
	// None is decided by T: Set(Const{nil}) fails if T knows no None.
	probe := reflect.New(t).Interface().(interface{ Set(prop.Renderable) error })
	return kind{set: set, name: name, noneOK: probe.Set(prop.Const{}) == nil}
}

// objectKind binds the Go values of other classes.
func objectKind(t reflect.Type) kind {
	name := objectName(t)
	set := func(b *binding, dst reflect.Value, v star.Value) faults {
		switch v := v.(type) {
		case *Object:
			if v.Value != nil && reflect.TypeOf(v.Value).AssignableTo(t) {
				dst.Set(reflect.ValueOf(v.Value))
				return nil
			}
		case *builtin:
			return faults{{code: "wrong-type", text: "want " + article(name) + ", got the class " + v.class.Full(),
				hint: "call it: " + v.class.Full() + "(...)"}}
		}
		return b.wrong(article(name), v)
	}
	return kind{set: set, name: name, object: true}
}

func article(name string) string {
	if strings.ContainsRune("aeiou", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}

// objectName is what users call the values of a Go type: *config.Worker is a
// worker, config.SecretsProvider a secrets provider.
func objectName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" {
		return "value"
	}
	return strings.ToLower(words.ReplaceAllString(t.Name(), "$1 $2"))
}

// words finds where a word of a Go name begins.
var words = regexp.MustCompile(`([a-z])([A-Z])`)

func valueName(t reflect.Type) string {
	if n, ok := reflect.New(t).Interface().(interface{ TypeName() string }); ok {
		return n.TypeName()
	}
	return prop.TypeName(t)
}

// errorFault makes a fault of an error about a value: those that name the wanted
// type are about the type.
func errorFault(err error) faults {
	code := "bad-value"
	if strings.Contains(err.Error(), "want ") && strings.Contains(err.Error(), ", got ") {
		code = "wrong-type"
	}
	return faults{{code: code, text: err.Error()}}
}
