package sched

import (
	"maps"
	"slices"

	"buildstar/config/prop"
	"buildstar/state"
)

// props is what the arguments of a scheduler are rendered with: its properties and,
// as attributes, sourcestamps, changes and files (docs/requirements.md C6).
type props struct {
	prop.Map
	stamps, changes, files []any
	byCodebase             map[string]any
}

var propsAttributes = []string{"changes", "files", "sourcestamps"}

func (p *props) TypeName() string         { return "properties" }
func (p *props) AttributeNames() []string { return propsAttributes }

// Attribute implements prop.Attributes.
func (p *props) Attribute(name string) (any, bool) {
	switch name {
	case "changes":
		return p.changes, true
	case "files":
		return p.files, true
	case "sourcestamps":
		return p.stamps, true
	}
	return nil, false
}

func newProps(b *Base, f Firing) *props {
	p := &props{byCodebase: map[string]any{}, files: []any{}, changes: []any{}, stamps: []any{}}
	p.Values = map[string]any{"scheduler": b.Name}
	for name, t := range b.Properties {
		if v, plain := t.Plain(); plain {
			p.Values[name] = v
		}
	}
	for name, set := range f.Properties {
		p.Values[name] = set.Value
	}
	p.Stamps = make(map[string]prop.SourceStamp, len(f.Stamps))
	files := map[string]bool{}
	for _, c := range f.Changes {
		v := state.Value(c)
		p.changes = append(p.changes, v)
		of, _ := p.byCodebase[c.Codebase].([]any)
		p.byCodebase[c.Codebase] = append(of, v)
		for _, name := range c.Files {
			files[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p.files = append(p.files, name)
	}
	for _, s := range f.Stamps {
		of, _ := p.byCodebase[s.Codebase].([]any)
		p.stamps = append(p.stamps, state.Value(s))
		p.Stamps[s.Codebase] = prop.SourceStamp{Codebase: s.Codebase, Repository: s.Repository, Project: s.Project,
			Branch: s.Branch, Revision: s.Revision, Changes: of}
	}
	return p
}

// ranking returns the props of priority, whose functions get the names of the
// builders and the changes by codebase.
func (p *props) ranking(builders []string) prop.Props {
	names := make([]any, len(builders))
	for i, b := range builders {
		names[i] = b
	}
	return calling{p, []any{names, p.byCodebase}}
}

// calling is the Props of a function that gets other arguments.
type calling struct {
	prop.Props
	args []any
}

var _ prop.Arguments = calling{}

// Arguments implements prop.Arguments.
func (c calling) Arguments() []any { return c.args }
