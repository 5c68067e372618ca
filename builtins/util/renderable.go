package util

import (
	star "go.starlark.net/starlark"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// operand is the other side of a comparison.
type operand struct {
	// Other is a value or a renderable.
	Other prop.Renderable `star:"other"`
}

// comparisons are methods of every renderable. Starlark's == and < always give
// True or False at once, so they cannot make a renderable:
// util.Property("branch").eq("main") says what Buildbot writes with ==.
func comparisons() []spec.Method {
	var ms []spec.Method
	for _, m := range []struct{ name, op string }{
		{"eq", "=="}, {"ne", "!="}, {"lt", "<"}, {"le", "<="}, {"gt", ">"}, {"ge", ">="}, {"in_", "in"},
	} {
		ms = append(ms, spec.Method{
			Name: m.name,
			New:  func() any { return &operand{} },
			Call: func(c *spec.Call, self *spec.Object, params any) (any, error) {
				r, err := operate(m.op, self.Value.(prop.Renderable), params.(*operand).Other)
				if err != nil {
					return nil, err
				}
				return c.Object(self.Class(), r), nil
			},
		})
	}
	return ms
}

// operate is the Binary of classes: + - * / // and % make renderables.
func operate(op string, x, y prop.Renderable) (prop.Renderable, error) {
	return prop.Operate(op, x, y)
}

// urlForBuild has no parameters: util.URLForBuild is a value.
type urlForBuild struct{}

// URLForBuild is util.URLForBuild, the address of the build's page (docs/requirements.md
// C3). It is used as it is, not called.
var URLForBuild = func() *spec.Object {
	class := &spec.Class{
		Module: "util", Name: "URLForBuild", New: func() any { return &urlForBuild{} },
		Methods: comparisons(), Binary: operate,
	}
	o := new(spec.Call).Object(class, prop.URLForBuild{})
	o.Freeze()
	return o
}()

var _ star.Value = URLForBuild
