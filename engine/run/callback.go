package run

import (
	"buildstar/config"
	"buildstar/config/prop"
)

// callback is the Props of doStepIf and hideStepIf: their functions get the step,
// not the properties (docs/requirements.md C4).
type callback struct {
	*Running
	args []any
}

var _ prop.Arguments = callback{}

// Arguments implements prop.Arguments.
func (c callback) Arguments() []any { return c.args }

// Print implements prop.Printer: what a function of the user prints while the step
// runs goes to the step's log "print".
func (r *Running) Print(text string) {
	if r.printed == nil {
		l, err := r.AddLog("print", "t")
		if err != nil {
			return
		}
		r.printed = l
	}
	if err := r.printed.Write('t', text); err != nil {
		r.b.o.Logger.Warn("write what a function printed", "build", r.b.o.Row.ID, "step", r.name, "error", err)
	}
}

// stepObject is what a function sees as step.
type stepObject struct{ r *Running }

var stepAttributes = []string{
	"alwaysRun", "build", "flunkOnFailure", "flunkOnWarnings", "getProperty", "haltOnFailure", "hasProperty",
	"name", "number", "results", "warnOnFailure", "warnOnWarnings", "workername",
}

func (s stepObject) TypeName() string         { return "step" }
func (s stepObject) AttributeNames() []string { return stepAttributes }

// Attribute implements prop.Attributes.
func (s stepObject) Attribute(name string) (any, bool) {
	c := s.r.step.Common()
	switch name {
	case "name":
		return s.r.name, true
	case "number":
		return s.r.StepNumber(), true
	case "results":
		return resultValue(s.r.result), true
	case "workername":
		return s.r.b.o.Worker.Name, true
	case "build":
		return buildObject(s), true
	case "alwaysRun":
		return c.AlwaysRun, true
	case "haltOnFailure":
		return c.HaltOnFailure, true
	case "flunkOnFailure":
		return c.FlunkOnFailure, true
	case "flunkOnWarnings":
		return c.FlunkOnWarnings, true
	case "warnOnFailure":
		return c.WarnOnFailure, true
	case "warnOnWarnings":
		return c.WarnOnWarnings, true
	}
	return method(s.r, name)
}

// buildObject is what a function sees as step.build.
type buildObject struct{ r *Running }

func (b buildObject) TypeName() string { return "build" }
func (b buildObject) AttributeNames() []string {
	return []string{"buildername", "getProperty", "hasProperty", "number", "reason", "results", "workername"}
}

// Attribute implements prop.Attributes. results is that of the steps so far.
func (b buildObject) Attribute(name string) (any, bool) {
	switch name {
	case "number":
		return b.r.BuildNumber(), true
	case "results":
		return resultValue(b.r.BuildResult()), true
	case "reason":
		return b.r.b.o.Buildset.Reason, true
	case "buildername":
		return b.r.b.o.Builder.Name, true
	case "workername":
		return b.r.b.o.Worker.Name, true
	}
	return method(b.r, name)
}

func method(r *Running, name string) (any, bool) {
	if m, ok := prop.PropertyMethod(r, name); ok {
		return m, true
	}
	return nil, false
}

func resultValue(r config.Result) any {
	if r == config.Unfinished {
		return nil
	}
	return int64(r)
}
