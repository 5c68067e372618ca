package sched

import (
	"context"
	"time"

	"buildstar/state"
)

// wake is what makes a scheduler act: an event that it wants.
type wake struct {
	pattern state.Pattern
	wants   func(state.Event) bool // nil: every event
}

// loop calls act at once, after events, and at the time that act returned, unless it
// is zero. It ends with ctx, or with an error of act. Events only wake: act reads from
// the store what there is to do, so that none of them has to be seen.
func loop(ctx context.Context, store state.Store, w *wake, act func(context.Context) (time.Time, error)) error {
	for {
		if err := listen(ctx, store, w, act); err != nil {
			return err
		}
	}
}

// listen is loop until the subscription falls behind.
func listen(ctx context.Context, store state.Store, w *wake, act func(context.Context) (time.Time, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var events <-chan state.Event
	if w != nil {
		events = store.Subscribe(ctx, w.pattern).C
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now() // zero: nothing is due
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-events:
			if !ok {
				return ctx.Err()
			}
			if w.wants != nil && !w.wants(e) {
				continue
			}
		case <-timer.C:
			if time.Until(next) > 0 { // it was early, or the clock was set
				timer.Reset(until(next))
				continue
			}
		}
		var err error
		if next, err = act(ctx); err != nil {
			return err
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(until(next))
		}
	}
}

// longest is how long a timer runs at most: the clock of the wall may be set.
const longest = time.Minute

// until returns how long to wait for t: at least a moment, for the sake of others.
func until(t time.Time) time.Duration {
	return min(max(time.Until(t), time.Millisecond), longest)
}
