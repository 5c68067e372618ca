package engine

import (
	"context"
	"fmt"

	"buildstar/engine/change"
	"buildstar/state"
)

// AddChange implements Control.
func (m *Master) AddChange(ctx context.Context, in change.Input) (state.Change, error) {
	rows, err := m.AddChanges(ctx, []change.Input{in}, nil)
	if err != nil {
		return state.Change{}, err
	}
	return rows[0], nil
}

// AddChanges adds changes in the order given, all or none of them, and returns them.
// What also writes, if it is not nil, is in the same transaction: the cursor of a
// poller. A change that cannot be added is a *change.Invalid.
func (m *Master) AddChanges(ctx context.Context, ins []change.Input, also func(state.Tx) error) ([]state.Change, error) {
	rows := make([]state.Change, len(ins))
	for i, in := range ins {
		err := in.Check()
		if err == nil {
			in, err = m.fillIn(ctx, in)
		}
		if err != nil {
			return nil, fmt.Errorf("add change of revision %q: %w", in.Revision, err)
		}
		rows[i] = in.Row()
		rows[i].ReceivedAt = state.Now()
	}
	err := m.o.Store.Update(ctx, func(tx state.Tx) error {
		for i := range rows {
			id, err := tx.AddChange(rows[i])
			if err != nil {
				return err
			}
			if rows[i], err = state.One(tx.Changes(state.Where("changeid", id))); err != nil {
				return err
			}
		}
		if also != nil {
			return also(tx)
		}
		return nil
	})
	if err != nil {
		m.disk.note(err)
		return nil, fmt.Errorf("add changes: %w", err)
	}
	return rows, nil
}

// fillIn adds what the configuration in force says of a change.
func (m *Master) fillIn(ctx context.Context, in change.Input) (change.Input, error) {
	in, noLink, err := in.FillIn(ctx, &m.Snapshot().Master)
	if noLink != nil {
		m.log.WarnContext(ctx, "changes: a change goes without a link", "revision", in.Revision, "repository", in.Repository, "error", noLink)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return in, err
}
