package engine

import (
	"context"
	"time"

	"buildstar/state"
)

// shutdown takes the master down: no new builds; those on workers that outlive the master
// go on; the others are interrupted and their requests wait for the next start; then
// workers are disconnected. It
// takes at most gracePeriod, or no time once Hurry was called (docs/requirements.md D1
// pain 17).
func (m *Master) shutdown() {
	m.mu.Lock()
	m.stopping = true
	m.mu.Unlock()
	m.die()
	m.reloads.close()
	m.waitApplied()
	m.sources.close()
	m.schedulers.wait()
	m.dist.SetStopping()
	if n := m.builds.count(); n > 0 {
		m.log.Info("shutting down: builds on our own workers go on, others are interrupted and queued again", "builds", n, "at most", gracePeriod)
	}
	m.doors.close() // who is told to wait must not come back at once
	m.builds.leave()
	m.fleet.hangUp()
	grace, cancel := context.WithTimeout(m.hard, gracePeriod)
	defer cancel()
	m.builds.close()
	if !m.builds.wait(grace) {
		m.log.Warn("builds did not end in time; they are left to the next start", "builds", m.builds.count())
	}
	m.instances.close(m.log)
	m.hurry()
	stopping, cancel := context.WithTimeout(context.Background(), localPatience)
	defer cancel()
	if left := m.locals.close(stopping); len(left) > 0 {
		m.log.Warn("local workers did not stop in time", "workers", left)
	}
	bound, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := m.server.Shutdown(bound); err != nil {
		m.log.Warn("disconnect workers", "error", err)
	}
	m.builds.wait(bound)
	m.fleet.close()
	err := m.o.Store.Update(bound, func(tx state.Tx) error {
		_, err := tx.PutMaster(state.Master{Name: m.o.Name, LastActive: state.Now()})
		return err
	})
	if err != nil {
		m.log.Warn("write the end of the master", "error", err)
	}
}
