package instance

import (
	"context"
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
	if w.fit != unknown {
		return
	}
	if a.outdated() {
		w.fit = unfit
		return
	}
	m, asks := a.backend.(latent.Matcher)
	if !asks {
		w.fit = unfit
		if latent.Arguments(a.row.Arguments).Equal(w.Arguments) {
			w.fit = fits
		}
		return
	}
	w.fit = asking
	ref, started := a.ref(), latent.Arguments(a.row.Arguments)
	a.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), matchTimeout)
		defer cancel()
		ok, err := m.Matches(ctx, ref, started, w.Arguments, w.Properties)
		a.post(func() { a.matched(w, ref.Attempt, ok, err) })
	})
}

// matchTimeout bounds the question whether an instance serves a build.
const matchTimeout = 10 * time.Second

func (a *actor) matched(w *want, id int64, ok bool, err error) {
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
	a.serve()
}
