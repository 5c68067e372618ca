package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"buildstar/latent"
	"buildstar/state"
)

// call runs a call of the backend in a goroutine of its own; what fn returns is done by the
// actor afterwards.
func (a *actor) call(timeout time.Duration, fn func(ctx context.Context) (then func())) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	a.cancel = cancel
	a.calls.Go(func() {
		then := fn(ctx)
		cancel()
		a.post(func() {
			a.cancel = nil
			then()
		})
	})
}

// start writes the row of a new instance and then asks for it, for the first build that
// waits.
func (a *actor) start() {
	var w *want
	for _, o := range a.wants {
		if !o.served {
			w = o
			break
		}
	}
	if w == nil { // it was released meanwhile; its Release comes next
		a.post(func() { a.startFailed(&Refusal{Reason: "nobody wants it", Blameless: true}) })
		return
	}
	a.made = w.Config
	a.settled = make(chan struct{})
	in := latent.Launch{Host: w.Host, Port: w.Port, TLS: w.TLS, Properties: w.Properties, Log: a.teller(a.settled), Settled: a.settled}
	if err := a.enroll(w); err != nil {
		a.post(func() { a.startFailed(asRefusal("write it down", err)) })
		return
	}
	if err := a.open(); err != nil {
		a.post(func() { a.startFailed(asRefusal("", err)) })
		return
	}
	in.Ref, in.Password = a.ref(), a.row.Password.Reveal()
	backend := a.backend
	a.l.o.Logger.Info("starting instance", "worker", a.name, "instance", a.row.ID, "kind", a.row.Kind, "build", w.BuildID)
	a.call(w.Config.Worker.Latent.Missing+startGrace, func(ctx context.Context) func() {
		got, err := backend.Start(ctx, in)
		if err == nil && got.Handle == "" {
			err = errors.New("the start returned no handle")
		}
		return func() {
			if err != nil {
				a.startFailed(asRefusal("", err))
				return
			}
			a.row.Handle, a.row.Info, a.row.StartedAt = got.Handle, got.Info, state.Now()
			_ = a.write() // the next one has the handle too
			a.l.o.Logger.Info("instance started", "worker", a.name, "instance", a.row.ID, "handle", got.Handle)
			a.feed(latent.StartOK)
			a.changed()
		}
	})
}

// startGrace is how much longer than its worker may be missing a start may take: it is
// cancelled before.
const startGrace = 30 * time.Second

func (a *actor) startFailed(why *Refusal) {
	if a.machine.State != latent.Stopping && !why.Blameless {
		a.l.o.Logger.Warn("start instance", "worker", a.name, "instance", a.row.ID, "error", why.Reason)
	}
	if a.machine.State != latent.Stopping { // else that it failed is no news
		a.reason = why
	}
	a.feed(latent.StartFailed)
}

// asRefusal says why a start failed.
func asRefusal(what string, err error) *Refusal {
	r := &Refusal{Reason: err.Error()}
	if what != "" {
		r.Reason = what + ": " + r.Reason
	}
	var full *fullError
	r.Cannot = errors.Is(err, latent.ErrCannotSubstantiate)
	r.Blameless = errors.As(err, &full) || errors.Is(err, state.ErrFull)
	return r
}

// open makes the backend of the instance, as it was configured when that was started; if
// that is not known any more, as it is now, if it is of the same kind.
func (a *actor) open() error {
	if a.backend != nil {
		return nil
	}
	made := a.made
	if made.Worker == nil || a.broken != nil {
		made = a.config
		if made.Worker == nil || made.Worker.Latent.Backend.Kind() != a.row.Kind {
			return fmt.Errorf("the configuration that started it is not known any more: %w", a.broken)
		}
	}
	p, err := made.params()
	if err == nil {
		a.backend, err = p.Open(a.l.env(p.Kind()))
	}
	if err != nil {
		return fmt.Errorf("open backend: %w", err)
	}
	return nil
}

// look asks whether the instance may still connect.
func (a *actor) look() {
	c, ok := a.backend.(latent.Checker)
	if a.backend == nil && a.open() == nil {
		c, ok = a.backend.(latent.Checker)
	}
	if !ok || a.row.Handle == "" {
		a.post(func() { a.feed(latent.CheckOK) })
		return
	}
	ref := a.ref()
	a.call(max(a.latent().CheckEvery, 10*time.Second), func(ctx context.Context) func() {
		good, message, err := c.Check(ctx, ref)
		if ctx.Err() == context.Canceled {
			good, err = true, nil // nobody wants to know any more
		}
		return func() {
			if good && err == nil {
				a.feed(latent.CheckOK)
				return
			}
			a.reason = &Refusal{Reason: "the instance will never connect"}
			if err != nil {
				message = err.Error()
			}
			if message != "" {
				a.reason.Reason += ": " + message
			}
			if a.machine.State == latent.Starting { // else it is being stopped anyhow
				a.missing = a.reason.Reason
			}
			a.feed(latent.CheckFailed)
		}
	})
}

// stop asks for the end of the instance.
func (a *actor) stop() {
	if a.row.ID == 0 {
		a.post(func() { a.feed(latent.StopOK) })
		return
	}
	why := a.open()
	ref, fast, backend, kind := a.ref(), a.machine.Closed, a.backend, a.row.Kind
	a.l.o.Logger.Info("stopping instance", "worker", a.name, "instance", ref.Attempt, "handle", ref.Handle)
	a.call(a.l.o.StopTimeout, func(ctx context.Context) func() {
		err := why
		if err != nil {
			backend, err = a.l.finder(ctx, kind, ref, why)
		}
		if err == nil {
			err = backend.Stop(ctx, ref, fast)
		}
		return func() {
			if err == nil {
				err = a.gone()
			}
			if err != nil {
				a.stopFailed(err)
				return
			}
			a.l.o.Logger.Info("instance stopped", "worker", a.name, "instance", ref.Attempt)
			if c, ok := backend.(io.Closer); ok {
				if err := c.Close(); err != nil {
					a.l.o.Logger.Warn("close backend", "worker", a.name, "error", err)
				}
			}
			a.feed(latent.StopOK)
		}
	})
}

// stuckAfter is how many stops of an instance fail before people hear of it: the back-off
// until then is 3 s.
const stuckAfter = 3

func (a *actor) stopFailed(err error) {
	a.row.Failures++
	a.row.Failure = err.Error()
	a.stuck = a.stuck || a.row.Failures == stuckAfter
	_ = a.write() // it says so itself
	a.l.o.Logger.Error("stop instance; it is tried again", "worker", a.name, "instance", a.row.ID, "handle", a.row.Handle, "failures", a.row.Failures, "error", err)
	a.reason = &Refusal{Reason: "its last instance cannot be stopped: " + err.Error()}
	a.feed(latent.StopFailed)
}
