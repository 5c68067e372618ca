package call

import (
	"context"
	"fmt"
	"maps"
	"slices"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// A scope is one call: it makes Starlark values of Go ones, frozen, and ends with
// the call.
type scope struct {
	ctx   context.Context
	props prop.Props
	env   *spec.Env
}

func (s scope) tuple(args []any) star.Tuple {
	t := make(star.Tuple, len(args))
	for i, a := range args {
		t[i] = s.value(a)
	}
	return t
}

func (s scope) pairs(kwargs map[string]any) []star.Tuple {
	pairs := make([]star.Tuple, 0, len(kwargs))
	for _, name := range slices.Sorted(maps.Keys(kwargs)) {
		pairs = append(pairs, star.Tuple{star.String(name), s.value(kwargs[name])})
	}
	return pairs
}

func (s scope) value(v any) star.Value {
	switch v := v.(type) {
	case properties:
		return &object{s, propertiesAttributes{v.Props, s}, v.Props}
	case prop.Attributes:
		return &object{s, v, nil}
	case prop.Method:
		return s.method("method", v)
	case []any: // of which any may be an object
		l := star.NewList(s.tuple(v))
		l.Freeze()
		return l
	}
	out := spec.Star(v)
	out.Freeze()
	return out
}

// properties marks that the argument is the properties themselves.
type properties struct{ prop.Props }

// propertiesAttributes is what callbacks can do with properties. Props that are
// [prop.Attributes] too have these as well.
type propertiesAttributes struct {
	prop.Props
	scope scope
}

func (p propertiesAttributes) TypeName() string { return "properties" }

func (p propertiesAttributes) AttributeNames() []string {
	names := []string{"getProperty", "hasProperty", "render"}
	if more, ok := p.Props.(prop.Attributes); ok {
		names = append(names, more.AttributeNames()...)
	}
	return names
}

func (p propertiesAttributes) Attribute(name string) (any, bool) {
	if m, ok := prop.PropertyMethod(p.Props, name); ok {
		return m, true
	}
	if more, ok := p.Props.(prop.Attributes); ok {
		return more.Attribute(name)
	}
	return nil, false
}

// An object is Go attributes as a Starlark value. It lives as long as the call.
type object struct {
	scope scope
	of    prop.Attributes
	props prop.Props // not nil for the properties: props["x"], "x" in props
}

var (
	_ star.HasAttrs = (*object)(nil)
	_ star.Mapping  = (*object)(nil)
)

func (o *object) String() string        { return "<" + o.of.TypeName() + ">" }
func (o *object) Type() string          { return o.of.TypeName() }
func (o *object) Freeze()               {}
func (o *object) Truth() star.Bool      { return true }
func (o *object) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", o.of.TypeName()) }
func (o *object) AttrNames() []string   { return o.of.AttributeNames() }

// Attr returns an attribute, or a method as a builtin.
func (o *object) Attr(name string) (star.Value, error) {
	if o.props != nil && name == "render" {
		return star.NewBuiltin("render", o.scope.render), nil
	}
	v, ok := o.of.Attribute(name)
	if !ok {
		return nil, nil
	}
	if m, ok := v.(prop.Method); ok {
		return o.scope.method(name, m), nil
	}
	return o.scope.value(v), nil
}

// Get returns a property; an object that is not the properties has none.
func (o *object) Get(k star.Value) (star.Value, bool, error) {
	if o.props == nil {
		return nil, false, fmt.Errorf("a %s has no items", o.of.TypeName())
	}
	name, ok := star.AsString(k)
	if !ok {
		return nil, false, fmt.Errorf("the name of a property is a string, not %s", k.Type())
	}
	v, ok := o.props.Property(name)
	if !ok {
		return nil, false, nil
	}
	return o.scope.value(v), true, nil
}

func (s scope) method(name string, m prop.Method) star.Value {
	return star.NewBuiltin(name, func(_ *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		goArgs := make([]any, len(args))
		for i, a := range args {
			v, err := s.plain(a)
			if err != nil {
				return nil, fmt.Errorf("%s: argument %d: %w", name, i+1, err)
			}
			goArgs[i] = v
		}
		goKwargs := make(map[string]any, len(kwargs))
		for _, kv := range kwargs {
			k := string(kv[0].(star.String))
			v, err := s.plain(kv[1])
			if err != nil {
				return nil, fmt.Errorf("%s: argument %s: %w", name, k, err)
			}
			goKwargs[k] = v
		}
		v, err := m(s.ctx, goArgs, goKwargs)
		if err != nil {
			return nil, err
		}
		return s.value(v), nil
	})
}

// plain returns an argument as a property value, rendered if it needs that.
func (s scope) plain(v star.Value) (any, error) {
	r, err := s.env.Value(v)
	if err != nil {
		return nil, err
	}
	return r.Render(s.ctx, s.props)
}

// render is props.render(x).
func (s scope) render(_ *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	var x star.Value
	if err := star.UnpackPositionalArgs(b.Name(), args, kwargs, 1, &x); err != nil {
		return nil, err
	}
	v, err := s.plain(x)
	if err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	return s.value(v), nil
}
