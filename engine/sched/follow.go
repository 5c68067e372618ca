package sched

import (
	"context"
	"fmt"
	"maps"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/state"
)

// Follow says which changes a scheduler follows (docs/requirements.md C6).
type Follow struct {
	Filter          *Filter
	FileIsImportant prop.Template[bool] // gets the change; not set: every change is important
	OnlyImportant   bool                // the others are ignored
	// Absolute remembers the newest source of each codebase, and builds that where no
	// change says which.
	Absolute bool
}

// followed is what there is to do about changes.
type followed struct {
	cursor  cursor
	fresh   []state.Change // those after the cursor
	more    bool           // there are more than were read
	waiting []state.SchedulerChange
	sources map[string]Source // of Absolute, by codebase
}

// batch is how many changes are looked at in one transaction.
const batch = 500

const sourcesName = "sources"

// read reads it; also, if not nil, reads more in the same transaction.
func (f *Follow) read(ctx context.Context, h Host, owner config.Key, also func(state.ReadTx) error) (r followed, err error) {
	err = h.Store.View(ctx, func(tx state.ReadTx) error {
		r = followed{}
		if _, err := tx.Recall(owner, cursorName, &r.cursor); err != nil {
			return err
		}
		var err error
		if r.fresh, err = tx.Changes(after("changeid", r.cursor.Change, batch)); err != nil {
			return err
		}
		r.more = len(r.fresh) == batch
		if r.waiting, err = tx.SchedulerChanges(h.ID); err != nil {
			return err
		}
		if _, err := tx.Recall(owner, sourcesName, &r.sources); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
	return r, err
}

// sorted are the changes that a scheduler follows, of those that are fresh.
type sorted struct {
	changes   []state.Change
	important map[int64]bool
}

// sort asks the filter, and fileIsImportant, about each fresh change. A change about
// which a function of the user fails is not followed, and the log says so.
func (f *Follow) sort(ctx context.Context, h Host, b *Base, fresh []state.Change) (sorted, error) {
	s := sorted{important: map[int64]bool{}}
	for i := range fresh {
		c := &fresh[i]
		wanted, important, err := f.look(ctx, b, c)
		if ctx.Err() != nil {
			return s, ctx.Err() // it is not the function that failed
		}
		if err != nil {
			h.Log.Error("a change is not followed: a function of the configuration failed", "scheduler", b.Name, "change", c.ID, "error", err)
			h.Problem(ctx, fmt.Errorf("change %d is not followed: %w", c.ID, err))
			continue
		}
		if wanted {
			s.changes = append(s.changes, *c)
			s.important[c.ID] = important
		}
	}
	return s, nil
}

func (f *Follow) look(ctx context.Context, b *Base, c *state.Change) (wanted, important bool, err error) {
	if !b.Codebases.Has(c.Codebase) {
		return false, false, nil
	}
	if wanted, err = f.Filter.Match(ctx, c); err != nil || !wanted {
		return false, false, err
	}
	important = true
	if f.FileIsImportant.IsSet() {
		if important, err = f.FileIsImportant.Render(ctx, about(c, changeObject{c})); err != nil {
			return false, false, explain(err, "fileIsImportant")
		}
	}
	return important || !f.OnlyImportant, important, nil
}

// known returns the newest source of each codebase, with those of changes.
func (f *Follow) known(was map[string]Source, changes []state.Change) map[string]Source {
	if !f.Absolute {
		return nil
	}
	now := maps.Clone(was)
	if now == nil {
		now = map[string]Source{}
	}
	for _, c := range changes {
		now[c.Codebase] = Source{Codebase: c.Codebase, Repository: c.Repository, Branch: c.Branch, Revision: c.Revision}
	}
	return now
}

// load returns the changes of these ids, of which some may be at hand, in order.
func load(ctx context.Context, h Host, ids []int64, at []state.Change) ([]state.Change, error) {
	have := make(map[int64]state.Change, len(at))
	for _, c := range at {
		have[c.ID] = c
	}
	out := make([]state.Change, 0, len(ids))
	err := h.Store.View(ctx, func(tx state.ReadTx) error {
		out = out[:0]
		for _, id := range ids {
			c, ok := have[id]
			if !ok {
				var err error
				if c, err = state.One(tx.Changes(state.Where("changeid", id))); err != nil {
					return err
				}
			}
			out = append(out, c)
		}
		return nil
	})
	return out, err
}
