package sched

import (
	"fmt"
	"maps"
	"slices"

	"buildstar/config/prop"
)

// Source says where the source of a codebase comes from when no change does.
type Source struct {
	Codebase   string
	Repository string
	Branch     *string // nil: the default branch
	Revision   *string // nil: the newest
}

// Codebases are those of a scheduler, by name (docs/requirements.md C6).
type Codebases []Source

// TypeName is what messages call it.
func (Codebases) TypeName() string {
	return "list of names, or dict of repository, branch and revision by name"
}

// Has reports whether a codebase is among them.
func (cs Codebases) Has(name string) bool {
	return slices.ContainsFunc(cs, func(s Source) bool { return s.Codebase == name })
}

// FromValue reads a list of names, or a dict; None is the codebase "" alone.
func (cs *Codebases) FromValue(v any) error {
	*cs = nil
	switch v := v.(type) {
	case nil:
		*cs = Codebases{{}}
	case []any:
		for i, e := range v {
			name, ok := e.(string)
			if !ok {
				return fmt.Errorf("item %d: want the name of a codebase, got %s", i+1, prop.Describe(e))
			}
			if cs.Has(name) {
				return fmt.Errorf("the codebase %q stands there twice", name)
			}
			*cs = append(*cs, Source{Codebase: name})
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			s, err := sourceOf(name, v[name])
			if err != nil {
				return fmt.Errorf("%q: %w", name, err)
			}
			*cs = append(*cs, s)
		}
	default:
		return fmt.Errorf("want %s, got %s", cs.TypeName(), prop.Describe(v))
	}
	if len(*cs) == 0 {
		return fmt.Errorf("there is no codebase: leave it out for the one named \"\"")
	}
	slices.SortFunc(*cs, func(a, b Source) int {
		if a.Codebase < b.Codebase {
			return -1
		}
		return 1
	})
	return nil
}

func sourceOf(name string, v any) (Source, error) {
	s := Source{Codebase: name}
	fields, ok := v.(map[string]any)
	if !ok {
		return s, fmt.Errorf("want dict of repository, branch and revision, got %s", prop.Describe(v))
	}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		text, err := prop.Convert[*string](fields[key])
		if err != nil {
			return s, fmt.Errorf("%s: %w", key, err)
		}
		switch key {
		case "repository":
			if text != nil {
				s.Repository = *text
			}
		case "branch":
			s.Branch = text
		case "revision":
			s.Revision = text
		default:
			return s, fmt.Errorf("there is no %q: a codebase has repository, branch and revision", key)
		}
	}
	return s, nil
}
