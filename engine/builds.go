package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/engine/dist"
	"buildstar/engine/run"
	"buildstar/state"
)

// builds are those that run, or are about to.
type builds struct {
	mu        sync.Mutex
	byTicket  map[run.Ticket]*active
	byRequest map[int64]*active
	byID      map[int64]*active
	closed    bool
	removed   chan struct{} // closed when a build is
	wg        sync.WaitGroup
}

// active is one build from the moment it was assigned to the moment its last row
// is written.
type active struct {
	start  dist.Start
	row    state.Build
	build  *run.Build         // nil until its row is open
	lease  *lease             // of a latent worker; nil: of another
	served bool               // it has the instance of the lease
	early  []func(*run.Build) // what was asked of it before
}

func newBuilds() *builds {
	return &builds{byTicket: map[run.Ticket]*active{}, byRequest: map[int64]*active{}, byID: map[int64]*active{}, removed: make(chan struct{})}
}

// tell says something to a build, now or once it is there. The caller holds mu.
func (a *active) tell(fn func(*run.Build)) {
	if a.build == nil {
		a.early = append(a.early, fn)
		return
	}
	fn(a.build)
}

var errClosing = errors.New("the master is shutting down")

// start is called by the distributor with each of its decisions.
func (m *Master) start(s dist.Start) {
	b := m.builds
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		m.dist.Refused(s.Ticket, errClosing)
		return
	}
	a := &active{start: s}
	b.byTicket[s.Ticket], b.byRequest[s.Request.ID] = a, a
	b.wg.Go(func() { m.build(a) })
}

// build is the goroutine of one build.
func (m *Master) build(a *active) {
	defer a.giveBack()
	defer m.builds.remove(a)
	order, err := m.open(a)
	if err != nil {
		m.disk.note(err)
		if !errors.Is(err, state.ErrNotFound) {
			m.log.Warn("open build", "builder", a.start.Builder, "request", a.start.Request.ID, "error", err)
		}
		m.dist.Refused(a.start.Ticket, err)
		return
	}
	m.dist.Opened(a.start.Ticket, order.Row)
	m.builds.opened(a, order.Row, run.New(order))
	m.carry(a, order)
}

// carry runs a build to its end and writes that. One that goes on with the next master
// has none.
func (m *Master) carry(a *active, order run.Order) {
	outcome := a.build.Run(m.hard)
	if outcome.Suspended {
		a.lease = nil // the next master's
		return
	}
	m.finish(a, order, outcome)
	a.giveBack() // before the next build comes, so that it gets another instance if it must
	m.dist.Finished(a.start.Ticket)
}

// giveBack ends the use of a latent worker.
func (a *active) giveBack() {
	if a.lease != nil {
		a.lease.end()
	}
}

// open claims the request and opens the build's row. If a reload replaces the
// configuration just then it tries again with the new one.
func (m *Master) open(a *active) (run.Order, error) {
	for {
		now := m.current.Load()
		order, err := m.openWith(now, a)
		if !errors.Is(err, dist.ErrOldGeneration) {
			return order, err
		}
		m.apply.Lock() // until what replaced it is in force
		again := m.current.Load() != now
		m.apply.Unlock()
		if !again {
			return order, err
		}
	}
}

// openWith opens a build of a configuration and gathers what it needs.
func (m *Master) openWith(now *applied, a *active) (run.Order, error) {
	s := a.start
	builder, w := now.snapshot.Builder(s.Builder), now.snapshot.Worker(s.Worker)
	if builder == nil || w == nil {
		return run.Order{}, fmt.Errorf("open build: the configuration no longer has builder %q and worker %q", s.Builder, s.Worker)
	}
	session, life := m.fleet.session(s.Worker), ""
	switch {
	case w.Latent != nil: // it is started, or found, by the build
	case session == nil:
		return run.Order{}, fmt.Errorf("open build: worker %q is no longer connected", s.Worker)
	default:
		life = session.Info().Life
	}
	o, err := dist.Open(m.hard, m.o.Store, s, now.workers[s.Worker].ID, now.generation, life)
	if err != nil {
		return run.Order{}, err
	}
	m.locks.Label(s.Ticket, fmt.Sprintf("%s #%d", s.Builder, o.Build.Number), o.Build.ID)
	order := m.order(now.snapshot, s, o, now.projects[builder.Project], now.snapshot.Master.ResumeTimeout)
	if w.Latent != nil {
		a.lease = &lease{x: m.instances, a: a, applied: now, worker: w}
		order.Instances = a.lease
	} else {
		order.Session = session
	}
	return order, nil
}

