package run

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/state"
)

// Table is the properties of one build, with the source of each. It is what the
// renderables of the build see; all methods are safe for concurrent use.
type Table struct {
	mu     sync.RWMutex
	set    state.Properties
	stamps map[string]prop.SourceStamp
	facts  map[string]any
	url    string
	secret func(ctx context.Context, name string) (string, error)
	mask   mask              // of the secrets that were asked for
	asked  func(name string) // is told of each of them, once; nil: nobody is
}

// factsAlways are present, as None, even if the worker's os-release lacks them
// (docs/requirements.md A2.7).
var factsAlways = map[string]bool{"os_id": true, "os_id_like": true, "os_version_id": true, "os_version_codename": true}

// Property implements prop.Props.
func (t *Table) Property(name string) (any, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p, ok := t.set[name]
	return p.Value, ok
}

// SourceStamp implements prop.Props.
func (t *Table) SourceStamp(codebase string) (prop.SourceStamp, bool) {
	s, ok := t.stamps[codebase]
	return s, ok
}

// Fact implements prop.Props.
func (t *Table) Fact(name string) (any, bool) {
	t.mu.RLock()
	facts := t.facts
	t.mu.RUnlock()
	if v, ok := facts[name]; ok {
		return v, true
	}
	return nil, factsAlways[name]
}

// Secret implements prop.Props.
func (t *Table) Secret(ctx context.Context, name string) (string, error) {
	if t.secret == nil {
		return "", fmt.Errorf("secret %q: no secrets provider is configured", name)
	}
	text, err := t.secret(ctx, name)
	if err == nil && t.mask.add(name, text) && t.asked != nil {
		t.asked(name)
	}
	return text, err
}

// BuildURL implements prop.Props.
func (t *Table) BuildURL() string { return t.url }

// All returns a copy of every property.
func (t *Table) All() state.Properties {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return maps.Clone(t.set)
}

// reset makes the properties what All returned.
func (t *Table) reset(set state.Properties) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set = maps.Clone(set)
}

func (t *Table) put(name string, value any, source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set[name] = state.Property{Value: value, Source: source}
}

func (t *Table) putAbsent(name string, value any, source string) {
	if _, ok := t.Property(name); !ok {
		t.put(name, value, source)
	}
}

// newTable sets what is known without running anybody's code, in the order of
// docs/requirements.md C3 up to the builder's own names.
//
// A build that goes on has its own again, on top.
func newTable(o *Order, facts map[string]any) *Table {
	t := &Table{set: state.Properties{}, stamps: map[string]prop.SourceStamp{}, url: o.BuildURL, secret: o.Secret, facts: facts}
	for _, s := range o.Buildset.SourceStamps {
		t.stamps[s.Codebase] = prop.SourceStamp{
			Codebase: s.Codebase, Repository: s.Repository, Project: s.Project, Branch: s.Branch, Revision: s.Revision,
			Changes: changeValues(o.Changes, s.Codebase),
		}
	}
	for name, v := range o.Snapshot.Master.Properties {
		t.put(name, v, "global")
	}
	for _, c := range o.Changes {
		maps.Copy(t.set, c.Properties)
	}
	maps.Copy(t.set, o.Buildset.Properties)
	t.put("buildername", o.Builder.Name, "Builder")
	t.put("builderid", o.Row.BuilderID, "Builder")
	if o.Builder.Project != "" {
		t.put("projectname", o.Builder.Project, "Builder")
		t.put("projectid", o.ProjectID, "Builder")
	}
	maps.Copy(t.set, o.Row.Properties)
	return t
}

// changeValues returns the changes of a codebase as property values.
func changeValues(changes []state.Change, codebase string) (values []any) {
	for _, c := range changes {
		if c.Codebase == codebase {
			values = append(values, state.Value(c))
		}
	}
	return values
}

// fill sets the rest, rendering what the user gave as renderables. Those see what
// was set before them, and the build's number and worker.
func (t *Table) fill(ctx context.Context, o *Order, info conn.WorkerInfo) error {
	return t.fillIn(ctx, o, info, false)
}

// fillEarly is fill for a worker that is yet to be started: properties of the builder that
// cannot be rendered without it are left out.
func (t *Table) fillEarly(ctx context.Context, o *Order) error {
	return t.fillIn(ctx, o, conn.WorkerInfo{}, true)
}

// Foresee returns the properties that a build would have before its worker is started, if it
// were opened now: all but its number.
func Foresee(ctx context.Context, o Order) (*Table, error) {
	t := newTable(&o, nil)
	return t, t.fillEarly(ctx, &o)
}

// learn sets what the worker said about itself.
func (t *Table) learn(facts map[string]any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.facts = facts
}

func (t *Table) fillIn(ctx context.Context, o *Order, info conn.WorkerInfo, early bool) error {
	if err := t.reveal(ctx); err != nil {
		return err
	}
	own := make(map[string]any, 8)
	if o.Row.Number != 0 {
		own["buildnumber"] = o.Row.Number
	}
	if len(o.Buildset.SourceStamps) == 1 {
		s := o.Buildset.SourceStamps[0]
		own["branch"], own["revision"] = pointed(s.Branch), pointed(s.Revision)
		own["repository"], own["codebase"], own["project"] = s.Repository, s.Codebase, s.Project
	}
	for name, v := range own {
		t.put(name, v, "Build")
	}
	t.put("workername", o.Worker.Name, "Worker")
	for _, set := range []struct {
		from map[string]prop.Template[any]
		put  func(string, any, string)
	}{{o.Builder.Properties, t.put}, {o.Builder.DefaultProperties, t.putAbsent}} {
		values := make(map[string]any, len(set.from))
		for name, tpl := range set.from {
			v, err := tpl.Render(ctx, t)
			if err != nil && early && ctx.Err() == nil {
				continue
			}
			if err != nil {
				return fmt.Errorf("render property %q of builder %q: %w", name, o.Builder.Name, err)
			}
			values[name] = v
		}
		for name, v := range values {
			set.put(name, v, "Builder")
		}
	}
	for name, v := range o.Worker.Properties {
		t.put(name, v, "Worker")
	}
	t.put("workername", o.Worker.Name, "Worker")
	if o.Worker.Machine != "" {
		t.put("machine_name", o.Worker.Machine, "Worker")
	}
	for name, v := range o.Worker.DefaultProperties {
		t.putAbsent(name, v, "Worker")
	}
	for name, v := range own {
		t.put(name, v, "Build")
	}
	if base := info.Basedir; base != "" {
		t.put("basedir", base, "Worker")
		t.put("builddir", Join(info.System, base, WorkerBuilddir(o.Builder)), "Worker")
	}
	return nil
}

func pointed(p *string) any {
	if p == nil {
		return nil
	}
	return *p
}

// WorkerBuilddir returns the builder's directory below a worker's basedir.
func WorkerBuilddir(b *config.Builder) string {
	if b.WorkerBuilddir != "" {
		return b.WorkerBuilddir
	}
	if b.Builddir != "" {
		return b.Builddir
	}
	return b.Name
}
