package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
)

const (
	interrupted = "interrupted by a restart of the master"
	// orphanMemory is how long ago a lost build may have ended for its commands to be
	// ended when their worker comes back.
	orphanMemory = 24 * time.Hour
	orphanBuilds = 1000
	// unjournalled is how many commands past the last journalled one may have been
	// sent: their rows were on their way to the disk.
	unjournalled = 8
	// signOfLife is how often the master writes that it is there, while builds run that
	// outlive it: so precisely is it known when it was killed.
	signOfLife = time.Second
)

// live writes signs of life until ctx ends.
func (m *Master) live(ctx context.Context) {
	tick := time.NewTicker(signOfLife)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if m.builds.outliving() {
				m.o.Store.Defer(func(tx state.Tx) error { return tx.Alive(state.Now()) }, nil)
			}
		case <-ctx.Done():
			return
		}
	}
}

// mend ends the writing of logs that a crash interrupted: what is torn is cut off,
// and what was written in small pieces is packed. Nothing depends on it.
func (m *Master) mend(ctx context.Context) {
	var lost []int64
	err := m.o.Store.View(ctx, func(tx state.ReadTx) error {
		lost = nil
		builds, err := tx.Builds(state.Where("complete", false))
		for _, b := range builds {
			if b.WorkerLife == "" {
				lost = append(lost, b.ID)
			}
		}
		return err
	})
	for _, id := range lost {
		m.mendBuild(id)
	}
	if err != nil {
		m.log.Warn("mend the logs of builds that the last run left open", "error", err)
	}
}

func (m *Master) mendBuild(id int64) {
	segment, err := m.o.Logs.OpenBuild(id)
	if err == nil {
		err = segment.Close()
	}
	if err != nil {
		m.log.Warn("mend the logs of a build that the last run left open", "build", id, "error", err)
	}
}

// reconcile registers this master and, in the same transaction, closes whatever its
// last run left open: a build that is open is always one of the epoch before. The
// builds end as RETRY and their requests wait again, without counting a try, but for
// those on workers that outlive the master, which may go on (see revive). Commands that may still run on workers are remembered, to be ended when the worker connects
// (docs/requirements.md D1 pain 16; docs/architecture.md section 4).
func (m *Master) reconcile(ctx context.Context) error {
	var orphans []state.Command
	err := m.o.Store.Update(ctx, func(tx state.Tx) error {
		before, err := state.One(tx.Masters(state.Query{}))
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
		m.alive = before.LastActive
		m.epoch, err = tx.PutMaster(state.Master{Name: m.o.Name, Active: true, LastActive: state.Now()})
		if err != nil {
			return fmt.Errorf("register the master: %w", err)
		}
		if err := m.instances.name(tx); err != nil {
			return fmt.Errorf("name the master: %w", err)
		}
		orphans, m.kept = nil, nil
		if err := m.recall(tx, &orphans); err != nil {
			return err
		}
		open, err := tx.Builds(state.Where("complete", false))
		if err != nil {
			return err
		}
		for _, b := range open {
			if b.WorkerLife != "" {
				m.kept = append(m.kept, b)
				continue
			}
			if err := m.closeBuild(tx, b, interrupted, &orphans); err != nil {
				return err
			}
		}
		if err := release(tx, m.kept); err != nil {
			return err
		}
		if err := cancelAbandoned(tx); err != nil {
			return err
		}
		return m.forgetSessions(tx)
	})
	m.fleet.remember(orphans...)
	return err
}

