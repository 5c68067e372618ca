package steps

import (
	"fmt"
	"maps"
	"slices"

	"buildstar/config/prop"
	"buildstar/state"
)

// stampAttributes are what a user says of a source stamp.
type stampAttributes map[string]*string

var stampKeys = []string{"branch", "codebase", "project", "repository", "revision"}

// TypeName is what messages call it.
func (stampAttributes) TypeName() string {
	return "dict of codebase, branch, revision, repository, project"
}

// FromValue reads a dict.
func (a *stampAttributes) FromValue(v any) error {
	given, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("want %s, got %s", a.TypeName(), prop.Describe(v))
	}
	out := make(stampAttributes, len(given))
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(stampKeys, key) {
			hint := ""
			if near := prop.Nearest(key, stampKeys); near != "" {
				hint = fmt.Sprintf(" (did you mean %q?)", near)
			}
			return fmt.Errorf("there is no %q in a source stamp%s", key, hint)
		}
		text, err := prop.Convert[*string](given[key])
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if text == nil && (key == "codebase" || key == "project" || key == "repository") {
			text = new(string)
		}
		out[key] = text
	}
	*a = out
	return nil
}

// stamps are the sources that the builds get, as far as the step has a say in it.
func (s *trigger) stamps(x *renderer) (out []map[string]*string) {
	own := render(x, "sourceStamps", s.SourceStamps)
	if one := render(x, "sourceStamp", s.SourceStamp); one != nil {
		own = append(slices.Clone(own), one)
	}
	latest := render(x, "alwaysUseLatest", s.AlwaysUseLatest)
	update := render(x, "updateSourceStamp", s.UpdateSourceStamp) || !s.UpdateSourceStamp.IsSet()
	if x.err != nil {
		return nil
	}
	if len(own) > 0 {
		seen := map[string]bool{}
		for _, stamp := range own {
			codebase := ""
			if c := stamp["codebase"]; c != nil {
				codebase = *c
			}
			if seen[codebase] {
				x.err = fmt.Errorf("sourceStamps: the codebase %q stands there twice", codebase)
			}
			seen[codebase] = true
			out = append(out, stamp)
		}
		return out
	}
	if latest {
		return nil
	}
	for _, stamp := range x.r.SourceStamps() {
		if update {
			stamp.Revision = gotRevision(x.r, stamp)
		}
		out = append(out, attributes(stamp))
	}
	return out
}

func attributes(s state.SourceStamp) map[string]*string {
	return map[string]*string{
		"codebase": &s.Codebase, "branch": s.Branch, "revision": s.Revision, "repository": &s.Repository, "project": &s.Project,
	}
}

// gotRevision returns the revision of a source that was checked out: got_revision is a
// text, or a dict by codebase.
func gotRevision(p prop.Props, s state.SourceStamp) *string {
	got, _ := p.Property("got_revision")
	if all, ok := got.(map[string]any); ok {
		got = all[s.Codebase]
	} else if s.Codebase != "" {
		got = nil
	}
	if text, ok := got.(string); ok && text != "" {
		return &text
	}
	return s.Revision
}

// properties are what the builds get on top of those of the scheduler.
func (s *trigger) properties(x *renderer) state.Properties {
	out := state.Properties{}
	for name, v := range render(x, "set_properties", s.SetProperties) {
		out[name] = state.Property{Value: v, Source: "Trigger"}
	}
	for _, name := range s.CopyProperties {
		v, _ := x.r.Property(name)
		out[name] = state.Property{Value: v, Source: "Trigger"}
	}
	return out
}
