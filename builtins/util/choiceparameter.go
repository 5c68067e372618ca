package util

import (
	"fmt"
	"slices"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// BooleanParameter is util.BooleanParameter (docs/requirements.md C6).
var BooleanParameter = &spec.Class{
	Module: "util", Name: "BooleanParameter",
	New: func() any { return &booleanParameter{} },
	Unsupported: map[string]string{
		"debug": "", "regex": "a box is ticked or not", "multiple": "a box is ticked or not", "maxsize": "a box is ticked or not",
	},
}

// booleanParameter is a box to tick.
type booleanParameter struct {
	// Name is the property that gets True or False.
	Name string `star:"name"`
	shown
	// Required refuses a request that does not say either.
	Required bool `star:"required,optional,kw"`
	// AutoPopulate says what ticking fills into other fields, as for a
	// util.StringParameter.
	AutoPopulate map[string]map[string]any `star:"autopopulate,optional,kw"`
	// Default is what a request gets that does not say; the default is False.
	Default bool `star:"default,optional,kw"`
}

// Make makes the parameter.
func (b *booleanParameter) Make(c *spec.Call) any {
	p := b.parameter(c, sched.TypeBool, b.Name)
	p.Required, p.Default = b.Required, b.Default
	if b.AutoPopulate != nil {
		p.AutoPopulate = b.AutoPopulate
	}
	return p
}

// FixedParameter is util.FixedParameter (docs/requirements.md C6).
var FixedParameter = &spec.Class{
	Module: "util", Name: "FixedParameter",
	New: func() any { return &fixedParameter{shown: shown{look: look{Hide: true}}} },
	Unsupported: map[string]string{
		"debug": "", "regex": notAsked, "multiple": notAsked, "maxsize": notAsked, "required": notAsked, "autopopulate": notAsked,
	},
}

const notAsked = "nobody is asked for a fixed value"

// fixedParameter is a property that always has the same value. It is hidden
// unless hide=False.
type fixedParameter struct {
	// Name is the property that gets the value.
	Name string `star:"name"`
	shown
	// Default is the value, of any type. The default is "".
	Default any `star:"default,optional,kw"`
}

// Make makes the parameter.
func (f *fixedParameter) Make(c *spec.Call) any {
	p := f.parameter(c, sched.TypeFixed, f.Name)
	p.Default = defaultOf(false, f.Default, "")
	return p
}

// ChoiceStringParameter is util.ChoiceStringParameter (docs/requirements.md C6).
var ChoiceStringParameter = &spec.Class{
	Module: "util", Name: "ChoiceStringParameter",
	New:         func() any { return &choiceStringParameter{Strict: true} },
	Unsupported: noDebug,
}

// choiceStringParameter asks for one of several texts, or for some if Multiple.
type choiceStringParameter struct {
	// Name is the property that gets the value.
	Name string `star:"name"`
	shown
	asked
	// Default stands for a blank field: a string, or a list if Multiple. The default
	// is the first choice if the choices are Strict, and "" if not; an empty list if
	// Multiple.
	Default any `star:"default,optional,kw"`
	// Choices are the texts to choose from.
	Choices []string `star:"choices,kw" nofunc:"1"`
	// Strict refuses every other text; the default is True.
	Strict bool `star:"strict,optional,kw"`
}

// Make makes the parameter.
func (s *choiceStringParameter) Make(c *spec.Call) any {
	p := s.parameter(c, sched.TypeList, s.Name)
	p.Choices, p.Strict = s.Choices, s.Strict
	var first any = ""
	if s.Strict {
		if len(s.Choices) == 0 {
			c.Problem("bad-value", "choices", "there is nothing to choose from", "add choices, or strict=False to accept any text")
			return p
		}
		first = s.Choices[0]
	}
	s.apply(c, p, s.Default, first)
	if checkDefault[string](c, p, "string") && s.Strict && s.Default != nil {
		checkChoices(c, s.Default, s.Choices)
	}
	return p
}

// checkChoices reports defaults that nobody could choose.
func checkChoices(c *spec.Call, def any, choices []string) {
	list, ok := def.([]any)
	if !ok {
		list = []any{def}
	}
	for _, v := range list {
		if s := v.(string); !slices.Contains(choices, s) {
			c.Problem("bad-value", "default", fmt.Sprintf("%q is not among the choices", s), didYouMean(prop.Nearest(s, choices)))
		}
	}
}

func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", near)
}
