package instance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"buildstar/config/prop"
	"buildstar/latent"
)

// Want is what a build needs.
type Want struct {
	Config    Config // of the build's configuration
	BuildID   int64
	Arguments latent.Arguments
	Password  prop.Password // what the worker logs in with; "": a random one
	// Properties of the build.
	Properties map[string]any
	Host       string // where the instance finds the master
	Port       int
	TLS        bool
	// Phase is told what is waited for, and until when; the zero time is no limit. Log
	// gets what the start says. Both are called by the goroutine of [Ledger.Want].
	Phase func(text string, until time.Time)
	Log   func(text string)
}

// Refusal is why a build cannot have a worker.
type Refusal struct {
	Reason string
	// Cannot says that it is the build's fault, and no other worker of this kind would help.
	Cannot bool
	// Blameless says that it is neither's: a cap was reached, or the master stops.
	Blameless bool
	// Info is what the instance had told by then.
	Info []string
}

func (r *Refusal) Error() string { return r.Reason }

// want is a build that waits, or has the worker.
type want struct {
	Want
	fit    fitness
	served bool

	mu     sync.Mutex
	news   []func()
	signal chan struct{} // something is in news; holds one
	done   chan struct{} // closed with err and info set
	err    error
	info   []string
}

// fitness is whether the instance serves a build.
type fitness uint8

const (
	unknown fitness = iota
	asking
	fits
	unfit
)

// tell leaves something to be done by the goroutine of the build.
func (w *want) tell(fn func()) {
	w.mu.Lock()
	w.news = append(w.news, fn)
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *want) drain() {
	w.mu.Lock()
	news := w.news
	w.news = nil
	w.mu.Unlock()
	for _, fn := range news {
		fn()
	}
}

// end answers the build.
func (w *want) end(info []string, err error) {
	w.info, w.err = info, err
	close(w.done)
}

// Want waits until the worker is attached for a build; it starts an instance if there is
// none, and replaces one that does not serve the build as soon as it builds nothing. Then
// the build has it until release is called, once. The error is a *Refusal, or the cause of
// ctx, which ends the waiting at once.
func (l *Ledger) Want(ctx context.Context, n Want) (info []string, release func(), err error) {
	w := &want{Want: n, signal: make(chan struct{}, 1), done: make(chan struct{})}
	a, err := l.enter(w)
	if err != nil {
		return nil, nil, err
	}
	for {
		select {
		case <-w.signal:
			w.drain()
		case <-w.done:
			w.drain()
			if w.err != nil {
				return w.info, nil, w.err
			}
			return w.info, sync.OnceFunc(func() { a.post(func() { a.release(w) }) }), nil
		case <-ctx.Done():
			a.post(func() { a.release(w) })
			return nil, nil, context.Cause(ctx)
		}
	}
}

// enter gives a want to the actor of its worker.
func (l *Ledger) enter(w *want) (*actor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := w.Config.Worker.Name
	if l.closed {
		return nil, &Refusal{Reason: "the master is shutting down", Blameless: true}
	}
	a := l.actors[name]
	if a == nil {
		return nil, &Refusal{Reason: fmt.Sprintf("worker %q left the configuration", name), Blameless: true}
	}
	a.post(func() { a.want(w) })
	return a, nil
}

// Release gives back the worker that a build had when its instance was adopted.
func (l *Ledger) Release(worker string, buildID int64) {
	a := l.actor(worker)
	if a == nil {
		return
	}
	a.post(func() {
		for _, w := range a.wants {
			if w.BuildID == buildID && w.served {
				a.release(w)
				return
			}
		}
	})
}
