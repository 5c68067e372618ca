package steps

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// SetProperties is steps.SetProperties (docs/requirements.md C4).
var SetProperties = class("SetProperties", func() any { return &setProperties{Base: base("SetProperties", "SetProperties")} })

// setProperties sets properties of the build.
type setProperties struct {
	Base
	// Properties are the properties by name; a function gets the properties that are set
	// and returns such a dict.
	Properties prop.Template[map[string]any] `star:"properties,optional"`
}

// Make makes the step.
func (s *setProperties) Make(c *spec.Call) any {
	s.check(c)
	return s
}

// Run implements run.Step.
func (s *setProperties) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	values, err := run.Render(ctx, r, "properties", s.Properties)
	if err != nil {
		return config.Exception, err
	}
	text := fmt.Sprintf("%d properties set", len(values))
	r.Describe("setting properties", text)
	return config.Success, setAll(r, values, r.StepName())
}

// setAll sets properties, in the order of their names.
func setAll(r *run.Running, values map[string]any, source string) error {
	if _, ok := values[""]; ok {
		return fmt.Errorf("set properties: the name of one is empty")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		r.SetProperty(name, values[name], source)
	}
	return nil
}
