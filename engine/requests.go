package engine

import (
	"context"
	"errors"
	"fmt"

	"buildstar/config"
	"buildstar/engine/dist"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

func stopText(verb, reason string, who sched.User) string {
	text := fmt.Sprintf("%s by %v", verb, who)
	if reason != "" {
		text += ": " + reason
	}
	return text
}

// StopBuild implements Control.
func (m *Master) StopBuild(ctx context.Context, buildID int64, reason string, who sched.User) error {
	text := stopText("stopped", reason, who)
	err := m.o.Store.View(ctx, func(tx state.ReadTx) error { return stoppable(tx, buildID) })
	if err != nil {
		return fmt.Errorf("stop build %d: %w", buildID, err)
	}
	// The build hears of it first: a full disk must not keep it going.
	b := m.builds
	b.mu.Lock()
	a := b.byID[buildID]
	if a != nil {
		a.tell(func(r *run.Build) { r.Stop(text) })
	}
	b.mu.Unlock()
	err = m.o.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.Builds(state.Where("buildid", buildID)))
		switch {
		case err != nil:
			return err
		case a != nil && row.StopReason == text:
			return nil // it has ended already, because of this
		case row.Complete || a == nil:
			return errComplete
		}
		row.StopReason = text
		return tx.PutBuild(row, "update")
	})
	if err != nil {
		return fmt.Errorf("stop build %d: %w", buildID, err)
	}
	return nil
}

var errComplete = fmt.Errorf("%w: it is complete", ErrConflict)

func stoppable(tx state.ReadTx, buildID int64) error {
	row, err := state.One(tx.Builds(state.Where("buildid", buildID)))
	if err == nil && row.Complete {
		err = errComplete
	}
	return err
}

// CancelRequest implements Control.
func (m *Master) CancelRequest(ctx context.Context, requestID int64, reason string, who sched.User) error {
	building, build, err := m.cancel(ctx, requestID, stopText("cancelled", reason, who))
	switch {
	case err != nil:
		return fmt.Errorf("cancel request %d: %w", requestID, err)
	case building && build == nil:
		return fmt.Errorf("cancel request %d: %w: its build is just ending", requestID, ErrConflict)
	case !building:
		m.log.Info("request cancelled", "request", requestID, "by", who.String(), "reason", reason)
	}
	return nil
}

// cancel completes a request that waits, or stops the build of one that is building: nil
// if that is just ending.
func (m *Master) cancel(ctx context.Context, requestID int64, reason string) (building bool, build *active, err error) {
	err = m.o.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.BuildRequests(state.Where("buildrequestid", requestID)))
		switch {
		case err != nil:
			return err
		case row.Complete:
			return errComplete
		case row.Claimed:
			building = true
			return nil
		}
		return cancelWaiting(tx, requestID)
	})
	if err != nil || !building {
		return building, nil, err
	}
	b := m.builds
	b.mu.Lock()
	defer b.mu.Unlock()
	if build = b.byRequest[requestID]; build != nil {
		build.tell(func(r *run.Build) { r.Stop(reason) })
		m.o.Store.Defer(func(tx state.Tx) error { return noteStop(tx, requestID, reason) }, m.disk.note)
	}
	return true, build, nil
}

// noteStop writes why the build of a request is to end, for a master that goes on with it
// after a crash.
func noteStop(tx state.Tx, requestID int64, reason string) error {
	rows, err := tx.Builds(state.Where("buildrequestid", requestID, "complete", false))
	for _, b := range rows {
		if b.StopReason == "" {
			b.StopReason = reason
			err = errors.Join(err, tx.PutBuild(b, "update"))
		}
	}
	return err
}

// cancelWaiting ends a request that is not claimed.
func cancelWaiting(tx state.Tx, requestID int64) error {
	now := state.Now()
	if err := tx.Claim(now, requestID); err != nil {
		return err
	}
	return tx.CompleteRequest(requestID, config.Cancelled, now)
}

// SetPriority implements Control.
func (m *Master) SetPriority(ctx context.Context, requestID, priority int64, who sched.User) error {
	err := m.o.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.BuildRequests(state.Where("buildrequestid", requestID)))
		if err != nil {
			return err
		}
		if row.Complete {
			return errComplete
		}
		row.Priority = priority
		return tx.PutRequest(row)
	})
	if err != nil {
		return fmt.Errorf("set the priority of request %d: %w", requestID, err)
	}
	m.log.Info("priority changed", "request", requestID, "priority", priority, "by", who.String())
	return nil
}

// Explain implements Control.
func (m *Master) Explain(ctx context.Context, requestID int64) (dist.Explanation, error) {
	var row state.BuildRequest
	var builds []state.Build
	x := dist.Explanation{RequestID: requestID, At: state.Now(), Reasons: []dist.Reason{}}
	err := m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
		if row, err = state.One(tx.BuildRequests(state.Where("buildrequestid", requestID))); err != nil {
			return err
		}
		builder, err := state.One(tx.Builders(state.Where("builderid", row.BuilderID)))
		if err != nil {
			return err
		}
		x.Builder = builder.Name
		builds, err = tx.Builds(state.Where("buildrequestid", requestID))
		return err
	})
	if err != nil {
		return x, fmt.Errorf("explain request %d: %w", requestID, err)
	}
	if !row.Claimed && !row.Complete {
		waiting, ok, err := m.dist.Explain(ctx, row)
		if err != nil {
			return x, fmt.Errorf("explain request %d: %w", requestID, err)
		}
		if ok {
			waiting.Builder = x.Builder
			err := m.o.Store.View(ctx, func(tx state.ReadTx) error { return noteWaiters(tx, requestID, &waiting) })
			if err != nil {
				return x, fmt.Errorf("explain request %d: %w", requestID, err)
			}
			return waiting, nil
		}
	}
	return settled(x, row, builds), nil
}

// settled explains a request that waits no longer.
func settled(x dist.Explanation, row state.BuildRequest, builds []state.Build) dist.Explanation {
	var last state.Build
	if len(builds) > 0 {
		last = builds[len(builds)-1]
		x.BuildID = last.ID
	}
	switch {
	case row.CollapsedTo != 0:
		x.State, x.Summary = "complete", fmt.Sprintf("request %d, which asks for the same, stands for it", row.CollapsedTo)
	case row.Complete && x.BuildID == 0:
		x.State, x.Summary = "complete", "it ended as "+row.Results.String()+" without a build"
	case row.Complete:
		x.State, x.Summary = "complete", fmt.Sprintf("build #%d: %s", last.Number, last.StateString)
	case x.BuildID == 0 || last.Complete:
		x.State, x.BuildID, x.Summary = "building", 0, "a build of it is about to start"
	default:
		x.State, x.Summary = "building", fmt.Sprintf("build #%d: %s", last.Number, last.StateString)
	}
	return x
}
