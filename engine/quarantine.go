package engine

import (
	"context"
	"fmt"
	"time"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
)

// quarantineTime is how long a worker that misbehaved gets no builds: 10 s, doubling
// with each misbehaviour before (docs/requirements.md A6.2, A6.3, A6.8).
func quarantineTime(before int64) time.Duration {
	return min(10*time.Second<<min(before, 20), time.Hour)
}

// misbehaved is a quarantine after a misbehaviour. One while it lasts changes nothing.
func misbehaved(q state.Quarantine, now state.Time, length time.Duration, cause string, buildID int64) state.Quarantine {
	if q.Until != 0 {
		return q
	}
	return state.Quarantine{Since: now, Until: now + state.Time(length.Milliseconds()), Count: q.Count + 1, Cause: cause, BuildID: buildID}
}

// behaved is a quarantine after a build that went well: the next one is short again, and
// one under way goes on.
func behaved(q state.Quarantine) state.Quarantine {
	if q.Until == 0 {
		return state.Quarantine{}
	}
	q.Count = 0
	return q
}

// released is a quarantine that is over. The next one is as long as it would have been
// (A6.7).
func released(q state.Quarantine) state.Quarantine {
	q.Until = 0
	return q
}

// judge holds a build that ended against its worker, or credits it (A6.4). What was
// wrong on the master, and a stop by a user, say nothing about the worker (D1 pain 10).
// It reports whether the worker's row has to be written.
func (f *fleet) judge(worker string, builder string, out run.Outcome) (changed bool) {
	return f.quarantine(worker, func(q state.Quarantine, now state.Time) state.Quarantine {
		switch {
		case out.Blame != "":
			cause := fmt.Sprintf("%s #%d: %s", builder, out.Row.Number, out.Blame)
			return misbehaved(q, now, f.m.o.Quarantine(q.Count), cause, out.Row.ID)
		case out.Row.Results != config.Exception && out.Row.Results != config.Retry:
			return behaved(q)
		}
		return q
	})
}

// blame quarantines a worker for what no build showed.
func (f *fleet) blame(worker, cause string) {
	changed := f.quarantine(worker, func(q state.Quarantine, now state.Time) state.Quarantine {
		return misbehaved(q, now, f.m.o.Quarantine(q.Count), cause, 0)
	})
	if changed {
		f.m.recordWorker(worker, func(*state.Worker) {}, "state_updated")
	}
}

// quarantine changes what is held against a worker, and tells the distributor. The
// row follows with the next recordWorker, or by whoever is told that it changed.
func (f *fleet) quarantine(worker string, change func(state.Quarantine, state.Time) state.Quarantine) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mb := f.members[worker]
	if mb == nil {
		return false
	}
	q := change(mb.status.Quarantine, state.Now())
	if q == mb.status.Quarantine {
		return false
	}
	mb.status.Quarantine = q
	f.m.dist.SetWorker(worker, mb.status)
	wake(f.sentenced)
	return true
}

// wake puts something into a channel that holds one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// held returns what is held against a worker now; ok is false if it is not configured.
func (f *fleet) held(worker string) (q state.Quarantine, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mb := f.members[worker]
	if mb == nil {
		return q, false
	}
	return mb.status.Quarantine, true
}

// release ends quarantines when their time comes, until ctx ends.
func (f *fleet) release(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-f.sentenced:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		over, next := f.due(state.Now())
		for _, worker := range over {
			if f.quarantine(worker, func(q state.Quarantine, now state.Time) state.Quarantine {
				if q.Until > now {
					return q
				}
				return released(q)
			}) {
				f.m.recordWorker(worker, func(*state.Worker) {}, "state_updated")
			}
		}
		if next != 0 {
			timer.Reset(time.Until(next.Time()))
		}
	}
}

// due returns the workers whose quarantine is over, and when the next one will be; 0 if
// there is none.
func (f *fleet) due(now state.Time) (over []string, next state.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, mb := range f.members {
		switch until := mb.status.Quarantine.Until; {
		case until == 0:
		case until <= now:
			over = append(over, name)
		case next == 0 || until < next:
			next = until
		}
	}
	return over, next
}
