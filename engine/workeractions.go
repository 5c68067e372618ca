package engine

import (
	"context"
	"fmt"
	"time"

	"buildstar/conn"
	"buildstar/engine/sched"
	"buildstar/state"
)

const (
	killGrace     = 7 * time.Second // for builds to end that a kill interrupts; a command takes at most 6 s
	shutdownGrace = 5 * time.Second // for a worker to answer a shutdown, and again to leave
)

// PauseWorker implements Control (docs/requirements.md A5.3).
func (m *Master) PauseWorker(ctx context.Context, workerID int64, reason string, who sched.User) error {
	_, err := m.switchWorker(ctx, "pause", workerID, func(w *state.Worker) error {
		w.Paused, w.PauseReason, w.PausedBy, w.PausedAt = true, reason, who.String(), state.Now()
		return nil
	})
	return err
}

// UnpauseWorker implements Control. It ends a quarantine too (A5.4).
func (m *Master) UnpauseWorker(ctx context.Context, workerID int64, who sched.User) error {
	_, err := m.switchWorker(ctx, "unpause", workerID, func(w *state.Worker) error {
		w.Paused, w.PauseReason, w.PausedBy, w.PausedAt = false, "", "", 0
		m.fleet.quarantine(w.Name, func(q state.Quarantine, _ state.Time) state.Quarantine { return released(q) })
		return nil
	})
	return err
}

// StopWorker implements Control (A5.5).
func (m *Master) StopWorker(ctx context.Context, workerID int64, reason string, who sched.User) error {
	_, err := m.switchWorker(ctx, "stop", workerID, func(w *state.Worker) error {
		switch {
		case local(m.Snapshot().Worker(w.Name)):
			return fmt.Errorf("worker %q is local and lives as long as the master; pause it: %w", w.Name, ErrConflict)
		case !w.Connected:
			return fmt.Errorf("worker %q is not connected: %w", w.Name, ErrConflict)
		}
		m.setGraceful(w, reason, who.String())
		return nil
	})
	return err
}

// leaves is StopWorker by the wish of the worker itself.
func (m *Master) leaves(s conn.Session) {
	id := m.current.Load().workers[s.Name()].ID
	_, err := m.switchWorker(m.hard, "stop", id, func(w *state.Worker) error {
		if m.fleet.session(w.Name) == s {
			m.setGraceful(w, "", "the worker itself")
		}
		return nil
	})
	if err != nil {
		m.log.Warn("let a worker go", "worker", s.Name(), "error", err)
	}
}

// setGraceful notes that the process that is connected shall exit; who asked first is
// kept.
func (m *Master) setGraceful(w *state.Worker, reason, who string) {
	s := m.fleet.session(w.Name)
	if w.Graceful || s == nil {
		return
	}
	w.Graceful, w.GracefulReason, w.GracefulBy, w.GracefulAt = true, reason, who, state.Now()
	w.GracefulLife = s.Info().Life
}

func forgetGraceful(w *state.Worker) {
	w.Graceful, w.GracefulReason, w.GracefulBy, w.GracefulAt, w.GracefulLife = false, "", "", 0, ""
}

// staysGraceful reports whether a worker that connects is the process that was to exit.
// Of a stock worker that is not known, and the new connection starts anew (A5.11).
func staysGraceful(graceful bool, life string, s conn.Session) bool {
	return graceful && life != "" && life == s.Info().Life
}

// switchWorker changes the row of a worker, and lets the distributor know.
func (m *Master) switchWorker(ctx context.Context, what string, id int64, change func(*state.Worker) error) (row state.Worker, err error) {
	err = m.o.Store.Update(ctx, func(tx state.Tx) error {
		if row, err = state.One(tx.Workers(state.Where("workerid", id))); err != nil {
			return err
		}
		return m.writeWorker(tx, row.Name, func(w *state.Worker) error {
			err := change(w)
			row = *w
			return err
		}, "state_updated")
	})
	if err != nil {
		return row, fmt.Errorf("%s worker %d: %w", what, id, err)
	}
	m.fleet.change(row.Name, func(mb *member) {
		mb.status.Paused, mb.status.PauseReason = row.Paused, row.PauseReason
		mb.status.PausedBy, mb.status.PausedAt = row.PausedBy, row.PausedAt
		mb.status.Graceful, mb.leaver = row.Graceful, row.GracefulLife
	})
	return row, nil
}

// drained is called by the distributor when a worker that takes no more builds has none
// left.
func (m *Master) drained(worker string) {
	if s := m.fleet.session(worker); s != nil {
		m.fleet.spawn(func() { m.dismiss(s, "it was asked to stop, and is idle") })
	}
}

// KillWorker implements Control (A5.6).
func (m *Master) KillWorker(ctx context.Context, workerID int64, reason string, who sched.User) error {
	var row state.Worker
	err := m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
		row, err = state.One(tx.Workers(state.Where("workerid", workerID)))
		return err
	})
	var s conn.Session
	if err == nil {
		if s = m.fleet.leave(row.Name); s == nil {
			err = fmt.Errorf("worker %q is not connected: %w", row.Name, ErrConflict)
		}
	}
	if err != nil {
		return fmt.Errorf("kill worker %d: %w", workerID, err)
	}
	why := "the worker was killed by " + who.String()
	if reason != "" {
		why += ": " + reason
	}
	m.log.Info("worker killed", "worker", row.Name, "by", who.String(), "reason", reason)
	m.builds.requeue(row.Name, why, true)
	m.fleet.spawn(func() {
		grace, cancel := context.WithTimeout(m.hard, killGrace)
		m.builds.waitFor(grace, row.Name)
		cancel()
		m.dismiss(s, why)
	})
	return nil
}

// dismiss tells a worker's process to exit, and ends the connection if it does not.
func (m *Master) dismiss(s conn.Session, why string) {
	ctx, cancel := context.WithTimeout(m.hard, shutdownGrace)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		m.log.Warn("tell worker to exit", "worker", s.Name(), "error", err)
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		s.Close(why)
	}
}
