package util

import (
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Property is util.Property (docs/requirements.md C3).
var Property = &spec.Class{
	Module: "util", Name: "Property",
	New:     func() any { return &property{DefaultWhenFalse: true} },
	Methods: comparisons(), Binary: operate,
}

// property is the value of a property of the build.
type property struct {
	// Key is the name of the property.
	Key string `star:"key"`
	// Default stands for a property that is not set; it may be a renderable. The
	// default is None.
	Default prop.Renderable `star:"default,optional"`
	// DefaultWhenFalse makes Default also stand for a value that is False, 0 or empty.
	// That is the default.
	DefaultWhenFalse bool `star:"defaultWhenFalse,optional"`
}

// Make makes the renderable.
func (p *property) Make(c *spec.Call) any {
	if p.Key == "" {
		c.Problem("bad-name", "key", "the name of the property is empty", "")
	}
	return &prop.Property{Name: p.Key, Default: p.Default, DefaultWhenFalse: p.DefaultWhenFalse}
}
