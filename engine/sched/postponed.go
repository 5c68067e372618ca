package sched

import (
	"context"
	"slices"
	"time"

	"buildstar/state"
)

// Postponed is a scheduler that builds at times what it was last triggered for, and
// nothing if it was not (docs/requirements.md C6).
type Postponed struct {
	Base
	Cron *Cron
}

// postponement is what it was triggered for. N tells two apart.
type postponement struct {
	N          int64
	Stamps     []state.SourceStamp // none: nothing is asked for
	Properties state.Properties
	Priority   int64
	Parent     Parent
}

const postponedName = "triggered"

// Postpone returns what remembers stamps and the rest of ask, in place of what was
// there. A step that is replayed may ask for what was built in the meantime.
func (s *Postponed) Postpone(stamps []state.SourceStamp, ask Trigger) func(state.Tx) error {
	return func(tx state.Tx) error {
		built, err := tx.Buildsets(state.Where("parent_buildid", ask.ParentBuild, "parent_step", ask.ParentStep))
		if err != nil || slices.ContainsFunc(built, func(b state.Buildset) bool { return b.ParentSeq == ask.ParentSeq }) {
			return err
		}
		var p postponement
		if _, err := tx.Recall(s.Key(), postponedName, &p); err != nil {
			return err
		}
		return tx.Remember(s.Key(), postponedName, postponement{p.N + 1, stamps, ask.Properties, ask.Priority, ask.Parent})
	}
}

// Run implements Runner.
func (s *Postponed) Run(ctx context.Context, h Host) error {
	return loop(ctx, h.Store, nil, func(ctx context.Context) (time.Time, error) { return s.act(ctx, h) })
}

func (s *Postponed) act(ctx context.Context, h Host) (next time.Time, err error) {
	var from cursor
	var last actuation
	var ask postponement
	err = h.Store.View(ctx, func(tx state.ReadTx) error {
		return recall(tx, &s.Base, map[string]any{cursorName: &from, actuationName: &last, postponedName: &ask})
	})
	if err != nil {
		return next, err
	}
	now := state.Now()
	next = s.Cron.Next(max(last.At, from.Since).Time())
	if next.IsZero() || next.After(now.Time()) {
		return next, nil
	}
	e := effect{from: from, to: from, remember: map[string]any{actuationName: actuation{At: now}}}
	if len(ask.Stamps) > 0 {
		set, ok, err := s.fire(ctx, h, Firing{Stamps: ask.Stamps, Properties: ask.Properties})
		if err != nil {
			return next, err
		}
		if ok {
			set.Parent = ask.Parent
			if !s.Priority.IsSet() {
				set.Priority = ask.Priority
			}
			e.sets = append(e.sets, set)
		}
		e.remember[postponedName] = postponement{N: ask.N}
	}
	e.still = func(tx state.ReadTx) (bool, error) { // it was not triggered again
		var p postponement
		_, err := tx.Recall(s.Key(), postponedName, &p)
		return p.N == ask.N, err
	}
	done, err := h.commit(ctx, s.Key(), e)
	return unless(done, s.Cron.Next(now.Time())), err
}
