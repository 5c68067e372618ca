package sched

import (
	"buildstar/config/prop"
	"buildstar/state"
)

// changeObject is what a function sees as a change.
type changeObject struct{ c *state.Change }

var changeAttributes = []string{
	"author", "branch", "category", "changeid", "codebase", "comments", "committer", "files", "number", "project",
	"properties", "repository", "revision", "revlink", "when", "when_timestamp", "who",
}

func (o changeObject) TypeName() string         { return "change" }
func (o changeObject) AttributeNames() []string { return changeAttributes }

// Attribute implements prop.Attributes.
func (o changeObject) Attribute(name string) (any, bool) {
	switch name {
	case "author", "who":
		return o.c.Author, true
	case "comments":
		return o.c.Comments, true
	case "committer":
		return textOrNil(o.c.Committer), true
	case "files":
		files := make([]any, len(o.c.Files))
		for i, f := range o.c.Files {
			files[i] = f
		}
		return files, true
	case "number", "changeid":
		return o.c.ID, true
	case "properties":
		return changeProperties(o), true
	case "revision":
		return textOrNil(o.c.Revision), true
	case "revlink":
		return textOrNil(o.c.RevLink), true
	case "when", "when_timestamp":
		return int64(o.c.When) / 1000, true
	}
	return attribute(o.c, name)
}

// attribute returns what a filter can ask of a change: text or nil.
func attribute(c *state.Change, name string) (any, bool) {
	switch name {
	case "branch":
		return textOrNil(c.Branch), true
	case "category":
		return textOrNil(c.Category), true
	case "codebase":
		return c.Codebase, true
	case "project":
		return c.Project, true
	case "repository":
		return c.Repository, true
	}
	return nil, false
}

func textOrNil(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

// changeProperties is change.properties.
type changeProperties struct{ c *state.Change }

func (p changeProperties) TypeName() string         { return "properties" }
func (p changeProperties) AttributeNames() []string { return []string{"getProperty", "hasProperty"} }

// Attribute implements prop.Attributes.
func (p changeProperties) Attribute(name string) (any, bool) {
	if m, ok := prop.PropertyMethod(propertiesOf(p.c), name); ok {
		return m, true
	}
	return nil, false
}

func propertiesOf(c *state.Change) *prop.Map {
	m := &prop.Map{Values: make(map[string]any, len(c.Properties))}
	for name, p := range c.Properties {
		m.Values[name] = p.Value
	}
	return m
}

// about returns the Props of a function that is called with something of a change.
func about(c *state.Change, arg any) prop.Props { return calling{propertiesOf(c), []any{arg}} }
