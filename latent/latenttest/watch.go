package latenttest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"buildstar/latent"
)

// point is a moment in the life of an instance.
type point int

const (
	beforeCreate point = iota
	duringCreate
	afterCreate // the reply came
	afterHandle // was written
	afterAttach
	beforeStop
	duringStop
	afterStop // the reply came
)

var points = []point{beforeCreate, duringCreate, afterCreate, afterHandle, afterAttach, beforeStop, duringStop, afterStop}

func (p point) String() string {
	return [...]string{
		"before the create call", "during the create call", "when its reply came", "after the handle", "after the worker attached", "before the stop call",
		"during the stop call", "when its reply came to a stop",
	}[p]
}

// watch stands between a ledger and a backend: it sees to it that the ledger keeps its part of
// the contract, and lets a test do things at the points.
type watch struct {
	latent.Params
	at func(ctx context.Context, p point) error // its error is that of the call

	mu    sync.Mutex
	calls []string // "start 1", "stop 1", and so on, as they began
	busy  bool
	open  int64 // the attempt that was started and not stopped
	wrong []string
}

// Open implements latent.Params.
func (w *watch) Open(e latent.Env) (latent.Backend, error) {
	b, err := w.Params.Open(e)
	return &watched{b, w}, err
}

// enter begins a call; the function that it returns ends it.
func (w *watch) enter(call string, in latent.Ref) (leave func(err error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if in.Worker != "w" { // one that the ledger does not know
		return func(error) {}
	}
	name := fmt.Sprintf("%s %d", call, in.Attempt)
	w.calls = append(w.calls, name)
	if w.busy {
		w.wrong = append(w.wrong, name+" began during another call")
	}
	w.busy = true
	switch {
	case call == "start" && w.open != 0:
		w.wrong = append(w.wrong, fmt.Sprintf("%s, and %d was not stopped", name, w.open))
	case call == "start":
		w.open = in.Attempt
	case w.open != in.Attempt:
		w.wrong = append(w.wrong, fmt.Sprintf("%s, which was stopped or never started", name))
	}
	return func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy = false
		if call == "stop" && err == nil {
			w.open = 0
		}
	}
}

// count returns how often a call was made.
func (w *watch) count(call string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		var name string
		if fmt.Sscan(c, &name); name == call {
			n++
		}
	}
	return n
}

// faults returns what the ledger did wrong.
func (w *watch) faults() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	wrong := slices.Clone(w.wrong)
	if w.open != 0 {
		wrong = append(wrong, fmt.Sprintf("%d was started and not stopped", w.open))
	}
	return wrong
}

// watched is a backend that is watched.
type watched struct {
	latent.Backend
	w *watch
}

var (
	_ latent.Checker = (*watched)(nil)
	_ latent.Matcher = (*watched)(nil)
	_ latent.Lister  = (*watched)(nil)
)

// during calls fn between two points and at one while it goes on.
func (b *watched) during(ctx context.Context, before, meanwhile, after point, fn func() error) error {
	if err := b.w.at(ctx, before); err != nil {
		return err
	}
	var aside sync.WaitGroup
	var cut error
	aside.Go(func() { cut = b.w.at(ctx, meanwhile) })
	err := fn()
	aside.Wait()
	if err == nil {
		err = cut
	}
	if err == nil {
		err = b.w.at(ctx, after)
	}
	return err
}

// Start implements latent.Backend.
func (b *watched) Start(ctx context.Context, in latent.Launch) (s latent.Started, err error) {
	leave := b.w.enter("start", in.Ref)
	defer func() { leave(err) }()
	err = b.during(ctx, beforeCreate, duringCreate, afterCreate, func() (err error) {
		s, err = b.Backend.Start(ctx, in)
		return err
	})
	return s, err
}

// Stop implements latent.Backend.
func (b *watched) Stop(ctx context.Context, in latent.Ref, fast bool) (err error) {
	leave := b.w.enter("stop", in)
	defer func() { leave(err) }()
	return b.during(ctx, beforeStop, duringStop, afterStop, func() error { return b.Backend.Stop(ctx, in, fast) })
}

// Check implements latent.Checker.
func (b *watched) Check(ctx context.Context, in latent.Ref) (good bool, message string, err error) {
	c, ok := b.Backend.(latent.Checker)
	if !ok {
		return true, "", nil
	}
	leave := b.w.enter("check", in)
	defer func() { leave(err) }()
	return c.Check(ctx, in)
}

// Matches implements latent.Matcher.
func (b *watched) Matches(ctx context.Context, running latent.Ref, started, wanted latent.Arguments, properties map[string]any) (bool, error) {
	if m, ok := b.Backend.(latent.Matcher); ok {
		return m.Matches(ctx, running, started, wanted, properties)
	}
	return started.Equal(wanted), nil
}

// List implements latent.Lister.
func (b *watched) List(ctx context.Context) ([]latent.Ref, error) {
	if l, ok := b.Backend.(latent.Lister); ok {
		return l.List(ctx)
	}
	return nil, nil
}
