package sched

import (
	"context"
	"time"

	"buildstar/state"
)

// Timed is a scheduler that builds at times (docs/requirements.md C6).
type Timed struct {
	Base
	Follow
	OnlyIfChanged bool
	// Branch is the one to build, and whose changes are followed, unless AnyBranch.
	Branch    *string
	AnyBranch bool

	Every time.Duration // Periodic
	Cron  *Cron         // Nightly
	Force *Cron         // when OnlyIfChanged does not count; nil: never
}

// actuation is the last time at which a scheduler built, or would have.
type actuation struct {
	At            state.Time
	OnlyIfChanged bool
}

const actuationName = "last_build"

// Run implements Runner.
func (s *Timed) Run(ctx context.Context, h Host) error {
	var w *wake
	if s.follows() {
		w = &wake{pattern: "changes/*/new"}
	}
	return loop(ctx, h.Store, w, func(ctx context.Context) (time.Time, error) { return s.act(ctx, h) })
}

// follows reports whether changes matter.
func (s *Timed) follows() bool { return s.OnlyIfChanged || s.Absolute }

// next decides when to build: a time that has passed means now. A Periodic that never
// built does so at once. A Nightly makes up, once, for times that passed while the
// master was down, but not for those from before it was enabled.
func (s *Timed) next(last actuation, since, now state.Time) time.Time {
	switch {
	case s.Cron != nil:
		return s.Cron.Next(max(last.At, since).Time())
	case last.At == 0:
		return now.Time()
	}
	return last.At.Time().Add(s.Every)
}

// idle decides whether a time passes without builds. As long as nothing was built, or
// the scheduler built whether there were changes or not, it does not.
func (s *Timed) idle(last actuation, at time.Time, waiting []state.SchedulerChange) bool {
	if !s.OnlyIfChanged || !last.OnlyIfChanged || s.Force != nil && s.Force.Matches(at) {
		return false
	}
	for _, c := range waiting {
		if c.Important {
			return false
		}
	}
	return true
}

func (s *Timed) act(ctx context.Context, h Host) (next time.Time, err error) {
	var last actuation
	r, err := s.read(ctx, h, s.Key(), func(tx state.ReadTx) error {
		_, err := tx.Recall(s.Key(), actuationName, &last)
		return err
	})
	if err != nil {
		return next, err
	}
	e := effect{from: r.cursor, to: r.cursor, remember: map[string]any{}}
	var got sorted
	if s.follows() {
		if got, err = s.sort(ctx, h, &s.Base, s.onBranch(r.fresh)); err != nil {
			return next, err
		}
		e.wait = got.important
	}
	now := state.Now()
	at := s.next(last, r.cursor.Since, now)
	due := !at.IsZero() && !at.After(now.Time()) && (!r.more || !s.follows())
	if n := len(r.fresh); n > 0 && (s.follows() || due) {
		e.to.Change = r.fresh[n-1].ID
	}
	known := s.known(r.sources, got.changes)
	if s.Absolute && len(got.changes) > 0 {
		e.remember[sourcesName] = known
	}
	if due {
		waiting := append(r.waiting, waitFor(got)...)
		if err := s.build(ctx, h, &e, waiting, s.idle(last, at, waiting), got, known); err != nil {
			return next, err
		}
		last = actuation{At: now, OnlyIfChanged: s.OnlyIfChanged}
		e.remember[actuationName] = last
		at = s.next(last, r.cursor.Since, now)
	}
	if e.to == e.from && !due {
		return at, nil
	}
	done, err := h.commit(ctx, s.Key(), e)
	return unless(done && (!r.more || !s.follows()), at), err
}

// build adds to e what is built when the time has come: all changes that wait, or if
// there are none, or they do not matter, the newest source.
func (s *Timed) build(ctx context.Context, h Host, e *effect, waiting []state.SchedulerChange, idle bool, got sorted, known map[string]Source) error {
	if idle {
		h.Log.Info("no builds: there was no important change", "scheduler", s.Name)
		return nil
	}
	for _, c := range waiting {
		e.drop = append(e.drop, c.ChangeID)
	}
	var changes []state.Change
	if s.follows() {
		var err error
		if changes, err = load(ctx, h, e.drop, got.changes); err != nil {
			return err
		}
	}
	stamps := s.Stamps(changes, known)
	for i := range stamps {
		if st := &stamps[i]; !s.AnyBranch && st.ID == 0 && st.Branch == nil {
			st.Branch = s.Branch
		}
	}
	set, ok, err := s.fire(ctx, h, Firing{Changes: changes, Stamps: stamps})
	if ok {
		e.sets = append(e.sets, set)
	}
	return err
}

// onBranch returns the changes of the branch.
func (s *Timed) onBranch(all []state.Change) []state.Change {
	if s.AnyBranch {
		return all
	}
	var some []state.Change
	for _, c := range all {
		if textOrNil(c.Branch) == textOrNil(s.Branch) {
			some = append(some, c)
		}
	}
	return some
}
