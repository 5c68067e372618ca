package util

import (
	star "go.starlark.net/starlark"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Transform is util.Transform (docs/requirements.md C3).
var Transform = &spec.Class{
	Module: "util", Name: "Transform",
	New:     func() any { return &transform{} },
	Methods: comparisons(), Binary: operate,
}

// transform calls a function with rendered arguments when a build needs the
// value; the result renders again.
type transform struct {
	// Function gets Args and Kwargs.
	Function star.Callable `star:"function"`
	// Args are the function's arguments; they may be renderables.
	Args []prop.Renderable `star:"*"`
	// Kwargs are its keyword arguments.
	Kwargs map[string]prop.Renderable `star:"**"`
}

// Make makes the renderable.
func (t *transform) Make(c *spec.Call) any {
	return c.Function(spec.Function{Callable: t.Function, First: spec.FirstNothing, Args: t.Args, Kwargs: t.Kwargs})
}
