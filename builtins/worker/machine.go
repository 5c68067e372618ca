package worker

import (
	"buildstar/config"
	"buildstar/starlark/spec"
)

// Machine is worker.Machine (docs/requirements.md B11).
var Machine = &spec.Class{
	Module: "worker", Name: "Machine",
	New: func() any { return &machine{} },
}

// machine is a computer that several workers share; c['machines'] lists them, and the
// machine_name of a worker names its own.
type machine struct {
	// Name identifies the machine.
	Name string `star:"name"`
}

// Make makes the node.
func (m *machine) Make(c *spec.Call) any {
	if m.Name == "" {
		c.Problem("bad-name", "name", "the name is empty", "")
	}
	return &config.Machine{At: config.At{Where: c.Pos()}, Name: m.Name}
}
