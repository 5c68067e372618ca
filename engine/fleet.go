package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/engine/dist"
	"buildstar/state"
)

// orphanTimeout bounds the ending of one command of an earlier life.
const orphanTimeout = 30 * time.Second

// fleet is the connected workers, and what is known of each one's readiness.
type fleet struct {
	m       *Master
	mu      sync.Mutex
	members map[string]*member
	visits  map[string]*visit          // who is connected, also if its member left the configuration
	orphans map[string][]state.Command // commands an earlier run of the master left, by worker

	configured bool          // members are those of a configuration
	moved      chan struct{} // closed when a session or a member comes or goes

	sentenced chan struct{}  // some quarantine changed; holds one
	closed    bool           // no goroutine of wg starts any more
	wg        sync.WaitGroup // of those who tell workers to exit
}

// member is one worker of the configuration.
type member struct {
	status    dist.Status
	session   conn.Session
	keepalive time.Duration
	leaver    string // GracefulLife of its row
	latent    bool   // it is an instance
	draining  bool   // it left the configuration, and stays until its instance is stopped
}

// visit is a session from its coming until its rows say that it is gone.
type visit struct {
	session conn.Session
	gone    chan struct{} // closed at the end; nil if nobody waits for that
}

func newFleet(m *Master) *fleet {
	return &fleet{m: m, members: map[string]*member{}, visits: map[string]*visit{}, orphans: map[string][]state.Command{},
		sentenced: make(chan struct{}, 1), moved: make(chan struct{})}
}

// Login implements conn.Host (docs/requirements.md A1.8).
func (m *Master) Login(name, password string) error {
	a := m.current.Load()
	w := a.snapshot.Worker(name)
	switch {
	case w == nil && m.fleet.started(name): // it may come back to the builds that it has
		return m.instances.login(name, password)
	case w == nil:
		return fmt.Errorf("%w %q: the configuration has no such worker", conn.ErrUnknownWorker, name)
	case w.Local:
		return fmt.Errorf("%w %q: it is a LocalWorker, which runs inside the master", conn.ErrUnknownWorker, name)
	case w.Latent != nil:
		return m.instances.login(name, password)
	}
	want, err := a.password(w)
	switch {
	case err != nil:
		return fmt.Errorf("%w for worker %q: its own is not known: %w", conn.ErrBadPassword, name, err)
	case !want.Matches(password):
		return fmt.Errorf("%w for worker %q", conn.ErrBadPassword, name)
	}
	return nil
}

// password returns what a worker logs in with.
func (a *applied) password(w *config.Worker) (prop.Password, error) {
	if w.PasswordSecret == "" {
		return w.Password, nil
	}
	text, err := a.secrets.Lookup(context.Background(), w.PasswordSecret)
	return prop.Password(text), err
}

// sameLogin reports whether a worker may log in as it did; a secret that is not known
// any more is another one.
func sameLogin(last, next *applied, before, now *config.Worker) bool {
	if before.PasswordSecret == "" && now.PasswordSecret == "" {
		return now.Password == before.Password
	}
	a, erra := last.password(before)
	b, errb := next.password(now)
	return erra == nil && errb == nil && a == b
}

// Attached implements conn.Host: the worker gets builds until its session ends.
func (m *Master) Attached(s conn.Session) { m.fleet.arrive(s) }

// Leaves implements conn.Host.
func (m *Master) Leaves(s conn.Session) { m.leaves(s) }

// Detached implements conn.Host.
func (m *Master) Detached(s conn.Session) { m.fleet.depart(s) }

// AttachFailed implements conn.Host: it is a misbehaviour.
func (m *Master) AttachFailed(name string, why error) {
	m.fleet.blame(name, "it could not attach: "+why.Error())
}

func (f *fleet) arrive(s conn.Session) {
	if err := f.enter(s); err != nil {
		s.Close(err.Error())
		return
	}
	f.m.recordWorker(s.Name(), func(row *state.Worker) {
		row.Connected, row.Info = true, s.Info().Facts
		if !staysGraceful(row.Graceful, row.GracefulLife, s) {
			forgetGraceful(row)
		}
	}, "connected")
	f.settle(s)
	f.change(s.Name(), func(mb *member) {
		if mb.session == s {
			mb.status.Settling = false
		}
	})
	if f.started(s.Name()) {
		f.m.instances.ledger.Attached(s.Name())
	}
}

func (f *fleet) depart(s conn.Session) {
	f.mu.Lock()
	v := f.visits[s.Name()]
	f.mu.Unlock()
	if v == nil || v.session != s { // it did not get in
		return
	}
	f.change(s.Name(), func(mb *member) {
		if mb.session == s {
			mb.session, mb.status.Connected, mb.status.Settling = nil, false, false
			mb.status.ChangedAt = state.Now()
		}
	})
	if f.started(s.Name()) {
		f.m.instances.ledger.Lost(s.Name())
	}
	if f.m.living.Err() != nil {
		return // the master left: the next start notes the loss, and gives it time to come back
	}
	f.m.recordWorker(s.Name(), func(row *state.Worker) { row.Connected = false }, "disconnected")
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.visits, s.Name())
	if v.gone != nil {
		close(v.gone)
	}
}

