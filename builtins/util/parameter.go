package util

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// shown is what every parameter of a force form has (docs/requirements.md C6,
// BaseParameter).
type shown struct {
	// Label is shown beside the field; the default is the name.
	Label *string `star:"label,optional"`
	// TabLabel is shown on the field's tab; the default is the label.
	TabLabel *string `star:"tablabel,optional"`
	look
}

// look is what can only be given by name.
type look struct {
	// Hide leaves the field out of the page; its default then counts.
	Hide bool `star:"hide,optional,kw"`
	// Tooltip explains the field.
	Tooltip string `star:"tooltip,optional,kw"`
}

// asked is what parameters have that a person fills in.
type asked struct {
	// Regex is what a value must begin with a match of, the default too. Its syntax is
	// that of Go and RE2, without look-around and back-references.
	Regex string `star:"regex,optional"`
	// Required refuses the form if the field is blank.
	Required bool `star:"required,optional,kw"`
	// Multiple makes the value a list.
	Multiple bool `star:"multiple,optional,kw"`
	// MaxSize is how many characters a value may have; None is no limit.
	MaxSize int64 `star:"maxsize,optional,kw" min:"1"`
	// AutoPopulate says what choosing a value fills into other fields: a dict from
	// the value to a dict from full names to values.
	AutoPopulate map[string]map[string]any `star:"autopopulate,optional,kw"`
}

// noDebug is an argument of every parameter in Buildbot.
var noDebug = map[string]string{"debug": ""}

// reservedNames are what a force request says besides the fields.
var reservedNames = []string{"owner", "builderNames", "builderid"}

func checkParameterName(c *spec.Call, name string) {
	switch {
	case name == "":
		c.Problem("bad-name", "name", "the name is empty", "the value becomes the property of this name")
	case slices.Contains(reservedNames, name):
		c.Problem("bad-name", "name", fmt.Sprintf("%q is reserved", name), "choose another name")
	}
}

// parameter starts a parameter.
func (s *shown) parameter(c *spec.Call, kind, name string) *sched.Parameter {
	checkParameterName(c, name)
	p := &sched.Parameter{Type: kind, Name: name, Label: name, Hide: s.Hide, Tooltip: s.Tooltip}
	if s.Label != nil {
		p.Label = *s.Label
	}
	p.TabLabel = p.Label
	if s.TabLabel != nil {
		p.TabLabel = *s.TabLabel
	}
	return p
}

// apply fills in what was asked for, and the default: def is what a field has
// that was given none.
func (a *asked) apply(c *spec.Call, p *sched.Parameter, given, def any) {
	p.Required, p.Multiple, p.MaxSize = a.Required, a.Multiple, a.MaxSize
	if a.AutoPopulate != nil {
		p.AutoPopulate = a.AutoPopulate
	}
	if _, err := regexp.Compile(a.Regex); err != nil {
		c.Problem("bad-regex", "regex", strings.TrimPrefix(err.Error(), "error parsing regexp: "), "look-around and back-references are not possible here")
	} else {
		p.Regex = a.Regex
	}
	p.Default = defaultOf(a.Multiple, given, def)
}

// defaultOf returns the default of a parameter; one that is Multiple has a list.
func defaultOf(multiple bool, given, def any) any {
	_, isList := given.([]any)
	switch {
	case given == nil && multiple:
		return []any{}
	case given == nil:
		return def
	case multiple && !isList:
		return []any{given}
	}
	return given
}

// checkDefault reports a default that is not of type T, or not a list of T.
func checkDefault[T any](c *spec.Call, p *sched.Parameter, want string) (ok bool) {
	values, ok := []any{p.Default}, true
	if p.Multiple {
		values, ok = p.Default.([]any)
	}
	for _, v := range values {
		if _, isT := v.(T); !isT {
			ok = false
		}
	}
	if !ok {
		c.Problem("wrong-type", "default", fmt.Sprintf("want %s, got %s", want, describe(p.Default)), "")
	}
	return ok
}
