package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/state"
)

// feed gives the machine an event and carries out what it says.
func (a *actor) feed(e latent.Event) {
	was := a.machine.State
	var actions []latent.Action
	a.machine, actions = a.machine.Next(e)
	if a.machine.State != was {
		a.entered()
	}
	for _, action := range actions {
		a.do(action)
	}
	if len(actions) > 0 || a.machine.State != was {
		a.changed()
	}
}

func (a *actor) do(action latent.Action) {
	c := a.latent()
	switch action {
	case latent.DoStart:
		a.start()
	case latent.DoCheck:
		a.look()
	case latent.DoStop:
		a.stop()
	case latent.Cancel:
		if a.cancel != nil {
			a.cancel()
		}
	case latent.Serve:
		a.serve()
	case latent.Refuse:
		a.refuse()
	case latent.Disconnect:
		a.l.o.Disconnect(a.name, "its instance is being stopped")
	case latent.TimeAttach:
		a.arm(latent.Late, c.Missing)
	case latent.TimeReturn:
		a.arm(latent.Late, a.config.Return)
	case latent.TimeIdle:
		a.arm(latent.Idle, c.BuildWait)
	case latent.TimeRetry:
		a.arm(latent.RetryDue, a.l.o.Backoff(a.row.Failures))
	case latent.TimeCheck:
		a.armCheck(c.CheckEvery)
	case latent.Disarm:
		a.disarm()
	}
}

// latent is what the configuration says; of an instance whose worker is unknown nothing.
func (a *actor) latent() *config.Latent {
	if a.config.Worker == nil {
		return &config.Latent{}
	}
	return a.config.Worker.Latent
}

// arm replaces the timer of the life.
func (a *actor) arm(e latent.Event, d time.Duration) {
	if a.life != nil {
		a.life.Stop()
	}
	a.until = time.Now().Add(d)
	var mine *time.Timer
	mine = time.AfterFunc(d, func() {
		a.post(func() {
			if a.life != mine {
				return
			}
			if e == latent.Late {
				a.reason = &Refusal{Reason: fmt.Sprintf("it did not connect within %v", d)}
			}
			a.feed(e)
		})
	})
	a.life = mine
	for _, w := range a.wants {
		a.phase(w)
	}
}

func (a *actor) armCheck(d time.Duration) {
	if a.check != nil {
		a.check.Stop()
	}
	var mine *time.Timer
	mine = time.AfterFunc(d, func() {
		a.post(func() {
			if a.check == mine {
				a.feed(latent.CheckDue)
			}
		})
	})
	a.check = mine
}

func (a *actor) disarm() {
	for _, t := range []*time.Timer{a.life, a.check} {
		if t != nil {
			t.Stop()
		}
	}
	a.life, a.check, a.until = nil, nil, time.Time{}
}

// phase tells a build that waits what it waits for.
func (a *actor) phase(w *want) {
	if w.served || w.Phase == nil {
		return
	}
	text, until := "", a.until
	switch {
	case a.machine.State == latent.Stopping:
		text, until = "waiting for its last instance to stop", time.Time{}
	case a.machine.Attached:
		text, until = "waiting for builds that need another instance", time.Time{}
	case a.machine.State == latent.Up:
		text = "waiting for it to connect again"
	case a.machine.Call == latent.StartCall:
		text = "starting an instance"
	case a.row.Handle != "":
		text = "waiting for instance " + a.row.Handle + " to connect"
	default:
		text = "waiting for it to connect"
	}
	w.tell(func() { w.Phase(text, until) })
}

// changed tells the others how the instance is.
func (a *actor) changed() {
	a.mu.Lock()
	s := Status{State: a.machine.State, Since: a.now.Since, ID: a.row.ID, Handle: a.row.Handle}
	if a.row.Failures > 0 {
		s.Failure = a.row.Failure
	}
	if a.now.State != s.State || s.Since == 0 {
		s.Since = state.Now()
	}
	same := a.now == s
	a.now = s
	a.mu.Unlock()
	if !same {
		a.l.o.Changed(a.name, s)
	}
	for _, w := range a.wants {
		a.phase(w)
	}
}

// entered writes a transition to the ledger. Down is written by gone, before it may lead to
// the next start.
func (a *actor) entered() {
	if a.settled != nil && a.machine.State != latent.Starting {
		close(a.settled)
		a.settled = nil
	}
	switch now := state.Now(); a.machine.State {
	case latent.Up:
		a.row.State = state.InstanceUp
		if a.row.ConnectedAt == 0 {
			a.row.ConnectedAt = now
		}
		a.write()
	case latent.Stopping:
		a.row.State = state.InstanceStopping
		if a.row.StoppingAt == 0 {
			a.row.StoppingAt = now
		}
		if a.reason != nil {
			a.row.Failure = a.reason.Reason
		}
		a.write()
		a.abandon()
	case latent.Starting:
		a.reason = nil
	}
}