var errNoMember = errors.New("the configuration has no such worker")

// enter makes s the session of its worker, after an older one has left.
func (f *fleet) enter(s conn.Session) error {
	for {
		f.mu.Lock()
		mb := f.members[s.Name()]
		if mb == nil {
			f.mu.Unlock()
			return errNoMember
		}
		v := f.visits[s.Name()]
		if v == nil {
			f.visits[s.Name()] = &visit{session: s}
			mb.session = s
			s.SetKeepalive(mb.keepalive)
			mb.status.Connected, mb.status.Settling = true, true
			mb.status.Graceful = staysGraceful(mb.status.Graceful, mb.leaver, s)
			mb.status.ChangedAt = state.Now()
			f.m.dist.SetWorker(s.Name(), mb.status)
			f.announce()
			f.mu.Unlock()
			return nil
		}
		if v.gone == nil {
			v.gone = make(chan struct{})
		}
		old, gone := mb.session, v.gone
		f.mu.Unlock()
		if old != nil { // else it is being closed
			old.Close("the worker connected again")
		}
		select {
		case <-gone:
		case <-f.m.living.Done(): // the older one has no end any more
			return errClosing
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// settle ends what an earlier run of the master left running on a worker, before
// it gets builds (docs/protocol.md 0.2 item 10).
func (f *fleet) settle(s conn.Session) {
	f.mu.Lock()
	orphans := f.orphans[s.Name()]
	delete(f.orphans, s.Name())
	f.mu.Unlock()
	if err := f.discard(s); err != nil {
		f.m.log.Warn("a worker still has what it should not", "worker", s.Name(), "error", err)
		s.Close("it did not end an orphaned command")
		return
	}
	for i, c := range orphans {
		ctx, cancel := context.WithTimeout(f.m.hard, orphanTimeout)
		err := s.Interrupt(ctx, c.ID, "its build was interrupted by a restart of the master")
		cancel()
		if err != nil {
			f.mu.Lock()
			f.orphans[s.Name()] = append(f.orphans[s.Name()], orphans[i:]...)
			f.mu.Unlock()
			f.m.log.Warn("end orphaned command", "worker", s.Name(), "command", c.ID, "error", err)
			s.Close("it did not end an orphaned command")
			f.blame(s.Name(), fmt.Sprintf("it did not end command %s, which an earlier build left running: %v", c.ID, err))
			return
		}
		if c.BuildID != 0 {
			c.Done, c.Failure = true, "interrupted: its build was over"
			f.m.o.Store.Defer(func(tx state.Tx) error { return tx.PutCommand(c) }, nil)
		}
	}
}

// change changes a member and tells the distributor.
func (f *fleet) change(name string, fn func(*member)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mb := f.members[name]; mb != nil {
		fn(mb)
		f.m.dist.SetWorker(name, mb.status)
	}
}

// session returns the session of a worker, or nil.
func (f *fleet) session(name string) conn.Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mb := f.members[name]; mb != nil {
		return mb.session
	}
	return nil
}

// spawn runs fn in a goroutine that close waits for.
func (f *fleet) spawn(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.wg.Go(fn)
	}
}

// close waits for the goroutines of spawn; they end with Master.hard.
func (f *fleet) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wg.Wait()
}

// leave returns the session of a worker, which gets no builds any more, or nil.
func (f *fleet) leave(name string) (s conn.Session) {
	f.change(name, func(mb *member) {
		if s = mb.session; s != nil {
			mb.status.Connected = false
		}
	})
	return s
}

// remember adds commands that may still run on a worker.
func (f *fleet) remember(cmds ...state.Command) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range cmds {
		have := f.orphans[c.Worker]
		if !slices.ContainsFunc(have, func(o state.Command) bool { return o.ID == c.ID }) {
			f.orphans[c.Worker] = append(have, c)
		}
	}
}

// recordWorker changes the row of a worker, without waiting for the disk.
func (m *Master) recordWorker(name string, change func(*state.Worker), verb string) {
	m.o.Store.Defer(func(tx state.Tx) error {
		return m.writeWorker(tx, name, func(w *state.Worker) error {
			change(w)
			return nil
		}, verb)
	}, func(err error) {
		if err != nil {
			m.log.Error("write worker", "worker", name, "error", err)
		}
	})
}

// writeWorker changes the row of a worker. What the fleet holds against it is written as
// it is now, so that rows written in another order than things happened end up right.
func (m *Master) writeWorker(tx state.Tx, name string, change func(*state.Worker) error, verb string) error {
	row, err := state.One(tx.Workers(state.Where("name", name)))
	if err != nil {
		return err
	}
	was := row.Connected
	if err := change(&row); err != nil {
		return err
	}
	if q, ok := m.fleet.held(name); ok {
		row.Quarantine = q
	}
	if row.Connected != was || verb == "disconnected" {
		row.ChangedAt = state.Now()
	}
	_, err = tx.PutWorker(row, verb)
	return err
}

// local reports whether a worker runs inside the master.
func local(w *config.Worker) bool { return w != nil && w.Local }
