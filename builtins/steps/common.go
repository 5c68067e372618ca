package steps

import (
	"fmt"
	"maps"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// Given holds the arguments that every step has.
type Given struct {
	run.Common `star:",kw"`
}

// Base is what the step of a class embeds. It is all of run.Step but Run.
type Base struct {
	Given
	Class string // the name of the class
}

// Type, Pos and Common implement run.Step.
func (b *Base) Type() string        { return b.Class }
func (b *Base) Pos() prop.Pos       { return b.Where }
func (b *Base) Common() *run.Common { return &b.Given.Common }

// base returns the defaults of a class whose steps have this name.
func base(class, name string) Base {
	return Base{Class: class, Given: Given{run.Common{Name: prop.Of(name), FlunkOnFailure: true}}}
}

// halting is base for a class with haltOnFailure.
func halting(class, name string) Base {
	b := base(class, name)
	b.HaltOnFailure = true
	return b
}

// class declares a class of steps.
func class(name string, newStep func() any) *spec.Class {
	return &spec.Class{Module: "steps", Name: name, New: newStep, Unsupported: inert(nil)}
}

// inert are the arguments that no step has yet, and those of own.
func inert(own map[string]string) map[string]string {
	all := map[string]string{
		"logEncoding":     "workers send UTF-8; bytes that are none become U+FFFD",
		"progressMetrics": "it would have no effect",
		"useProgress":     "it would have no effect",
	}
	maps.Copy(all, own)
	return all
}

// notEmpty reports a plain text that is empty.
func notEmpty(c *spec.Call, param string, t prop.Template[string]) {
	if v, plain := t.Plain(); plain && t.IsSet() && v == "" {
		c.Problem("bad-value", param, "it is empty", "")
	}
}

// check checks what the types of the common arguments do not say.
func (b *Base) check(c *spec.Call) {
	common := b.Common()
	if name, plain := common.Name.Plain(); plain && name == "" {
		c.Problem("bad-name", "name", "the name is empty", "leave it out for the default")
	}
	switch p := common.UpdateBuildSummaryPolicy.(type) {
	case nil, bool:
	case []any:
		for i, v := range p {
			if n, ok := v.(int64); !ok || n < int64(config.Success) || n > int64(config.Cancelled) {
				c.Problem("bad-value", "updateBuildSummaryPolicy",
					fmt.Sprintf("item %d: want a result, got %s", i+1, prop.Describe(v)), "write [util.FAILURE, util.WARNINGS]")
			}
		}
	default:
		c.Problem("wrong-type", "updateBuildSummaryPolicy",
			"want True, False or a list of results, got "+prop.Describe(p), "write [util.FAILURE, util.WARNINGS]")
	}
}

// Logfile is one file of a logfiles argument.
type Logfile struct {
	Filename string
	Follow   bool
}

// TypeName is what messages call it.
func (Logfile) TypeName() string { return "path or dict with filename and follow" }

// FromValue reads a path, or a dict with filename and follow.
func (l *Logfile) FromValue(v any) error {
	switch v := v.(type) {
	case string:
		l.Filename = v
		return nil
	case map[string]any:
		for key, e := range v {
			var ok bool
			switch key {
			case "filename":
				l.Filename, ok = e.(string)
			case "follow":
				l.Follow, ok = e.(bool)
			default:
				return fmt.Errorf(`%q is unknown; a log file has "filename" and "follow"`, key)
			}
			if !ok {
				return fmt.Errorf("%s: unexpected %s", key, prop.Describe(e))
			}
		}
		if l.Filename == "" {
			return fmt.Errorf(`"filename" is missing`)
		}
		return nil
	}
	return fmt.Errorf("want a path or a dict with filename and follow, got %s", prop.Describe(v))
}
