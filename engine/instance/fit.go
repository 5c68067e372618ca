package instance

import (
	"context"
	"errors"
	"time"

	"buildstar/latent"
)

// serve gives the worker to the builds that wait and that it fits. If it builds nothing and
// fits nobody it is replaced.
func (a *actor) serve() {
	if !a.machine.Attached {
		return
	}
	busy, waiting := false, 0
	for _, w := range a.wants {
		if !w.served {
			a.match(w)
			if w.fit == fits {
				w.served = true
				w.end(a.row.Info, nil)
			}
		}
		busy = busy || w.served || w.fit == asking
		if w.fit == unfit {
			waiting++
		}
	}
	if !busy && waiting > 0 {
		a.feed(latent.Unfit)
	}
}

// match finds out whether the instance fits a build.
func (a *actor) match(w *want) {
	switch {
	case w.fit != unknown:
		return
	case a.row.BuildID == w.BuildID && w.BuildID != 0 && !a.outdated(): // it was started for it
		w.fit = fits
		return
	}
	w.fit = asking
	id, now := a.row.ID, true // the answer is there at once
	a.suits(w.Arguments, w.Properties, func(ok bool, err error) {
		switch {
		case a.row.ID != id:
			w.fit = unknown // it was about another instance
		case ok && err == nil:
			w.fit = fits
		default:
			w.fit = unfit
			if err != nil {
				a.l.o.Logger.Warn("ask whether an instance serves a build", "worker", a.name, "build", w.BuildID, "error", err)
			}
		}
		if !now {
			a.serve()
		}
	})
	now = false
}

// matchTimeout bounds the question whether an instance serves a build.
const matchTimeout = 10 * time.Second

// suits finds out whether the instance serves a build with these arguments and properties,
// and then does something about it, at once or later.
func (a *actor) suits(wanted latent.Arguments, properties map[string]any, then func(bool, error)) {
	if a.outdated() {
		then(false, nil)
		return
	}
	if err := a.open(); err != nil {
		then(false, err)
		return
	}
	started := latent.Arguments(a.row.Arguments)
	m, asks := a.backend.(latent.Matcher)
	if !asks {
		then(started.Equal(wanted), nil)
		return
	}
	ref := a.ref()
	a.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), matchTimeout)
		defer cancel()
		ok, err := m.Matches(ctx, ref, started, wanted, properties)
		a.post(func() { then(ok, err) })
	})
}

// ErrChanged is what Suits returns if the instance is another one, or is not connected.
var ErrChanged = errors.New("the instance is another one now")

// Suits reports whether an instance that is connected, by its id, would serve a build with
// these arguments and properties. It waits for the backend, at most until ctx ends. The
// answer is about now: who gets the instance is decided by Want.
func (l *Ledger) Suits(ctx context.Context, worker string, id int64, wanted latent.Arguments, properties map[string]any) (bool, error) {
	a := l.actor(worker)
	if a == nil {
		return false, ErrChanged
	}
	var fits bool
	var err error
	done := make(chan struct{})
	answer := func(ok bool, why error) {
		fits, err = ok, why
		close(done)
	}
	a.post(func() {
		if a.row.ID != id || !a.machine.Attached {
			answer(false, ErrChanged)
			return
		}
		a.suits(wanted, properties, answer)
	})
	select {
	case <-done:
		return fits, err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
