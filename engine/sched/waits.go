package sched

import (
	"context"
	"fmt"
	"time"

	"buildstar/state"
)

// Waiter is a scheduler that knows what it waits for.
type Waiter interface {
	// Waits reads it from the rows; id is that of the scheduler's row.
	Waits(tx state.ReadTx, id int64) (Wait, error)
}

// Wait is what a scheduler waits for: "changes", "a stable tree (2 changes wait)".
type Wait struct {
	For   string
	Until state.Time // when it acts; 0 if that depends on something else
}

// Problem keeps, for people, what went wrong with a scheduler, until it next asks for
// builds.
func (h Host) Problem(ctx context.Context, problem error) {
	err := h.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.Schedulers(state.Where("schedulerid", h.ID)))
		if err == nil {
			row.Error, row.ErrorAt = problem.Error(), state.Now()
			_, err = tx.PutScheduler(row)
		}
		return err
	})
	if err != nil {
		h.Log.Debug("write the problem of a scheduler", "error", err)
	}
}

// Waits implements Waiter.
func (s *Stable) Waits(tx state.ReadTx, id int64) (Wait, error) {
	waiting, err := tx.SchedulerChanges(id)
	if err != nil || len(waiting) == 0 {
		return Wait{For: "changes"}, err
	}
	n := "(1 change waits)"
	if len(waiting) > 1 {
		n = fmt.Sprintf("(%d changes wait)", len(waiting))
	}
	if s.Timer > 0 {
		if due, next := s.due(waiting, state.Now()); len(due) > 0 || !next.IsZero() {
			w := Wait{For: "a stable tree " + n}
			if len(due) == 0 {
				w.Until = state.At(next)
			}
			return w, nil
		}
	}
	return Wait{For: "an important change " + n}, nil
}

// Waits implements Waiter.
func (s *Timed) Waits(tx state.ReadTx, id int64) (Wait, error) {
	var from cursor
	var last actuation
	if err := recall(tx, &s.Base, map[string]any{cursorName: &from, actuationName: &last}); err != nil {
		return Wait{}, err
	}
	at := s.next(last, from.Since, state.Now())
	if !s.OnlyIfChanged {
		return atTime("the next time", at), nil
	}
	waiting, err := tx.SchedulerChanges(id)
	if err == nil && s.idle(last, at, waiting) {
		return atTime("the next time, and an important change before it", at), nil
	}
	return atTime("the next time", at), err
}

// Waits implements Waiter.
func (s *Postponed) Waits(tx state.ReadTx, _ int64) (Wait, error) {
	var from cursor
	var last actuation
	var ask postponement
	err := recall(tx, &s.Base, map[string]any{cursorName: &from, actuationName: &last, postponedName: &ask})
	if err != nil || len(ask.Stamps) == 0 {
		return Wait{For: "a step that triggers it"}, err
	}
	return atTime("the next time", s.Cron.Next(max(last.At, from.Since).Time())), nil
}

// Waits implements Waiter.
func (s *Dependent) Waits(tx state.ReadTx, _ int64) (Wait, error) {
	var p pending
	err := recall(tx, &s.Base, map[string]any{upstreamName: &p})
	w := Wait{For: "builds of scheduler " + s.Upstream}
	if p.Upstream == s.Upstream && len(p.IDs) > 0 {
		w.For += fmt.Sprintf(" (buildsets that are not complete: %d)", len(p.IDs))
	}
	return w, err
}

func recall(tx state.ReadTx, b *Base, into map[string]any) error {
	for name, v := range into {
		if _, err := tx.Recall(b.Key(), name, v); err != nil {
			return fmt.Errorf("recall what scheduler %q did: %w", b.Name, err)
		}
	}
	return nil
}

func atTime(what string, t time.Time) Wait {
	if t.IsZero() {
		return Wait{For: what} // it never comes
	}
	return Wait{For: what, Until: state.At(t)}
}
