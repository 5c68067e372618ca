package sched

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"buildstar/state"
)

// Stable is a scheduler that builds changes once their tree is stable: nothing that it
// follows came for Timer (docs/requirements.md C6).
type Stable struct {
	Base
	Follow
	Timer     time.Duration // 0: every important change is built by itself, at once
	PerBranch bool          // each branch of each repository has a timer of its own
}

// tree is what has a timer of its own.
type tree struct{ codebase, project, repository, branch string }

func (s *Stable) treeOf(c state.SchedulerChange) tree {
	if !s.PerBranch {
		return tree{}
	}
	t := tree{c.Codebase, c.Project, c.Repository, ""}
	if c.Branch != nil {
		t.branch = "=" + *c.Branch // so that no branch is the default one
	}
	return t
}

// Run implements Runner.
func (s *Stable) Run(ctx context.Context, h Host) error {
	return loop(ctx, h.Store, &wake{pattern: "changes/*/new"}, func(ctx context.Context) (time.Time, error) { return s.act(ctx, h) })
}

func (s *Stable) act(ctx context.Context, h Host) (next time.Time, err error) {
	r, err := s.read(ctx, h, s.Key(), nil)
	if err != nil {
		return next, err
	}
	got, err := s.sort(ctx, h, &s.Base, r.fresh)
	if err != nil {
		return next, err
	}
	e := effect{from: r.cursor, to: r.cursor}
	if n := len(r.fresh); n > 0 {
		e.to.Change = r.fresh[n-1].ID
	}
	var due [][]int64
	switch {
	case s.Timer == 0:
		due = s.dueAtOnce(r.waiting, got)
		for _, c := range r.waiting {
			e.drop = append(e.drop, c.ChangeID)
		}
	default:
		e.wait = got.important
		if !r.more {
			due, next = s.due(append(r.waiting, waitFor(got)...), state.Now())
		}
	}
	known := s.known(r.sources, got.changes)
	if s.Absolute && len(got.changes) > 0 {
		e.remember = map[string]any{sourcesName: known}
	}
	for _, ids := range due {
		changes, err := load(ctx, h, ids, got.changes)
		if err != nil {
			return next, err
		}
		if s.Timer > 0 {
			e.drop = append(e.drop, ids...)
		}
		set, ok, err := s.fire(ctx, h, Firing{Changes: changes, Stamps: s.Stamps(changes, known)})
		if err != nil {
			return next, err
		}
		if ok {
			e.sets = append(e.sets, set)
		}
	}
	if e.to == e.from && len(e.drop) == 0 {
		return next, nil
	}
	done, err := h.commit(ctx, s.Key(), e)
	return unless(done && !r.more, next), err
}

// waitFor returns changes as if they waited.
func waitFor(got sorted) []state.SchedulerChange {
	out := make([]state.SchedulerChange, len(got.changes))
	for i, c := range got.changes {
		out[i] = state.SchedulerChange{ChangeID: c.ID, Important: got.important[c.ID], Branch: c.Branch,
			Repository: c.Repository, Project: c.Project, Codebase: c.Codebase, ReceivedAt: c.ReceivedAt}
	}
	return out
}

// due decides what is to be built now, as the ids of the changes of each buildset, and
// when to look again. A tree is due when Timer has passed since its newest change, if
// one of its changes is important.
func (s *Stable) due(waiting []state.SchedulerChange, now state.Time) (sets [][]int64, next time.Time) {
	type group struct {
		ids       []int64
		important bool
		newest    state.Time
	}
	groups := map[tree]*group{}
	for _, c := range waiting {
		t := s.treeOf(c)
		if groups[t] == nil {
			groups[t] = &group{}
		}
		g := groups[t]
		g.ids = append(g.ids, c.ChangeID)
		g.important = g.important || c.Important
		g.newest = max(g.newest, c.ReceivedAt)
	}
	for _, g := range groups {
		if !g.important {
			continue
		}
		at := g.newest.Time().Add(s.Timer)
		if !at.After(now.Time()) {
			slices.Sort(g.ids)
			sets = append(sets, g.ids)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	slices.SortFunc(sets, func(a, b []int64) int { return cmp.Compare(a[0], b[0]) })
	return sets, next
}

// dueAtOnce is due without a timer: a buildset for each important change, and for what
// waits since there was one.
func (s *Stable) dueAtOnce(waiting []state.SchedulerChange, got sorted) [][]int64 {
	sets, _ := s.due(waiting, state.Now())
	for _, c := range got.changes {
		if got.important[c.ID] {
			sets = append(sets, []int64{c.ID})
		}
	}
	return sets
}

// fire renders a buildset; ok is false if there is none to be made, of which the log
// says why.
func (b *Base) fire(ctx context.Context, h Host, f Firing) (set Buildset, ok bool, err error) {
	set, err = b.Buildset(ctx, f)
	if err == nil {
		err = h.unknown(set.Builders)
	}
	switch {
	case ctx.Err() != nil:
		return set, false, ctx.Err()
	case err != nil:
		h.Log.Error("no builds: an argument cannot be rendered", "scheduler", b.Name, "error", err)
		h.Problem(ctx, fmt.Errorf("no builds were asked for: %w", err))
		return set, false, nil
	case len(set.Builders) == 0:
		h.Log.Debug("no builds: builderNames is empty", "scheduler", b.Name)
		return set, false, nil
	}
	return set, true, nil
}