// abandon forgets the builds that have the worker: it is being taken from them.
func (a *actor) abandon() {
	n := len(a.wants)
	a.wants = slices.DeleteFunc(a.wants, func(w *want) bool { return w.served })
	for range n - len(a.wants) {
		a.machine, _ = a.machine.Next(latent.Release) // while it stops this only counts
	}
}

// gone closes the row of an instance, and ends what it could log in with.
func (a *actor) gone() {
	a.row.State, a.row.GoneAt, a.row.Password = state.InstanceGone, state.Now(), ""
	a.write()
	a.row, a.made, a.backend, a.broken, a.reason = state.Instance{}, Config{}, nil, nil, nil
	for _, w := range a.wants {
		w.fit = unknown
	}
	a.mu.Lock()
	a.password = ""
	a.mu.Unlock()
}

// write puts the row as it is. A row that cannot be written now is written by the next
// transition; until then the ledger errs by having too much.
func (a *actor) write() {
	if a.row.ID == 0 {
		return
	}
	row := a.row
	if err := a.l.o.Store.Update(context.Background(), func(tx state.Tx) error { return tx.PutInstance(row) }); err != nil {
		a.l.o.Logger.Error("write instance", "worker", a.name, "instance", row.ID, "state", row.State, "error", err)
	}
}

func (a *actor) ref() latent.Ref {
	return latent.Ref{Worker: a.name, Attempt: a.row.ID, Handle: a.row.Handle, Arguments: a.row.Arguments}
}

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
			a.write()
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

// open makes the backend of the instance.
func (a *actor) open() error {
	if a.backend != nil {
		return nil
	}
	made := a.made
	if made.Worker == nil || a.broken != nil {
		made = a.config
	}
	if made.Worker == nil {
		return a.broken
	}
	p, err := made.params()
	if err == nil {
		a.backend, err = p.Open(a.l.o.Env)
	}
	if err != nil {
		return fmt.Errorf("open backend: %w", err)
	}
	return nil
}

// enroll adds the instance to the ledger, if the caps allow it.
func (a *actor) enroll(w *want) error {
	c := w.Config.Worker.Latent
	row := state.Instance{
		Worker: a.name, Kind: c.Backend.Kind(), State: state.InstanceStarting, Password: w.Password,
		Arguments: w.Arguments, Generation: w.Config.Generation, BuildID: w.BuildID, CreatedAt: state.Now(),
	}
	if row.Password == "" {
		row.Password = randomPassword()
	}
	for _, limit := range c.Caps {
		row.Caps = append(row.Caps, limit.Name)
	}
	err := a.l.o.Store.Update(context.Background(), func(tx state.Tx) (err error) {
		if err := full(tx, c.Caps, row.CreatedAt); err != nil {
			return err
		}
		row.ID, err = tx.AddInstance(row)
		return err
	})
	if err != nil {
		return err
	}
	a.row = row
	a.mu.Lock()
	a.password = prop.Password(row.Password)
	a.log = strings.Builder{}
	a.mu.Unlock()
	return nil
}

// look asks whether the instance may still connect.
func (a *actor) look() {
	c, ok := a.backend.(latent.Checker)
	if a.backend == nil && a.open() == nil {
		c, ok = a.backend.(latent.Checker)
	}
	if !ok {
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
	if err := a.open(); err != nil {
		a.post(func() { a.stopFailed(err) })
		return
	}
	ref, fast, backend := a.ref(), a.machine.Closed, a.backend
	a.l.o.Logger.Info("stopping instance", "worker", a.name, "instance", ref.Attempt, "handle", ref.Handle)
	a.call(a.l.o.StopTimeout, func(ctx context.Context) func() {
		err := backend.Stop(ctx, ref, fast)
		return func() {
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
			a.gone()
			a.feed(latent.StopOK)
		}
	})
}

func (a *actor) stopFailed(err error) {
	a.row.Failures++
	a.row.Failure = err.Error()
	a.write()
	a.l.o.Logger.Error("stop instance; it is tried again", "worker", a.name, "instance", a.row.ID, "handle", a.row.Handle, "failures", a.row.Failures, "error", err)
	a.reason = &Refusal{Reason: "its last instance cannot be stopped: " + err.Error()}
	a.feed(latent.StopFailed)
}
