package util

import (
	"maps"
	"slices"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Renderer is util.renderer (docs/requirements.md C3). Starlark has no decorators:
// write name = util.renderer(_name) after the function.
var Renderer = &spec.Class{
	Module: "util", Name: "renderer",
	New: func() any { return &renderer{} },
	Methods: append(comparisons(), spec.Method{
		Name: "withArgs",
		New:  func() any { return &withArgs{} },
		Call: func(c *spec.Call, self *spec.Object, params any) (any, error) {
			r, ok := self.Value.(*rendered)
			if !ok { // the result of an operator
				c.Problem("wrong-type", "", "only util.renderer(f) has arguments", "call withArgs before the operator")
				return nil, nil
			}
			more := params.(*withArgs)
			kwargs := maps.Clone(more.Kwargs)
			for k, v := range r.kwargs {
				if _, ok := kwargs[k]; !ok {
					kwargs = set(kwargs, k, v)
				}
			}
			return c.Object(self.Class(), newRendered(c, r.function, slices.Concat(r.args, more.Args), kwargs)), nil
		},
	}),
	Binary: operate,
}

func set(m map[string]prop.Renderable, k string, v prop.Renderable) map[string]prop.Renderable {
	if m == nil {
		m = make(map[string]prop.Renderable)
	}
	m[k] = v
	return m
}

// renderer makes a renderable of a function: it is called with the properties
// when a build needs the value, and what it returns renders again.
type renderer struct {
	// Function gets the properties: props.getProperty("branch").
	Function star.Callable `star:"fn"`
}

// withArgs gives the function more arguments after the properties.
type withArgs struct {
	// Args follow the properties; they may be renderables. A second withArgs adds to
	// the first.
	Args []prop.Renderable `star:"*"`
	// Kwargs are keyword arguments. Those of a second withArgs win.
	Kwargs map[string]prop.Renderable `star:"**"`
}

// Make makes the renderable.
func (r *renderer) Make(c *spec.Call) any { return newRendered(c, r.Function, nil, nil) }

// rendered is the renderable, with what withArgs needs to make another.
type rendered struct {
	prop.Renderable
	function star.Callable
	args     []prop.Renderable
	kwargs   map[string]prop.Renderable
}

func newRendered(c *spec.Call, f star.Callable, args []prop.Renderable, kwargs map[string]prop.Renderable) *rendered {
	r := c.Function(spec.Function{Callable: f, First: spec.FirstProps, Args: args, Kwargs: kwargs})
	return &rendered{r, f, args, kwargs}
}
