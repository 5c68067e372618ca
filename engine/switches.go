package engine

import (
	"context"
	"fmt"

	"buildstar/engine/sched"
	"buildstar/state"
)

// PauseWorker implements Control (docs/requirements.md A5).
func (m *Master) PauseWorker(ctx context.Context, workerID int64, reason string, who sched.User) error {
	return m.switchWorker(ctx, workerID, "pause", func(w *state.Worker) {
		w.Paused, w.PauseReason, w.PausedBy, w.PausedAt = true, reason, who.String(), state.Now()
	})
}

// UnpauseWorker implements Control.
func (m *Master) UnpauseWorker(ctx context.Context, workerID int64, who sched.User) error {
	return m.switchWorker(ctx, workerID, "unpause", func(w *state.Worker) {
		w.Paused, w.PauseReason, w.PausedBy, w.PausedAt = false, "", "", 0
	})
}

func (m *Master) switchWorker(ctx context.Context, id int64, what string, change func(*state.Worker)) error {
	var row state.Worker
	err := m.o.Store.Update(ctx, func(tx state.Tx) (err error) {
		if row, err = state.One(tx.Workers(state.Where("workerid", id))); err != nil {
			return err
		}
		change(&row)
		_, err = tx.PutWorker(row, "state_updated")
		return err
	})
	if err != nil {
		return fmt.Errorf("%s worker %d: %w", what, id, err)
	}
	m.fleet.change(row.Name, func(mb *member) {
		mb.status.Paused, mb.status.PauseReason = row.Paused, row.PauseReason
		mb.status.PausedBy, mb.status.PausedAt = row.PausedBy, row.PausedAt
	})
	return nil
}

// EnableScheduler implements Control.
func (m *Master) EnableScheduler(ctx context.Context, schedulerID int64, enabled bool, who sched.User) error {
	var name string
	err := m.o.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.Schedulers(state.Where("schedulerid", schedulerID)))
		if err != nil {
			return err
		}
		name, row.Enabled = row.Name, enabled
		_, err = tx.PutScheduler(row)
		return err
	})
	if err != nil {
		return fmt.Errorf("enable or disable scheduler %d: %w", schedulerID, err)
	}
	m.log.Info("scheduler switched", "scheduler", name, "enabled", enabled, "by", who.String())
	return nil
}
