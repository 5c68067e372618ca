package dist

import (
	"context"
	"errors"
	"fmt"

	"buildstar/config"
	"buildstar/state"
)

// ErrOldGeneration is wrapped by what Open returns when the configuration of the
// build is no longer stored: another came in force meanwhile.
var ErrOldGeneration = errors.New("the configuration was replaced")

// Opened is a build that may start, with what it was asked for.
type Opened struct {
	Build    state.Build
	Buildset state.Buildset
	Changes  []state.Change // of its source stamps
}

// Open claims the request of a start and opens its build, in one transaction. It
// fails with state.ErrNotFound if the request is no longer waiting, and with
// ErrOldGeneration, changing nothing, if the generation is gone. life is that of the
// worker (conn.WorkerInfo).
func Open(ctx context.Context, store state.Store, s Start, workerID, generation int64, life string) (o Opened, err error) {
	err = store.Update(ctx, func(tx state.Tx) error {
		if has, err := tx.HasGeneration(generation); err != nil {
			return err
		} else if !has {
			return fmt.Errorf("generation %d: %w", generation, ErrOldGeneration)
		}
		now := state.Now()
		if err := tx.Claim(now, s.Request.ID); err != nil {
			return err
		}
		if o.Buildset, err = state.One(tx.Buildsets(state.Where("bsid", s.Request.BuildsetID))); err != nil {
			return err
		}
		if o.Changes, err = state.ChangesOf(tx, o.Buildset.SourceStamps); err != nil {
			return err
		}
		o.Build, err = tx.AddBuild(state.Build{
			BuilderID: s.Request.BuilderID, RequestID: s.Request.ID, WorkerID: workerID, StartedAt: now,
			StateString: "preparing worker", Results: config.Unfinished, Generation: generation, WorkerLife: life,
		})
		return err
	})
	if err != nil {
		return o, fmt.Errorf("open a build of %s: %w", s.Builder, err)
	}
	return o, nil
}
