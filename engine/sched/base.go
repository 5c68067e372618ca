package sched

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/state"
)

// Base is what every scheduler has that fires without a form (docs/requirements.md C6).
type Base struct {
	config.At
	Class        string // the name of the class
	Name         string
	BuilderNames prop.Template[[]string]
	Properties   map[string]prop.Template[any]
	Codebases    Codebases
	Priority     prop.Template[int64] // functions get the builder names and the changes by codebase
	Reason       string
}

// Key returns the scheduler's key.
func (b *Base) Key() config.Key { return config.Key{Kind: config.KindScheduler, Name: b.Name} }

// Type returns the class.
func (b *Base) Type() string { return b.Class }

// Builders returns the builders that are named plainly.
func (b *Base) Builders() []string {
	names, _ := b.BuilderNames.Plain()
	return names
}

// ChoosesBuilders implements config.Chooser.
func (b *Base) ChoosesBuilders() bool {
	_, plain := b.BuilderNames.Plain()
	return !plain
}

// Refs yields the builders.
func (b *Base) Refs() iter.Seq2[string, config.Key] {
	return func(yield func(string, config.Key) bool) {
		for _, name := range b.Builders() {
			if !yield("builderNames", config.Key{Kind: config.KindBuilder, Name: name}) {
				return
			}
		}
	}
}

// Firing is what a scheduler wants to have built.
type Firing struct {
	Reason     string // "": that of the scheduler
	Stamps     []state.SourceStamp
	Changes    []state.Change   // those that it is for, oldest first
	Properties state.Properties // win over those of the scheduler
}

// Buildset renders the scheduler's arguments, which functions of the user may do: an
// error is one of theirs. Without builders there is nothing to build.
func (b *Base) Buildset(ctx context.Context, f Firing) (Buildset, error) {
	set := Buildset{Scheduler: b.Name, Reason: f.Reason, SourceStamps: f.Stamps}
	if set.Reason == "" {
		set.Reason = b.Reason
	}
	p := newProps(b, f)
	names, err := b.BuilderNames.Render(ctx, p)
	if err != nil {
		return set, fmt.Errorf("render builderNames: %w", err)
	}
	for _, name := range names {
		if !slices.Contains(set.Builders, name) {
			set.Builders = append(set.Builders, name)
		}
	}
	set.Properties = make(state.Properties, len(b.Properties)+len(f.Properties))
	for name, t := range b.Properties {
		v, err := t.Render(ctx, p)
		if err != nil {
			return set, fmt.Errorf("render property %q: %w", name, err)
		}
		set.Properties[name] = state.Property{Value: v, Source: "Scheduler"}
	}
	maps.Copy(set.Properties, f.Properties)
	if set.Priority, err = b.Priority.Render(ctx, p.ranking(set.Builders)); err != nil {
		return set, fmt.Errorf("render priority: %w", err)
	}
	return set, nil
}

// Stamps returns a source stamp for each codebase: that of its newest change, or else
// what known says of the codebase, or else its defaults. changes are in order.
func (b *Base) Stamps(changes []state.Change, known map[string]Source) []state.SourceStamp {
	stamps := make([]state.SourceStamp, 0, len(b.Codebases))
	for _, cb := range b.Codebases {
		s := cb
		if k, ok := known[cb.Codebase]; ok {
			s = k
		}
		stamp := state.SourceStamp{Codebase: cb.Codebase, Repository: s.Repository, Branch: s.Branch, Revision: s.Revision}
		for _, c := range changes {
			if c.Codebase == cb.Codebase {
				stamp = c.SourceStamp
			}
		}
		stamps = append(stamps, stamp)
	}
	return stamps
}
