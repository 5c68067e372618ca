package util

import (
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Interpolate is util.Interpolate (docs/requirements.md C3).
var Interpolate = &spec.Class{
	Module: "util", Name: "Interpolate",
	New:     func() any { return &interpolate{} },
	Methods: comparisons(), Binary: operate,
}

// interpolate is a string that is filled in when a build needs it:
// util.Interpolate("%(prop:branch)s-%(src::revision:-none)s").
type interpolate struct {
	// Format is the string. A conversion is %(SELECTOR:KEY)s: prop:NAME, src:CODEBASE:ATTRIBUTE,
	// worker:FACT, secret:NAME or kw:NAME. The key may be followed by :-TEXT (for a missing
	// value), :~TEXT (for a missing or false one), :+TEXT (instead of a present one), :?|YES|NO or
	// :#?|YES|NO (present or true, with any delimiter).
	Format string `star:"fmtstring"`
	// Args fill in conversions without a key, such as %s. They may be renderables.
	Args []prop.Renderable `star:"*"`
	// Kwargs are what %(kw:NAME)s stands for. They exclude Args.
	Kwargs map[string]prop.Renderable `star:"**"`
}

// Make parses the string.
func (i *interpolate) Make(c *spec.Call) any {
	in, err := prop.Interpolate(i.Format, i.Args, i.Kwargs)
	if err != nil {
		c.Problem("bad-interpolation", "fmtstring", err.Error(), "")
		return nil
	}
	return in
}
