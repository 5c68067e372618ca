package spec

import (
	"fmt"
	"reflect"
	"strconv"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/config/prop"
)

// Object is the value of a call of a class: a Go value with readable attributes
// and methods. It is frozen with the file that made it.
type Object struct {
	// Value is what Make returned, or the struct.
	Value any

	class  *Class
	env    *Env
	pos    prop.Pos
	chain  []prop.Pos
	args   star.Tuple
	kwargs []star.Tuple
	frozen bool

	bad     *fieldSet // of what stands behind a placeholder
	subject string    // its class and name
}

var (
	_ star.HasAttrs  = (*Object)(nil)
	_ star.HasBinary = (*Object)(nil)
)

// Class returns the class that was called.
func (o *Object) Class() *Class { return o.class }

// Pos returns where it was called.
func (o *Object) Pos() prop.Pos { return o.pos }

// Chain returns the calls that led there, innermost first.
func (o *Object) Chain() []prop.Pos { return o.chain }

// Subject returns what messages call what stands behind a placeholder, or "".
func (o *Object) Subject() string { return o.subject }

// Bad reports whether the argument of a parameter was wrong. Only the calls behind
// placeholders have such arguments.
func (o *Object) Bad(param string) bool {
	if o.bad == nil {
		return false
	}
	n, ok := o.class.plan.byName[param]
	return ok && o.bad.has(n)
}

// Arguments returns what the class was called with; callers must not change it.
func (o *Object) Arguments() (args star.Tuple, kwargs []star.Tuple) { return o.args, o.kwargs }

// Frozen reports whether the object may no longer change; methods that change it
// call [Object.Mutable].
func (o *Object) Frozen() bool { return o.frozen }

// Mutable returns an error if the object is frozen; verb says what was tried.
func (o *Object) Mutable(verb string) error {
	if o.frozen {
		return fmt.Errorf("cannot %s a frozen %s", verb, o.class.Full())
	}
	return nil
}

func (o *Object) Type() string     { return o.class.Full() }
func (o *Object) Truth() star.Bool { return true }

// Hash lets objects be keys of dicts; two objects are never equal.
func (o *Object) Hash() (uint32, error) { return uint32(o.pos.Line*31 + o.pos.Col), nil }

// String is what str(x) and "%s" % x give. A user who writes that of a renderable
// meant its value.
func (o *Object) String() string {
	text := o.text()
	if _, ok := o.Value.(prop.Renderable); ok && o.env != nil && o.env.Warn != nil {
		o.env.warnText(text)
	}
	return text
}

// text returns worker.Worker("bot1"): the class, and the name or first text.
func (o *Object) text() string {
	p := o.class.plan
	n, ok := p.byName["name"]
	if !ok && len(p.positional) > 0 {
		n, ok = p.positional[0], true
	}
	if ok {
		if s, isString := star.AsString(argument(p, o.args, o.kwargs, n)); isString {
			return o.class.Full() + "(" + short(strconv.Quote(s)) + ")"
		}
	}
	return o.class.Full() + "(...)"
}

// Freeze freezes the arguments too: they are what the attributes return.
func (o *Object) Freeze() {
	if o.frozen {
		return
	}
	o.frozen = true
	o.args.Freeze()
	for _, kv := range o.kwargs {
		kv[1].Freeze()
	}
}

// Attr returns a method, a computed attribute or the argument of that name.
func (o *Object) Attr(name string) (star.Value, error) {
	if m, ok := o.class.methods[name]; ok {
		return &boundMethod{method: m, self: o}, nil
	}
	if f, ok := o.class.Attrs[name]; ok {
		return f(o)
	}
	n, ok := o.class.plan.byName[name]
	if !ok {
		return o.env.noAttr(o.class.Full(), name, o.AttrNames())
	}
	if v := argument(o.class.plan, o.args, o.kwargs, n); v != nil {
		return v, nil
	}
	field := reflect.ValueOf(o.class.New()).Elem().FieldByIndex(o.class.plan.params[n].index)
	if v, ok := starOf(field); ok {
		return v, nil
	}
	return star.None, nil
}

// AttrNames returns the names of the attributes and methods.
func (o *Object) AttrNames() []string {
	names := o.class.plan.names()
	for n := range o.class.Attrs {
		names = append(names, n)
	}
	for n := range o.class.methods {
		names = append(names, n)
	}
	return names
}

// starOf returns the Starlark value of a field that holds a default.
func starOf(v reflect.Value) (star.Value, bool) {
	if v.Type() == durationType {
		return seconds(time.Duration(v.Int())), true
	}
	if (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) && v.IsNil() {
		return star.None, true
	}
	if m, ok := v.Interface().(interface{ IsSet() bool }); ok {
		if !m.IsSet() {
			return star.None, true
		}
		return starOf(reflect.ValueOf(m).MethodByName("Plain").Call(nil)[0])
	}
	switch v.Kind() {
	case reflect.String:
		return star.String(v.String()), true
	case reflect.Bool:
		return star.Bool(v.Bool()), true
	case reflect.Int, reflect.Int64:
		return star.MakeInt64(v.Int()), true
	case reflect.Float64:
		return star.Float(v.Float()), true
	case reflect.Pointer, reflect.Interface:
		return starOf(v.Elem())
	case reflect.Slice:
		items := make([]star.Value, v.Len())
		for i := range items {
			e, ok := starOf(v.Index(i))
			if !ok {
				return nil, false
			}
			items[i] = e
		}
		return star.NewList(items), true
	case reflect.Map:
		d := star.NewDict(v.Len())
		for _, k := range sortedKeyValues(v) {
			e, ok := starOf(v.MapIndex(k))
			if !ok {
				return nil, false
			}
			d.SetKey(star.String(k.String()), e) // cannot fail: strings hash, d is ours
		}
		return d, true
	}
	return nil, false
}

// seconds returns a duration as users write it: an int if it is whole.
func seconds(d time.Duration) star.Value {
	if d%time.Second == 0 {
		return star.MakeInt64(int64(d / time.Second))
	}
	return star.Float(d.Seconds())
}

// Binary makes a renderable of an expression with operators.
func (o *Object) Binary(op syntax.Token, y star.Value, side star.Side) (star.Value, error) {
	x, ok := o.Value.(prop.Renderable)
	if !ok || o.class.Binary == nil {
		return nil, nil
	}
	if _, ok := y.(*Placeholder); ok {
		return y, nil
	}
	switch op {
	case syntax.PLUS, syntax.MINUS, syntax.STAR, syntax.SLASH, syntax.SLASHSLASH, syntax.PERCENT:
	default:
		return nil, nil
	}
	b := &binding{plan: o.class.plan}
	other, fs := b.renderable(y, anything)
	if fs != nil {
		return nil, fmt.Errorf("%s %s: %s", o.class.Full(), op, fs[0].text)
	}
	left, right := x, other
	if side == star.Right {
		left, right = other, x
	}
	r, err := o.class.Binary(op.String(), left, right)
	if err != nil {
		return nil, err
	}
	return &Object{class: o.class, env: o.env, Value: r, pos: o.pos, chain: o.chain}, nil
}
