package prop

import (
	"context"
	"fmt"
)

// Arguments is implemented by Props that are made for one callback and give it
// other arguments than the properties: doStepIf gets the step, hideStepIf the
// result and the step (docs/requirements.md C4). Only bare functions see it; util.renderer
// always gets the properties.
type Arguments interface {
	Props
	// Arguments returns property values and [Attributes].
	Arguments() []any
}

// A Callback is a Renderable that may be a bare function.
type Callback interface {
	Renderable
	// TakesPlace reports whether it is called with the [Arguments] of its place.
	TakesPlace() bool
}

// Argument renders to one of the [Arguments] of its place, counted from 0: it lets a
// function be called with just these.
type Argument int

// Render implements Renderable.
func (n Argument) Render(_ context.Context, p Props) (any, error) {
	if a, ok := p.(Arguments); ok && int(n) < len(a.Arguments()) {
		return a.Arguments()[n], nil
	}
	return nil, fmt.Errorf("argument %d is not given here", n+1)
}

// AppendCanonical implements Renderable.
func (n Argument) AppendCanonical(dst []byte) []byte { return append(dst, 'a', byte(n)) }

// Attributes is a Go thing that a callback sees as an object: step.name.
type Attributes interface {
	// TypeName is what messages call it: "step".
	TypeName() string
	// Attribute returns a property value, other Attributes or a [Method]; ok is false
	// if there is none of that name.
	Attribute(name string) (value any, ok bool)
	AttributeNames() []string
}

// Method is what a callback can call on [Attributes]. Arguments and result are
// property values.
type Method func(ctx context.Context, args []any, kwargs map[string]any) (any, error)

// Printer is implemented by Props that keep what a callback prints: a step writes
// it to its log.
type Printer interface{ Print(text string) }

// PropertyMethod returns getProperty(name, default=None) or hasProperty(name) of
// p, which every object with properties has in Buildbot.
func PropertyMethod(p Props, name string) (m Method, ok bool) {
	switch name {
	case "getProperty":
		return func(_ context.Context, args []any, kwargs map[string]any) (any, error) {
			arg, err := methodArgs("getProperty", args, kwargs, "name", "default")
			if err != nil {
				return nil, err
			}
			key, err := Convert[string](arg[0])
			if err != nil {
				return nil, fmt.Errorf("getProperty: name: %w", err)
			}
			if v, ok := p.Property(key); ok {
				return v, nil
			}
			return arg[1], nil
		}, true
	case "hasProperty":
		return func(_ context.Context, args []any, kwargs map[string]any) (any, error) {
			arg, err := methodArgs("hasProperty", args, kwargs, "name")
			if err != nil {
				return nil, err
			}
			key, err := Convert[string](arg[0])
			if err != nil {
				return nil, fmt.Errorf("hasProperty: name: %w", err)
			}
			_, ok := p.Property(key)
			return ok, nil
		}, true
	}
	return nil, false
}

// methodArgs puts arguments in the order of names; the first is required.
func methodArgs(method string, args []any, kwargs map[string]any, names ...string) ([]any, error) {
	if len(args) > len(names) {
		return nil, fmt.Errorf("%s: %d arguments, at most %d are possible", method, len(args), len(names))
	}
	out := make([]any, len(names))
	given := copy(out, args)
	used := 0
	for i, n := range names {
		v, ok := kwargs[n]
		switch {
		case !ok:
		case i < given:
			return nil, fmt.Errorf("%s: %s is given twice", method, n)
		default:
			out[i], used = v, used+1
		}
	}
	if used < len(kwargs) {
		return nil, fmt.Errorf("%s: unknown argument; the arguments are %v", method, names)
	}
	if _, ok := kwargs[names[0]]; !ok && given == 0 {
		return nil, fmt.Errorf("%s: %s is missing", method, names[0])
	}
	return out, nil
}
