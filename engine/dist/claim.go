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

// Open claims the request of a start and opens its build, in one transaction. It
// fails with state.ErrNotFound if the request is no longer waiting, and with
// ErrOldGeneration, changing nothing, if the generation is gone.
func Open(ctx context.Context, store state.Store, s Start, workerID, generation int64) (b state.Build, bs state.Buildset, err error) {
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
		if bs, err = state.One(tx.Buildsets(state.Where("bsid", s.Request.BuildsetID))); err != nil {
			return err
		}
		b, err = tx.AddBuild(state.Build{
			BuilderID: s.Request.BuilderID, RequestID: s.Request.ID, WorkerID: workerID, StartedAt: now,
			StateString: "preparing worker", Results: config.Unfinished, Generation: generation,
		})
		return err
	})
	if err != nil {
		return b, bs, fmt.Errorf("open a build of %s: %w", s.Builder, err)
	}
	return b, bs, nil
}
