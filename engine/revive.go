package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/engine/dist"
	"buildstar/engine/run"
	"buildstar/state"
)

// revivedTickets is where the tickets of builds begin that an earlier run of the master
// started; the distributor draws its own from 1.
const revivedTickets = run.Ticket(1) << 62

// revive goes on with the builds that the last run of the master left to workers that
// outlive it. They have their locks and their places on the workers before anything else
// is decided. One that cannot go on is built again.
func (m *Master) revive(ctx context.Context, now *config.Snapshot) error {
	old := memories{m: m, now: now, digest: generation(now).Digest, snapshots: map[int64]*config.Snapshot{}}
	for _, row := range m.kept {
		a, order, err := m.recallBuild(ctx, &old, row)
		if err == nil {
			a.build = run.New(order)
			err = a.build.Reclaim(ctx)
		}
		if err != nil {
			m.locks.ReleaseAll(revivedTickets | run.Ticket(row.ID))
			if err := m.giveBack(ctx, row, err); err != nil {
				return err
			}
			continue
		}
		m.log.Info("build goes on", "builder", a.start.Builder, "build", row.Number, "worker", a.start.Worker)
		m.dist.Adopt(a.start, row)
		b := m.builds
		b.mu.Lock()
		b.byTicket[a.start.Ticket], b.byRequest[row.RequestID], b.byID[row.ID] = a, a, a
		b.wg.Go(func() {
			defer a.giveBack()
			defer b.remove(a)
			m.carry(a, order)
		})
		b.mu.Unlock()
	}
	m.kept = nil
	return m.instances.adopt(ctx, &old)
}

// giveBack ends a build that cannot go on, as RETRY.
func (m *Master) giveBack(ctx context.Context, row state.Build, why error) error {
	m.log.Warn("a build cannot go on and is built again", "build", row.ID, "error", why)
	m.mendBuild(row.ID)
	var orphans []state.Command
	err := m.o.Store.Update(ctx, func(tx state.Tx) error {
		orphans = nil
		if err := m.closeBuild(tx, row, fmt.Sprintf("%s; it could not go on: %v", interrupted, why), &orphans); err != nil {
			return err
		}
		request, err := state.One(tx.BuildRequests(state.Where("buildrequestid", row.RequestID)))
		if err != nil || request.Complete {
			return err
		}
		return tx.Unclaim(false, row.RequestID)
	})
	if err != nil {
		return fmt.Errorf("end build %d: %w", row.ID, err)
	}
	m.fleet.remember(orphans...)
	return nil
}

// recallBuild gathers what a build needs to go on.
func (m *Master) recallBuild(ctx context.Context, old *memories, row state.Build) (*active, run.Order, error) {
	var request state.BuildRequest
	opened := dist.Opened{Build: row}
	var builderRow state.Builder
	var workerRow state.Worker
	past := &run.Past{Alive: m.alive}
	err := m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
		if opened.Build.Properties, err = tx.BuildProperties(row.ID); err != nil {
			return err
		}
		if request, err = state.One(tx.BuildRequests(state.Where("buildrequestid", row.RequestID))); err != nil {
			return err
		}
		if opened.Buildset, err = state.One(tx.Buildsets(state.Where("bsid", request.BuildsetID))); err != nil {
			return err
		}
		if opened.Changes, err = state.ChangesOf(tx, opened.Buildset.SourceStamps); err != nil {
			return err
		}
		if builderRow, err = state.One(tx.Builders(state.Where("builderid", row.BuilderID))); err != nil {
			return err
		}
		if workerRow, err = state.One(tx.Workers(state.Where("workerid", row.WorkerID))); err != nil {
			return err
		}
		if past.Steps, err = tx.Steps(state.Where("buildid", row.ID)); err != nil {
			return err
		}
		if past.Logs, err = tx.Logs(state.Where("buildid", row.ID)); err != nil {
			return err
		}
		if past.Commands, err = tx.Commands(row.ID); err != nil {
			return err
		}
		if past.Secrets, err = tx.BuildSecrets(row.ID); err != nil {
			return err
		}
		left, err := abandoned(tx, row.RequestID)
		if left {
			err = errors.New("the build that waited for it is over")
		}
		return err
	})
	if err != nil {
		return nil, run.Order{}, err
	}
	past.Info = conn.InfoOf(workerRow.Info)
	snapshot, err := old.snapshot(ctx, row.Generation)
	if err != nil {
		return nil, run.Order{}, err
	}
	builder, w := snapshot.Builder(builderRow.Name), snapshot.Worker(workerRow.Name)
	switch still := old.now.Worker(workerRow.Name); {
	case builder == nil || w == nil:
		return nil, run.Order{}, fmt.Errorf("its configuration has no builder %q and worker %q", builderRow.Name, workerRow.Name)
	case still == nil && w.Latent != nil: // its instance is stopped once it builds nothing
	case still == nil || still.Local:
		return nil, run.Order{}, fmt.Errorf("worker %q left the configuration", workerRow.Name)
	case (still.Latent == nil) != (w.Latent == nil):
		return nil, run.Order{}, fmt.Errorf("worker %q is started in another way now", workerRow.Name)
	}
	start := dist.Start{Ticket: revivedTickets | run.Ticket(row.ID), Request: request, Builder: builder.Name, Worker: w.Name}
	order := m.order(snapshot, start, opened, builderRow.ProjectID, old.now.Master.ResumeTimeout)
	order.Past = past
	a := &active{start: start, row: row, served: true}
	if w.Latent != nil {
		a.lease = &lease{x: m.instances, release: func() { m.instances.ledger.Release(w.Name, row.ID) }}
	}
	return a, order, nil
}

