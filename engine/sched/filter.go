package sched

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"buildstar/config/prop"
	"buildstar/state"
)

// The ways in which a [Test] compares.
const (
	Is         = "is"          // one of the values
	IsNot      = "is not"      // none of the values
	Matches    = "matches"     // begins with a match of one of the patterns
	MatchesNot = "matches not" // begins with a match of none
	Function   = "function"    // Fn says so
)

// Filter says which changes are wanted (docs/requirements.md C7): those for which every
// test holds. It is part of the configuration and never changes.
type Filter struct {
	Tests []Test
	Fn    prop.Template[bool] // gets the change; not set: true
}

// A Test looks at one field, or property, of a change.
type Test struct {
	Field    string // branch, category, codebase, project or repository
	Property string // if Field is ""; one that is not set counts as ""
	How      string
	Values   []any               // of Is and IsNot; nil is None
	Patterns []Pattern           // of Matches and MatchesNot
	Fn       prop.Template[bool] // of Function; gets the value
}

// Pattern is a regular expression that a text must begin with.
type Pattern struct {
	Text string
	re   *regexp.Regexp
}

// NewPattern compiles a pattern.
func NewPattern(text string) (Pattern, error) {
	if _, err := regexp.Compile(text); err != nil {
		return Pattern{}, err
	}
	re, err := regexp.Compile(`\A(?:` + text + `)`)
	return Pattern{text, re}, err
}

// Match reports whether a change is wanted; a nil filter wants all. The error is one of
// a function of the user.
func (f *Filter) Match(ctx context.Context, c *state.Change) (bool, error) {
	if f == nil {
		return true, nil
	}
	for i := range f.Tests {
		if t := &f.Tests[i]; t.How != Function && !t.holds(c) {
			return false, nil
		}
	}
	for i := range f.Tests {
		if t := &f.Tests[i]; t.How == Function {
			if ok, err := t.Fn.Render(ctx, about(c, t.value(c))); err != nil || !ok {
				return false, explain(err, t.Field+"_fn")
			}
		}
	}
	if !f.Fn.IsSet() {
		return true, nil
	}
	ok, err := f.Fn.Render(ctx, about(c, changeObject{c}))
	return ok, explain(err, "filter_fn")
}

func explain(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("call %s: %w", what, err)
}

func (t *Test) value(c *state.Change) any {
	if t.Field != "" {
		v, _ := attribute(c, t.Field)
		return v
	}
	if p, ok := c.Properties[t.Property]; ok {
		return p.Value
	}
	return ""
}

// holds is Match for a test without a function.
func (t *Test) holds(c *state.Change) bool {
	v := t.value(c)
	switch t.How {
	case Is, IsNot:
		return slices.ContainsFunc(t.Values, func(w any) bool { return prop.Equal(v, w) }) == (t.How == Is)
	}
	text := prop.Str(v)
	found := v != nil && slices.ContainsFunc(t.Patterns, func(p Pattern) bool { return p.re.MatchString(text) })
	return found == (t.How == Matches)
}
