package util

import (
	"buildstar/config"
	"buildstar/starlark/spec"
)

// InstanceCap is util.InstanceCap (docs/requirements.md D1 pain 2).
var InstanceCap = &spec.Class{
	Module: "util", Name: "InstanceCap",
	New: func() any { return &instanceCap{} },
}

// instanceCap limits the instances of all latent workers whose caps name it, taken
// together. A start that would exceed it waits, and the request says so.
type instanceCap struct {
	// Name identifies the cap. Workers that give the same name share it, and must give the
	// same limits.
	Name string `star:"name"`
	// MaxInstances is how many instances may exist at a time; 0, the default, is no limit.
	MaxInstances int `star:"max_instances,optional,kw" min:"0"`
	// HoursPerDay is how many hours of instances any 24 hours may have; 0, the default, is
	// no limit. What runs already is not stopped.
	HoursPerDay float64 `star:"hours_per_day,optional,kw" min:"0"`
}

// Make makes the cap.
func (i *instanceCap) Make(c *spec.Call) any {
	if i.Name == "" {
		c.Problem("bad-name", "name", "the name is empty", "")
	}
	if i.MaxInstances == 0 && i.HoursPerDay == 0 {
		c.Problem("missing-parameter", "", "it limits nothing", "give max_instances, hours_per_day or both")
	}
	return &config.InstanceCap{Name: i.Name, MaxInstances: i.MaxInstances, HoursPerDay: i.HoursPerDay}
}
