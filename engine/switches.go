package engine

import (
	"context"
	"fmt"

	"buildstar/engine/sched"
	"buildstar/state"
)

// EnableScheduler implements Control. What came while a scheduler was disabled is lost
// to it.
func (m *Master) EnableScheduler(ctx context.Context, schedulerID int64, enabled bool, who sched.User) error {
	var name string
	err := m.o.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.Schedulers(state.Where("schedulerid", schedulerID)))
		if err != nil {
			return err
		}
		name = row.Name
		if s := m.Snapshot().Scheduler(name); s != nil && enabled && !row.Enabled {
			if err := sched.Join(tx, s, true); err != nil {
				return err
			}
		}
		row.Enabled = enabled
		_, err = tx.PutScheduler(row)
		return err
	})
	if err != nil {
		return fmt.Errorf("enable or disable scheduler %d: %w", schedulerID, err)
	}
	m.log.Info("scheduler switched", "scheduler", name, "enabled", enabled, "by", who.String())
	return nil
}