// order is what every build needs, but for the session of its worker.
func (m *Master) order(s *config.Snapshot, start dist.Start, opened dist.Opened, projectID int64, resumeTimeout time.Duration) run.Order {
	row := opened.Build
	o := run.Order{
		Store: m.o.Store, Logs: m.o.Logs, Locks: m.locks, Logger: m.log,
		Snapshot: s, Builder: s.Builder(start.Builder), Worker: s.Worker(start.Worker),
		Ticket: start.Ticket, Row: row, Buildset: opened.Buildset, Changes: opened.Changes, ProjectID: projectID,
		Basedir:  m.o.Basedir,
		Secret:   m.secret,
		BuildURL: run.BuildURL(s, start.Builder, row.Number), Triggers: triggers{m, s},
	}
	if row.WorkerLife != "" {
		o.Link, o.ResumeTimeout = link{m.fleet, start.Worker, row.WorkerLife}, resumeTimeout
	}
	return o
}

// secret asks the providers of the configuration in force.
func (m *Master) secret(ctx context.Context, name string) (string, error) {
	return m.current.Load().secrets.Lookup(ctx, name)
}

func (b *builds) opened(a *active, row state.Build, build *run.Build) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.row, a.build = row, build
	b.byID[row.ID] = a
	for _, fn := range a.early {
		fn(build)
	}
	if b.closed {
		a.interrupt()
	}
}

// served says that a build has the instance that it waited for.
func (b *builds) served(a *active) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.served = true
}

// outlives says that a build goes on with the next master: its worker is a process of this
// life.
func (b *builds) outlives(a *active, life string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a.row.WorkerLife = life
}

// held calls fn with the builds that run on a worker. None ends meanwhile.
func (b *builds) held(worker string, fn func(ids []int64)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []int64
	for id, a := range b.byID {
		if a.start.Worker == worker {
			ids = append(ids, id)
		}
	}
	fn(ids)
}

// interrupt ends what the master does for a build because the master ends: the build, or
// only its part in it. The caller holds mu.
func (a *active) interrupt() {
	if a.row.WorkerLife != "" {
		a.build.Suspend()
		return
	}
	a.build.Requeue(errClosing.Error())
}

func (b *builds) remove(a *active) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byTicket, a.start.Ticket)
	if b.byRequest[a.start.Request.ID] == a {
		delete(b.byRequest, a.start.Request.ID)
	}
	delete(b.byID, a.row.ID)
	close(b.removed)
	b.removed = make(chan struct{})
}

// leave tells the builds that outlive the master that it is about to hang up.
func (b *builds) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.byTicket {
		if a.build != nil && a.row.WorkerLife != "" {
			a.build.Leave()
		}
	}
}

// outliving reports whether there are builds that outlive the master.
func (b *builds) outliving() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.byTicket {
		if a.build != nil && a.row.WorkerLife != "" {
			return true
		}
	}
	return false
}

// close interrupts every build and lets none start any more.
func (b *builds) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, a := range b.byTicket {
		if a.build != nil {
			a.interrupt()
		}
	}
}

// requeue interrupts the builds on a worker so that they are built again; unless all is set
// only those that wait for its instance.
func (b *builds) requeue(worker, reason string, all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.byTicket {
		if a.start.Worker == worker && (all || !a.served) {
			a.tell(func(build *run.Build) { build.Requeue(reason) })
		}
	}
}

// strand interrupts the builds on instances that are not kept so that they are built again:
// nobody would come back to them.
func (b *builds) strand(kept map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.byID {
		if a.lease != nil && !kept[a.start.Worker] {
			a.tell(func(build *run.Build) { build.Requeue("its instance is gone") })
		}
	}
}

// waitFor returns when no build is left on a worker, or ctx ended.
func (b *builds) waitFor(ctx context.Context, worker string) {
	for {
		left := false
		b.mu.Lock()
		for _, a := range b.byTicket {
			left = left || a.start.Worker == worker
		}
		removed := b.removed
		b.mu.Unlock()
		if !left {
			return
		}
		select {
		case <-removed:
		case <-ctx.Done():
			return
		}
	}
}

// has reports whether a build runs on a worker.
func (b *builds) has(buildID int64, worker string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.byID[buildID]
	return a != nil && a.start.Worker == worker
}

// count returns how many builds run.
func (b *builds) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byTicket)
}

// wait returns when no build is left, or ctx ended.
func (b *builds) wait(ctx context.Context) bool {
	done := make(chan struct{})
	go func() { // ends with the last build
		b.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// again reports whether a result sends the request back to the queue.
func again(r config.Result) bool { return r == config.Retry }
