package engine

import (
	"context"
	"errors"
	"fmt"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

// triggers implements run.Triggers for the builds of one configuration.
type triggers struct {
	m    *Master
	made *config.Snapshot // with which the build started
}

// Trigger implements run.Triggers. The schedulers are those in force now. One that is no
// longer configured still triggers what the build's own configuration says of it.
func (t triggers) Trigger(ctx context.Context, by run.Origin, asks []run.Trigger) ([]int64, error) {
	ids, err := t.triggered(ctx, by, len(asks))
	if ids != nil || err != nil {
		return ids, err
	}
	priority, err := t.priority(ctx, by.BuildID)
	if err != nil {
		return nil, err
	}
	writes := make([]func(state.Tx) (int64, error), len(asks))
	for i, ask := range asks {
		if writes[i], err = t.ask(ctx, by, int64(i), priority, ask); err != nil {
			return nil, fmt.Errorf("trigger scheduler %q: %w", ask.Scheduler, err)
		}
	}
	ids = make([]int64, len(asks))
	err = t.m.o.Store.Update(ctx, func(tx state.Tx) (err error) {
		for i, write := range writes {
			if ids[i], err = write(tx); err != nil {
				return fmt.Errorf("trigger scheduler %q: %w", asks[i].Scheduler, err)
			}
		}
		return nil
	})
	t.m.disk.note(err)
	return ids, err
}

// triggered returns what the step triggered before a restart of the master, nil if
// nothing: its buildsets were all added in one transaction.
func (t triggers) triggered(ctx context.Context, by run.Origin, n int) (ids []int64, err error) {
	err = t.m.o.Store.View(ctx, func(tx state.ReadTx) error {
		sets, err := tx.Buildsets(state.Where("parent_buildid", by.BuildID, "parent_step", by.Step))
		for _, s := range sets {
			if ids == nil {
				ids = make([]int64, n)
			}
			if s.ParentSeq < int64(n) {
				ids[s.ParentSeq] = s.ID
			}
		}
		return err
	})
	return ids, err
}

// priority returns that of the request of a build.
func (t triggers) priority(ctx context.Context, buildID int64) (priority int64, err error) {
	err = t.m.o.Store.View(ctx, func(tx state.ReadTx) error {
		b, err := state.One(tx.Builds(state.Where("buildid", buildID)))
		if err != nil {
			return fmt.Errorf("build %d: %w", buildID, err)
		}
		r, err := state.One(tx.BuildRequests(state.Where("buildrequestid", b.RequestID)))
		if err != nil {
			return fmt.Errorf("request %d: %w", b.RequestID, err)
		}
		priority = r.Priority
		return nil
	})
	return priority, err
}

// ask asks a scheduler and returns what writes its answer: it returns the id of the
// buildset, 0 if there is none now.
func (t triggers) ask(ctx context.Context, by run.Origin, seq, priority int64, ask run.Trigger) (func(state.Tx) (int64, error), error) {
	s, err := t.find(ctx, ask.Scheduler)
	if err != nil {
		return nil, err
	}
	parent := sched.Parent{ParentBuild: by.BuildID, ParentStep: by.Step, ParentSeq: seq, Relationship: ask.Relationship}
	set, keep, err := s.Trigger(ctx, sched.Trigger{Stamps: ask.Stamps, Properties: ask.Properties, Priority: priority, Parent: parent})
	if err != nil {
		return nil, err
	}
	if set != nil {
		set.Parent, set.WaitedFor = parent, ask.WaitedFor
	}
	return func(tx state.Tx) (int64, error) {
		if keep != nil {
			if err := keep(tx); err != nil {
				return 0, err
			}
		}
		if set == nil {
			return 0, nil
		}
		out, err := t.m.submit(tx, *set)
		return out.BuildsetID, err
	}, nil
}

// find returns a scheduler that can be triggered and is not disabled.
func (t triggers) find(ctx context.Context, name string) (sched.Triggerer, error) {
	found := t.m.Snapshot().Scheduler(name)
	if found == nil {
		found = t.made.Scheduler(name)
	}
	if found == nil {
		return nil, fmt.Errorf("it is not configured: %w", state.ErrNotFound)
	}
	s, ok := found.(sched.Triggerer)
	if !ok {
		return nil, fmt.Errorf("it is a %s, which steps cannot trigger", found.Type())
	}
	row, err := t.m.scheduler(ctx, name)
	if err != nil {
		return nil, err
	}
	if !row.Enabled {
		return nil, fmt.Errorf("%w: it is disabled", ErrConflict)
	}
	return s, nil
}

// Cancel implements run.Triggers.
func (t triggers) Cancel(ctx context.Context, requestID int64, reason string) (int64, error) {
	_, a, err := t.m.cancel(ctx, requestID, reason)
	if errors.Is(err, ErrConflict) {
		return 0, nil // it is complete
	}
	if err != nil {
		return 0, fmt.Errorf("cancel request %d: %w", requestID, err)
	}
	if a == nil {
		return 0, nil
	}
	b := t.m.builds
	b.mu.Lock()
	defer b.mu.Unlock()
	return a.row.ID, nil
}
