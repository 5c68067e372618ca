package schedulers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/state"
)

// formSource is the source of the properties that a form sets.
const formSource = "Force Build Form"

// harmless are what a force request may say besides the fields.
var harmless = []string{"builderid", "builderNames", "owner"}

// Force checks the fields and returns the buildset to make.
func (f *Force) Force(_ context.Context, builder string, fields map[string]any, who sched.User) (sched.Buildset, error) {
	builders := f.BuilderNames
	if builder != "" {
		if !slices.Contains(builders, builder) {
			return sched.Buildset{}, fmt.Errorf("force %q: the builder %q is not among its builders: %w", f.Name, builder, state.ErrNotFound)
		}
		builders = []string{builder}
	}
	form := reading{fields: fields, errors: map[string]string{}, known: slices.Clone(harmless)}
	owner := form.owner(f.Username, who)
	reason := prop.Str(form.read(f.Reason, ""))
	priority, _ := form.read(f.Priority, "").(int64)
	set := sched.Buildset{
		Scheduler: f.Name, Builders: slices.Clone(builders), Priority: priority,
		Properties: state.Properties{},
	}
	for _, group := range f.Codebases {
		set.SourceStamps = append(set.SourceStamps, form.stamp(group))
	}
	for _, p := range f.Properties {
		set.Properties[p.Name] = state.Property{Value: form.read(p, ""), Source: formSource}
	}
	set.Properties["reason"] = state.Property{Value: reason, Source: formSource}
	set.Properties["owner"] = state.Property{Value: owner, Source: formSource}
	if form.rejectUnknown(); len(form.errors) > 0 {
		return sched.Buildset{}, &sched.FieldErrors{Fields: form.errors}
	}
	var err error
	set.Reason, err = reasonOf(f.ReasonString, owner, reason)
	return set, err
}

// reading reads a filled-in form and gathers what is wrong with it.
type reading struct {
	fields map[string]any
	errors map[string]string
	known  []string // names that may stand in fields
}

// read returns the value of a field, nil if it is wrong.
func (r *reading) read(p *sched.Parameter, parent string) any {
	full := p.FullName(parent)
	r.known = append(r.known, full)
	v, err := p.Read(r.fields, parent)
	if err != nil {
		r.errors[full] = err.Error()
		return nil
	}
	return v
}

// owner is who is logged in, or what the username field says, or anonymous.
func (r *reading) owner(username *sched.Parameter, who sched.User) string {
	if who != (sched.User{}) {
		r.known = append(r.known, username.FullName(""))
		return who.Owner()
	}
	if name, _ := r.read(username, "").(string); strings.TrimSpace(name) != "" {
		return name
	}
	return who.Owner()
}

// stamp makes the source stamp of a codebase. A blank branch is the default one, a
// blank revision the newest.
func (r *reading) stamp(group *sched.Parameter) state.SourceStamp {
	ss := state.SourceStamp{Codebase: *group.Codebase}
	for _, p := range group.Fields {
		text := ""
		if v := r.read(p, group.FullName("")); v != nil {
			text = prop.Str(v)
		}
		switch p.Attr {
		case "branch":
			ss.Branch = notBlank(text)
		case "revision":
			ss.Revision = notBlank(text)
		case "repository":
			ss.Repository = text
		case "project":
			ss.Project = text
		}
	}
	return ss
}

func notBlank(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// maxUnknown is how many fields that the form does not have are reported.
const maxUnknown = 20

// rejectUnknown reports fields that the form does not have: a misspelled one
// would be ignored.
func (r *reading) rejectUnknown() {
	unknown := slices.DeleteFunc(slices.Sorted(maps.Keys(r.fields)), func(name string) bool {
		return slices.Contains(r.known, name)
	})
	for _, name := range unknown[:min(len(unknown), maxUnknown)] {
		text := "there is no such field"
		if near := prop.Nearest(name, r.known); near != "" {
			text += fmt.Sprintf(" (did you mean %q?)", near)
		}
		r.errors[name] = text
	}
}

// reasonOf fills in a reasonString.
func reasonOf(format, owner, reason string) (string, error) {
	rest := strings.NewReplacer("%%", "", "%(owner)", "", "%(reason)", "").Replace(format)
	keyed := strings.NewReplacer("%%", "%%", "%(owner)", "%(kw:owner)", "%(reason)", "%(kw:reason)").Replace(format)
	in, err := prop.Interpolate(keyed, nil, map[string]prop.Renderable{"owner": prop.Const{V: owner}, "reason": prop.Const{V: reason}})
	if err != nil || strings.Contains(rest, "%(") {
		return "", fmt.Errorf("%q cannot be filled in", format)
	}
	v, err := in.Render(context.Background(), &prop.Map{})
	if err != nil {
		return "", err
	}
	return v.(string), nil
}
