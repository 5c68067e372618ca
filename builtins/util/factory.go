package util

import (
	"fmt"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// BuildFactory is util.BuildFactory (docs/requirements.md C4, C11).
var BuildFactory = &spec.Class{
	Module: "util", Name: "BuildFactory",
	New:     func() any { return &factory{Workdir: prop.Of("build")} },
	Partial: true,
	Attrs: map[string]func(*spec.Object) (star.Value, error){
		"steps": func(o *spec.Object) (star.Value, error) {
			l := star.NewList(append([]star.Value(nil), o.Value.(*factory).values...))
			l.Freeze() // a copy: appending to it would change nothing
			return l, nil
		},
	},
	Methods: []spec.Method{
		{Name: "addStep", Partial: true, New: func() any { return &addStep{} }, Call: func(c *spec.Call, self *spec.Object, params any) (any, error) {
			return nil, self.Value.(*factory).add(c, self, "step", star.Tuple{params.(*addStep).Step})
		}},
		{Name: "addSteps", Partial: true, New: func() any { return &addSteps{} }, Call: func(c *spec.Call, self *spec.Object, params any) (any, error) {
			return nil, self.Value.(*factory).add(c, self, "steps", params.(*addSteps).Steps)
		}},
		{Name: "withSecrets", Unsupported: "it hands secrets to steps as files"},
	},
}

// factory is the list of steps of a build. Several builders may share one.
type factory struct {
	// Steps are the steps, in order. addStep and addSteps append to them.
	Steps stepList `star:"steps,optional"`
	// Workdir is the directory of steps that name none, below the builder's directory
	// on the worker. The default is "build".
	Workdir prop.Template[string] `star:"workdir,optional,kw"`

	node   config.Factory
	values []star.Value // of node.Steps, for the attribute
}

// addStep appends a step.
type addStep struct {
	// Step is the step.
	Step star.Value `star:"step"`
}

// addSteps appends steps.
type addSteps struct {
	// Steps are the steps, in order.
	Steps stepList `star:"steps"`
}

// stepList is checked by append, so that the good steps of a list stay.
type stepList []star.Value

// TypeName is what messages call it.
func (stepList) TypeName() string { return "list of steps" }

// Make makes the factory, which is not finished before the file is.
func (f *factory) Make(c *spec.Call) any {
	f.node = config.Factory{At: config.At{Where: c.Pos()}, Workdir: f.Workdir}
	f.append(c, "steps", f.Steps)
	return f
}

// AppendCanonical appends the content of the factory as it is now.
func (f *factory) AppendCanonical(dst []byte) []byte {
	sum := config.Hash(&f.node)
	return append(dst, sum[:]...)
}

func (f *factory) add(c *spec.Call, self *spec.Object, param string, steps []star.Value) error {
	if err := self.Mutable("add steps to"); err != nil {
		return err
	}
	f.append(c, param, steps)
	return nil
}

// append appends those of steps that are steps, and reports the others.
func (f *factory) append(c *spec.Call, param string, steps []star.Value) {
	for i, v := range steps {
		switch v := v.(type) {
		case *spec.Placeholder: // reported where it was made
			continue
		case *spec.Object:
			if step, ok := v.Value.(config.Step); ok {
				f.node.Steps = append(f.node.Steps, step)
				f.values = append(f.values, v)
				continue
			}
		}
		text, hint := "want a step, got "+spec.Got(v), ""
		switch v := v.(type) {
		case star.Callable:
			hint = "call it: " + v.Name() + "(...)"
		case star.String:
			hint = fmt.Sprintf("write steps.ShellCommand(command = %s)", spec.Short(v.String()))
		case star.Indexable:
			hint = "lists of steps do not nest; addSteps takes a list"
		}
		if param == "steps" {
			text = fmt.Sprintf("item %d: %s", i+1, text)
		}
		c.Problem("wrong-type", param, text, hint)
	}
}
