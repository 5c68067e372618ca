// Package sched is what schedulers are made of: what they ask for, and how they
// are driven. The schedulers themselves are in builtins/schedulers.
package sched

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"buildstar/config"
	"buildstar/state"
)

// Buildset is what a scheduler asks the master for.
type Buildset struct {
	Scheduler    string
	Reason       string
	ExternalID   string
	Builders     []string // names; a request is made for each
	SourceStamps []state.SourceStamp
	Properties   state.Properties
	Priority     int64
	WaitedFor    bool
	Parent
	RebuiltBuild int64
}

// Parent is the build whose step asked for a buildset; the zero Parent is none.
type Parent struct {
	ParentBuild  int64
	ParentStep   int64 // its number in the build
	ParentSeq    int64 // the count within the step
	Relationship string
}

// Triggerer is a scheduler that a step triggers (docs/requirements.md C6).
type Triggerer interface {
	config.Triggerable
	// Trigger renders the scheduler's arguments and returns what to build; nil is nothing
	// now. keep, unless it is nil, runs in the transaction that adds the buildset.
	Trigger(ctx context.Context, t Trigger) (set *Buildset, keep func(state.Tx) error, err error)
}

// Trigger is what a step asks a scheduler for.
type Trigger struct {
	// Stamps are attributes of source stamps, each with its codebase: branch, revision,
	// repository, project. Those that are missing are the scheduler's own.
	Stamps     []map[string]*string
	Properties state.Properties // win over the scheduler's
	Priority   int64            // of the request whose build asks
	Parent
}

// Forcer is a scheduler that a person fires by hand (docs/requirements.md C6).
type Forcer interface {
	config.Scheduler
	// Form describes what to ask the person.
	Form() Form
	// Force checks what the person filled in, by full field name, and returns what to
	// build. builder is "" for all of the scheduler's builders; for one that is not
	// among them the error wraps state.ErrNotFound. A *FieldErrors says which fields
	// are wrong. The values are property values, as state.Plain makes them from JSON.
	Force(ctx context.Context, builder string, fields map[string]any, who User) (Buildset, error)
}

// Runner is a scheduler that acts by itself: on changes, at times, after builds.
type Runner interface {
	config.Scheduler
	// Run acts until ctx ends, and returns its error then; any other one has it run
	// again later. It goes on where rows say that it, or an earlier one, stopped: it may
	// be stopped and started at any time, by a reload or by a crash.
	Run(ctx context.Context, h Host) error
}

// Host is what a [Runner] acts on.
type Host struct {
	ID    int64 // of the scheduler's row
	Store state.Store
	// Submit adds a buildset within a transaction of Store.
	Submit func(tx state.Tx, b Buildset) error
	// Builders are the names of those that are configured.
	Builders func() []string
	Log      *slog.Logger
}

// unknown returns an error about the first name that no builder has: a function may
// return any.
func (h Host) unknown(names []string) error {
	all := h.Builders()
	for _, name := range names {
		if !slices.Contains(all, name) {
			return fmt.Errorf("there is no builder %q", name)
		}
	}
	return nil
}
