package util

import (
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// FlattenList is util.FlattenList (docs/requirements.md C3).
var FlattenList = &spec.Class{
	Module: "util", Name: "FlattenList",
	New:         func() any { return &flattenList{} },
	Unsupported: map[string]string{"types": "lists and tuples are flattened, nothing else"},
	Binary:      concatenate,
}

// flattenList is a list whose items that are lists are replaced by their items,
// at any depth. + appends another list.
type flattenList struct {
	// NestedList is the list, or a renderable of one.
	NestedList prop.Renderable `star:"nestedlist"`
}

// Make makes the renderable.
func (f *flattenList) Make(c *spec.Call) any { return prop.FlattenList{List: f.NestedList} }

// concatenate keeps the result of + flat.
func concatenate(op string, x, y prop.Renderable) (prop.Renderable, error) {
	sum, err := prop.Operate(op, x, y)
	if err != nil || op != "+" {
		return sum, err
	}
	return prop.FlattenList{List: sum}, nil
}
