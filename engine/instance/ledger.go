// Package instance carries out the lives of the instances of latent workers and keeps the
// ledger of them (docs/architecture.md section 4, docs/requirements.md A9, D1 pains 1, 2, 5
// and 6).
//
// A [Ledger] has an actor for each latent worker: one goroutine that owns a
// [latent.Machine] and does what it says. Calls of the backend run in goroutines of their
// own, one at a time, so that an actor never waits for a provider. Every transition is a
// row of the ledger; the row of an instance is on disk before it is asked for, so that the
// next master finds it after any crash.
package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/latent"
	"buildstar/state"
)

// ErrNotWanted is wrapped by what Login returns for a worker whose instance is not expected
// to connect.
var ErrNotWanted = errors.New("no instance of it is expected")

// Options are what a Ledger needs.
type Options struct {
	Store  state.Store
	Logger *slog.Logger
	Env    latent.Env
	// Changed is told how a worker is whenever that changes. It must not wait.
	Changed func(worker string, s Status)
	// Trouble is called in the transaction that writes that something is wrong with an
	// instance which people should hear of, once for each; nil: nobody hears of it.
	Trouble func(tx state.Tx, t Trouble) error
	// Disconnect ends the session of a worker, if it has one. It must not wait.
	Disconnect func(worker, why string)
	// Backoff is how long the n-th stop that failed waits for the next; nil: 1, 2, 4 ... s,
	// at most 5 minutes.
	Backoff func(failures int64) time.Duration
	// StopTimeout bounds one try to stop an instance; 0: 2 minutes.
	StopTimeout time.Duration
}

// Config is a latent worker of a configuration.
type Config struct {
	Worker     *config.Worker // with Latent
	Generation int64
	// Return is how long a lost connection may take to come back.
	Return time.Duration
}

// Trouble is what people should hear of: an instance that did not connect, or did not come
// back, or cannot be stopped.
type Trouble struct {
	Instance state.Instance
	Worker   *config.Worker // as it is configured; nil: it is not known any more
	// Missing says what is missing; "": its stop failed for the stuckAfter-th time.
	Missing string
}

// params are what the backend knows of the worker.
func (c Config) params() (latent.Params, error) {
	p, ok := c.Worker.Latent.Backend.(latent.Params)
	if !ok {
		return nil, fmt.Errorf("backend %q cannot start instances", c.Worker.Latent.Backend.Kind())
	}
	return p, nil
}

// Status is how a worker's instance is.
type Status struct {
	State   latent.State
	Since   state.Time // when State was entered
	Failure string     // why the instance cannot be stopped; "" if it can
	Stops   int64      // that failed
	ID      int64      // of the instance; 0: none
	Handle  string
	// Outdated says that the configuration would start another instance now.
	Outdated bool
}

// Ledger is all instances of latent workers. Its methods are safe for concurrent use.
type Ledger struct {
	o      Options
	mu     sync.Mutex
	actors map[string]*actor
	closed bool
	wg     sync.WaitGroup
}

// New returns a ledger without workers.
func New(o Options) *Ledger {
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Ledger{o: o, actors: map[string]*actor{}}
}

func backoff(failures int64) time.Duration {
	return min(time.Second<<min(max(failures-1, 0), 9), 5*time.Minute)
}

// Adopt takes over an instance that an earlier master left. c is the worker as it was when
// the instance was started; the error says why that is not known, and then it cannot be
// stopped. held are the builds that go on with it, if it is kept: each gives it back with
// Release. One that is not kept is being stopped. Call it before Configure.
func (l *Ledger) Adopt(row state.Instance, c Config, held []int64, why error) (kept bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.actors[row.Worker]
	if a == nil {
		a = l.add(row.Worker, c)
	}
	kept = why == nil && row.State != state.InstanceStopping && (row.Handle != "" || len(held) > 0)
	a.post(func() { a.adopt(row, kept, held, why) })
	return kept
}

// Configure makes the workers those of a configuration. An instance whose worker left
// builds on, and is stopped when it builds nothing.
func (l *Ledger) Configure(workers map[string]Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, a := range l.actors {
		if _, ok := workers[name]; !ok {
			a.post(a.retire)
		}
	}
	for name, c := range workers {
		if a := l.actors[name]; a != nil {
			a.post(func() { a.configure(c) })
			continue
		}
		a := l.add(name, c)
		a.post(func() { a.configure(c) })
	}
}

// add starts an actor; the caller holds mu.
func (l *Ledger) add(name string, c Config) *actor {
	a := newActor(l, name, c)
	l.actors[name] = a
	if l.closed {
		a.post(func() { a.feed(latent.Close) })
	}
	l.wg.Go(a.run)
	return a
}

func (l *Ledger) actor(worker string) *actor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.actors[worker]
}

// leave removes an actor that has nothing to do any more, unless somebody just told it
// something. It reports whether the actor is to end.
func (l *Ledger) leave(a *actor) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !a.empty() {
		return false
	}
	delete(l.actors, a.name)
	return true
}

// Login returns nil if an instance of the worker may connect with this password now. Each
// instance keeps the password that it was started with.
func (l *Ledger) Login(worker, password string) error {
	a := l.actor(worker)
	if a == nil {
		return fmt.Errorf("%w: nothing was started", ErrNotWanted)
	}
	return a.login(password)
}

// Attached says that the worker is connected and may build.
func (l *Ledger) Attached(worker string) { l.tell(worker, latent.Connected) }

// Lost says that its connection ended.
func (l *Ledger) Lost(worker string) { l.tell(worker, latent.Lost) }

func (l *Ledger) tell(worker string, e latent.Event) {
	if a := l.actor(worker); a != nil {
		a.post(func() { a.feed(e) })
	}
}

// Status returns how a worker's instance is; ok is false if the ledger does not know the
// worker.
func (l *Ledger) Status(worker string) (s Status, ok bool) {
	if a := l.actor(worker); a != nil {
		return a.status(), true
	}
	return s, false
}

// Outlook is what comes next in the life of an instance.
type Outlook struct {
	Text  string     // what goes on, or is waited for: "it is being started"
	Until state.Time // when something else happens; 0: that is not known
	Check state.Time // when it is looked at next; 0: it is not
	Log   string     // what its start said
}

// Outlook returns what comes next in the life of a worker's instance; the zero Outlook if
// there is none.
func (l *Ledger) Outlook(worker string) Outlook {
	if a := l.actor(worker); a != nil {
		return a.outlook()
	}
	return Outlook{}
}

// Close stops every instance that no build has, fast, and waits for that until ctx ends. It
// returns the names of the workers whose instances are left to the next master, apart from
// those with builds.
func (l *Ledger) Close(ctx context.Context) (left []string) {
	l.mu.Lock()
	l.closed = true
	var all []*actor
	for _, a := range l.actors {
		all = append(all, a)
	}
	l.mu.Unlock()
	for _, a := range all {
		a.post(a.close)
	}
	for _, a := range all {
		select {
		case <-a.over:
		case <-ctx.Done():
		}
	}
	for _, a := range all {
		a.post(func() { a.quit = true })
	}
	l.wg.Wait()
	for _, a := range all {
		if a.machine.Closed && a.machine.State != latent.Down { // its goroutine has ended
			left = append(left, a.name)
		}
	}
	slices.Sort(left)
	return left
}
