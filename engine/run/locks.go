package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"buildstar/config"
	"buildstar/state"
)

// ErrDeadlock is wrapped by Acquire when waiting would last for ever.
var ErrDeadlock = errors.New("deadlock")

// Locks is the table of all locks of the master. Its methods are safe for
// concurrent use.
type Locks struct {
	mu    sync.Mutex
	s     LockState
	wake  map[Holder]chan struct{}
	freed func()
}

// NewLocks returns an empty table. freed is called, outside the table's own lock,
// after something was released; it must not wait.
func NewLocks(freed func()) *Locks {
	return &Locks{wake: map[Holder]chan struct{}{}, freed: freed}
}

// Configure makes the limits of a new configuration apply to live locks.
func (l *Locks) Configure(locks []*config.Lock) {
	limits := make(map[string]*config.Lock, len(locks))
	for _, c := range locks {
		limits[c.Name] = c
	}
	l.mu.Lock()
	l.s.limits = limits
	l.grant()
	l.mu.Unlock()
	l.freed()
}

// State returns a copy of who holds what.
func (l *Locks) State() LockState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.Clone()
}

// Try takes all accesses for a build, or none. No accesses always succeed.
func (l *Locks) Try(t Ticket, name string, accs config.LockAccesses, worker string) (Blocker, bool) {
	if len(accs) == 0 {
		return Blocker{}, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b, ok := l.s.Free(accs, worker); !ok {
		return b, false
	}
	l.s.Take(Holder{Ticket: t, Step: -1, Name: name}, accs, worker, state.Now())
	return Blocker{}, true
}

// Restore takes accesses for a build that held them before a restart of the master,
// whatever the limits say now.
func (l *Locks) Restore(by Holder, accs config.LockAccesses, worker string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s.Take(by, accs, worker, state.Now())
}

// Label gives the holds of a ticket the name and id of its build, once known.
func (l *Locks) Label(t Ticket, name string, buildID int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, hs := range l.s.held {
		for i := range hs {
			if hs[i].by.Ticket == t {
				hs[i].by.Name, hs[i].by.BuildID = name, buildID
			}
		}
	}
}

// Acquire takes all accesses for by, or waits for them in order of arrival until
// ctx ends. waiting is called once if it must wait. It fails at once if it could
// never succeed: the lock is too small, the build holds it already, or everyone
// who could free it waits for this build (ErrDeadlock).
func (l *Locks) Acquire(ctx context.Context, by Holder, accs config.LockAccesses, worker string, waiting func(Blocker)) error {
	if len(accs) == 0 {
		return nil
	}
	l.mu.Lock()
	if err := l.hopeless(by, accs, worker); err != nil {
		l.mu.Unlock()
		return err
	}
	b, ok := l.s.Free(accs, worker)
	if ok {
		l.s.Take(by, accs, worker, state.Now())
		l.mu.Unlock()
		return nil
	}
	if b.Never {
		l.mu.Unlock()
		return fmt.Errorf("acquire locks: %v", b)
	}
	l.s.waiting = append(l.s.waiting, lockAsk{by: by, accs: accs, worker: worker})
	if l.s.stuck(by.Ticket) {
		l.leave(by)
		l.mu.Unlock()
		return fmt.Errorf("acquire locks: %w: %v, and that waits for a lock of this build", ErrDeadlock, b)
	}
	got := make(chan struct{})
	l.wake[by] = got
	l.mu.Unlock()

	if waiting != nil {
		waiting(b)
	}
	select {
	case <-got:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	select {
	case <-got: // granted meanwhile
		l.mu.Unlock()
		l.Release(by)
	default:
		l.leave(by)
		l.grant()
		l.mu.Unlock()
		l.freed()
	}
	return context.Cause(ctx)
}

// hopeless finds a lock that the build already holds: it would wait for itself.
func (l *Locks) hopeless(by Holder, accs config.LockAccesses, worker string) error {
	for _, a := range accs {
		if !a.Exclusive && a.Count == 0 {
			continue
		}
		for _, h := range l.s.held[realLock(a, worker)] {
			if h.by.Ticket == by.Ticket && (a.Exclusive || h.exclusive) {
				return fmt.Errorf("acquire locks: %w: lock %q is already held by this build", ErrDeadlock, a.Lock.Name)
			}
		}
	}
	return nil
}

func (l *Locks) leave(by Holder) {
	l.s.waiting = slices.DeleteFunc(l.s.waiting, func(w lockAsk) bool { return w.by == by })
	delete(l.wake, by)
}

func (l *Locks) grant() {
	for _, ask := range l.s.grant(state.Now()) {
		close(l.wake[ask.by])
		delete(l.wake, ask.by)
	}
}

// Release gives back what exactly this holder has.
func (l *Locks) Release(by Holder) {
	l.release(func(h Holder) bool { return h.Ticket == by.Ticket && h.Step == by.Step })
}

// ReleaseAll gives back everything of a build and its steps.
func (l *Locks) ReleaseAll(t Ticket) {
	l.release(func(h Holder) bool { return h.Ticket == t })
}

func (l *Locks) release(gone func(Holder) bool) {
	l.mu.Lock()
	any := l.s.drop(gone)
	if any {
		l.grant()
	}
	l.mu.Unlock()
	if any {
		l.freed()
	}
}