// closeBuild ends one build that was running; why is what people see.
func (m *Master) closeBuild(tx state.Tx, b state.Build, why string, orphans *[]state.Command) error {
	now := state.Now()
	steps, err := tx.Steps(state.Where("buildid", b.ID, "complete", false))
	if err != nil {
		return err
	}
	for _, s := range steps {
		s.Complete, s.CompleteAt, s.Results = true, now, config.Retry
		s.StateString = strings.TrimSpace(s.StateString + " (" + why + ")")
		if err := tx.PutStep(s, "finished"); err != nil {
			return err
		}
	}
	logs, err := tx.Logs(state.Where("buildid", b.ID, "complete", false))
	if err != nil {
		return err
	}
	for _, l := range logs {
		l.Complete = true
		if n, err := m.o.Logs.NumLines(b.ID, l.ID); err == nil {
			l.NumLines = n
		}
		if err := tx.PutLog(l); err != nil {
			return err
		}
	}
	left, err := m.leftRunning(tx, b)
	if err != nil {
		return err
	}
	*orphans = append(*orphans, left...)
	b.Complete, b.CompleteAt, b.Results, b.StateString = true, now, config.Retry, "retry ("+why+")"
	if b.StopReason != "" { // someone wanted it to end, so it is not built again
		b.Results, b.StateString = config.Cancelled, "cancelled ("+b.StopReason+")"
	} else if left, err := abandoned(tx, b.RequestID); err != nil {
		return err
	} else if left {
		b.Results, b.StateString = config.Cancelled, "cancelled (the build that waited for it was "+interrupted+")"
	}
	if err := tx.PutBuild(b, "finished"); err != nil {
		return err
	}
	if b.Results == config.Cancelled {
		return tx.CompleteRequest(b.RequestID, b.Results, now)
	}
	return nil // release gives the request back
}

// leftRunning returns the commands of a build that may still run: those whose end
// was never journalled, and those that may have been sent although their row was
// lost.
func (m *Master) leftRunning(tx state.ReadTx, b state.Build) ([]state.Command, error) {
	left, last, err := undone(tx, b.ID)
	if err != nil {
		return nil, err
	}
	w, err := state.One(tx.Workers(state.Where("workerid", b.WorkerID)))
	if err != nil {
		return left, nil // its row is gone, so nobody can log in as it
	}
	for n := int64(1); n <= unjournalled; n++ {
		left = append(left, state.Command{ID: run.CommandID(b.Epoch, b.ID, last+n), Worker: w.Name})
	}
	return left, nil
}

// undone returns a build's commands that have no end, and the count in the id of the
// newest.
func undone(tx state.ReadTx, buildID int64) (left []state.Command, last int64, err error) {
	cmds, err := tx.Commands(buildID)
	if err != nil {
		return nil, 0, err
	}
	for _, c := range cmds {
		if _, n, ok := strings.Cut(c.ID, "."); ok {
			if n, err := strconv.ParseInt(n, 10, 64); err == nil {
				last = max(last, n)
			}
		}
		if !c.Done && c.Worker != "" {
			left = append(left, c)
		}
	}
	return left, last, nil
}

// recall finds the commands of builds that were lost lately and whose worker has
// not been back since.
func (m *Master) recall(tx state.ReadTx, orphans *[]state.Command) error {
	since := state.At(time.Now().Add(-orphanMemory))
	q := state.Query{
		Where: []state.Filter{
			{Field: "results", Op: state.Eq, Values: []any{int64(config.Retry)}},
			{Field: "complete_at", Op: state.Ge, Values: []any{int64(since) / 1000}},
		},
		Order: []state.Order{{Field: "buildid", Desc: true}},
		Limit: orphanBuilds,
	}
	builds, err := tx.Builds(q)
	if err != nil {
		return err
	}
	for _, b := range builds {
		left, _, err := undone(tx, b.ID)
		if err != nil {
			return err
		}
		*orphans = append(*orphans, left...)
	}
	return nil
}

// release gives back every request that is claimed and not complete: no build of
// this master runs yet, and those that may go on are kept.
func release(tx state.Tx, kept []state.Build) error {
	claimed, err := tx.BuildRequests(state.Where("claimed", true, "complete", false))
	if err != nil {
		return err
	}
	for _, r := range claimed {
		if slices.ContainsFunc(kept, func(b state.Build) bool { return b.RequestID == r.ID }) {
			continue
		}
		if err := tx.Unclaim(false, r.ID); err != nil {
			return err
		}
	}
	return nil
}

// forgetSessions marks every worker as not connected.
func (m *Master) forgetSessions(tx state.Tx) error {
	rows, err := tx.Workers(state.Where("connected", true))
	if err != nil {
		return err
	}
	for _, w := range rows {
		w.Connected, w.ChangedAt = false, state.Now()
		if _, err := tx.PutWorker(w, "disconnected"); err != nil {
			return err
		}
	}
	return nil
}