// memories are the configurations that builds started with.
type memories struct {
	m         *Master
	now       *config.Snapshot
	digest    []byte
	snapshots map[int64]*config.Snapshot
}

// snapshot returns a configuration that a build goes on with. What it read from the
// environment must be what it still is: the commands of its steps get that, too.
func (o *memories) snapshot(ctx context.Context, id int64) (*config.Snapshot, error) {
	s, err := o.evaluated(ctx, id)
	if err != nil || s == o.now {
		return s, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		now, set := os.LookupEnv(name)
		if was := s.Env[name]; (was != nil) != set || set && *was != now {
			return nil, fmt.Errorf("the environment variable %s changed", name)
		}
	}
	return s, nil
}

// evaluated returns a configuration, evaluated again from what it read then unless it is the
// one of now.
func (o *memories) evaluated(ctx context.Context, id int64) (*config.Snapshot, error) {
	if s := o.snapshots[id]; s != nil {
		return s, nil
	}
	var g state.Generation
	err := o.m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
		g, err = tx.Generation(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := o.now
	if string(g.Digest) != string(o.digest) {
		if s, err = o.evaluate(ctx, g); err != nil {
			return nil, err
		}
	}
	o.snapshots[id] = s
	return s, nil
}

// evaluate makes the snapshot of a generation again.
func (o *memories) evaluate(ctx context.Context, g state.Generation) (*config.Snapshot, error) {
	if o.m.o.Replay == nil {
		return nil, errors.New("its configuration is another one")
	}
	inputs := []config.Input{{Path: g.Main, Data: g.Inputs[g.Main]}}
	for _, path := range slices.Sorted(maps.Keys(g.Inputs)) {
		if path != g.Main {
			inputs = append(inputs, config.Input{Path: path, Data: g.Inputs[path]})
		}
	}
	s, err := o.m.o.Replay(ctx, inputs, g.Env)
	if err != nil {
		return nil, fmt.Errorf("evaluate the configuration it started with: %w", withoutSource(err))
	}
	return s, nil
}

// link is a build's way to its worker.
type link struct {
	f            *fleet
	worker, life string
}

var _ run.Link = link{}

// Next implements run.Link.
func (l link) Next(ctx context.Context) (conn.Session, error) {
	for {
		l.f.mu.Lock()
		mb, configured, moved := l.f.members[l.worker], l.f.configured, l.f.moved
		var s conn.Session
		if mb != nil {
			s = mb.session
		}
		l.f.mu.Unlock()
		switch {
		case mb == nil && configured:
			return nil, fmt.Errorf("worker %s left the configuration", l.worker)
		case s == nil || closed(s.Done()):
		case s.Info().Life != l.life:
			return nil, fmt.Errorf("worker %s was started anew", l.worker)
		default:
			return s, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// announce tells those who wait for a worker to look again. The caller holds mu.
func (f *fleet) announce() {
	close(f.moved)
	f.moved = make(chan struct{})
}

// discard ends what a worker has of builds that are over (docs/protocol.md F).
func (f *fleet) discard(s conn.Session) error {
	for _, h := range s.Held() {
		if f.m.builds.has(run.CommandBuild(h.ID), s.Name()) {
			continue
		}
		ctx, cancel := context.WithTimeout(f.m.hard, orphanTimeout)
		err := s.Interrupt(ctx, h.ID, "its build is over")
		cancel()
		if err != nil {
			return fmt.Errorf("end command %s of a build that is over: %w", h.ID, err)
		}
	}
	return nil
}

// hangUp ends the sessions of the workers that go on without a master.
func (f *fleet) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, mb := range f.members {
		if mb.session != nil && mb.session.Info().Life != "" {
			mb.session.Close(errClosing.Error())
		}
	}
}
