package run

import (
	"context"
	"errors"
	"strconv"
	"time"

	"buildstar/state"
)

// waitingText is the state of a build that waits for others: it keeps its worker.
const waitingText = "waiting for builds it triggered"

const (
	// failedLook is how long to rest after the state could not be read or written.
	failedLook = time.Second
	// glance is how long to rest between looks: a thousand builds have many events.
	glance = 50 * time.Millisecond
)

// Await returns once every request of the buildsets is complete, as the rows say:
// neither a reload nor a restart of the master makes a difference (docs/requirements.md D1
// pains 7 and 20). look is told how they are doing, at once and after each change. When
// ctx ends they are cancelled, and Await still waits for their ends, unless the master
// stops: its next start cancels what is left.
func (r *Running) Await(ctx context.Context, ids []int64, look func([]Triggered)) error {
	r.b.say(waitingText)
	defer r.b.say("building")
	w := awaiting{r: r, ids: ids, look: look, told: map[int64]bool{}}
	for !w.follow(ctx) {
		if err := r.b.master.Err(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// awaiting is one Await.
type awaiting struct {
	r    *Running
	ids  []int64
	look func([]Triggered)
	told map[int64]bool // builds that were stopped
}

// follow looks after each event, and returns false when it missed some.
func (w *awaiting) follow(ctx context.Context) (complete bool) {
	master, cancel := context.WithCancel(w.r.b.master)
	defer cancel()
	patterns := make([]state.Pattern, len(w.ids))
	for i, id := range w.ids {
		patterns[i] = state.Pattern("buildsets/" + strconv.FormatInt(id, 10) + "/buildrequests/*/*")
	}
	events := w.r.b.o.Store.Subscribe(master, patterns...)
	stopped := ctx.Done()
	for {
		last := time.Now()
		open, err := w.turn(master, ctx.Err() != nil)
		if err == nil && !open {
			return true
		}
		var again <-chan time.Time
		if err != nil {
			w.r.b.o.Logger.Warn("wait for triggered builds", "build", w.r.BuildID(), "error", err)
			again = time.After(failedLook)
		}
		select {
		case _, more := <-events.C:
			if !more || !rest(events.C, time.Until(last.Add(glance))) {
				return false
			}
		case <-stopped:
			stopped = nil
		case <-again:
		}
	}
}

// rest lets events pass; it returns false when they ended.
func rest(events <-chan state.Event, d time.Duration) bool {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case _, more := <-events:
			if !more {
				return false
			}
		case <-over.C:
			return true
		}
	}
}

// turn looks once, and cancels what is open if cancel is set.
func (w *awaiting) turn(ctx context.Context, cancel bool) (open bool, err error) {
	sets, err := w.r.Triggered(ctx, w.ids)
	if err != nil {
		return true, err
	}
	w.look(sets)
	for _, set := range sets {
		for _, q := range set.Requests {
			if q.Complete {
				continue
			}
			open = true
			if cancel {
				err = errors.Join(err, w.cancel(ctx, q))
			}
		}
	}
	return open, err
}

// cancel ends a request. Its build is told once: a second time would interrupt the
// steps that run always.
func (w *awaiting) cancel(ctx context.Context, q TriggeredRequest) error {
	if n := len(q.Builds); n > 0 && w.told[q.Builds[n-1].ID] && q.Claimed {
		return nil
	}
	b := w.r.b
	id, err := b.o.Triggers.Cancel(ctx, q.ID, "cancelled: "+b.name()+", which waited for it, was stopped")
	w.told[id] = true
	return err
}
