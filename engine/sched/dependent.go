package sched

import (
	"context"
	"iter"
	"slices"
	"time"

	"buildstar/config"
	"buildstar/state"
)

// Dependent is a scheduler that builds the same sources once all builds of another
// scheduler's buildset succeeded (docs/requirements.md C6).
type Dependent struct {
	Base
	Upstream string // the name of the other scheduler
}

// Refs yields the builders and the upstream.
func (s *Dependent) Refs() iter.Seq2[string, config.Key] {
	return func(yield func(string, config.Key) bool) {
		for param, k := range s.Base.Refs() {
			if !yield(param, k) {
				return
			}
		}
		if s.Upstream == "" {
			return // it is a problem already
		}
		yield("upstream", config.Key{Kind: config.KindScheduler, Name: s.Upstream})
	}
}

// upstreamName is what it remembers: the upstream's buildsets that are not complete.
const upstreamName = "upstream"

// pending are these buildsets.
type pending struct {
	Upstream string
	IDs      []int64
}

// Run implements Runner.
func (s *Dependent) Run(ctx context.Context, h Host) error {
	w := wake{"buildsets/*/*", func(e state.Event) bool {
		b, ok := e.Row.(state.Buildset)
		return ok && b.Scheduler == s.Upstream
	}}
	return loop(ctx, h.Store, &w, func(ctx context.Context) (time.Time, error) { return s.act(ctx, h) })
}

// upstreamSets are the buildsets of the upstream that there is something to do about.
type upstreamSets struct {
	cursor  cursor
	pending pending
	open    []state.Buildset // those that were pending
	fresh   []state.Buildset // those after the cursor
	changes map[int64][]state.Change
}

func (s *Dependent) read(ctx context.Context, h Host) (r upstreamSets, err error) {
	err = h.Store.View(ctx, func(tx state.ReadTx) (err error) {
		r = upstreamSets{changes: map[int64][]state.Change{}}
		if _, err := tx.Recall(s.Key(), cursorName, &r.cursor); err != nil {
			return err
		}
		if _, err := tx.Recall(s.Key(), upstreamName, &r.pending); err != nil {
			return err
		}
		q := after("bsid", r.cursor.Buildset, batch)
		q.Where = append(q.Where, state.Filter{Field: "scheduler", Op: state.Eq, Values: []any{s.Upstream}})
		if r.fresh, err = tx.Buildsets(q); err != nil {
			return err
		}
		if r.pending.Upstream == s.Upstream {
			for _, id := range r.pending.IDs {
				b, err := tx.Buildsets(state.Where("bsid", id))
				if err != nil {
					return err
				}
				r.open = append(r.open, b...) // none if it was deleted
			}
		}
		for _, b := range slices.Concat(r.open, r.fresh) {
			if b.Complete {
				if r.changes[b.ID], err = state.ChangesOf(tx, b.SourceStamps); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return r, err
}

func (s *Dependent) act(ctx context.Context, h Host) (next time.Time, err error) {
	r, err := s.read(ctx, h)
	if err != nil {
		return next, err
	}
	e := effect{from: r.cursor, to: r.cursor}
	now := pending{Upstream: s.Upstream}
	for _, b := range slices.Concat(r.open, r.fresh) {
		switch {
		case b.RebuiltBuildID != 0: // somebody builds it again by hand
		case !b.Complete:
			now.IDs = append(now.IDs, b.ID)
		case b.Results <= config.Warnings:
			set, ok, err := s.fire(ctx, h, Firing{Changes: r.changes[b.ID], Stamps: s.with(b.SourceStamps)})
			if err != nil {
				return next, err
			}
			if ok {
				e.sets = append(e.sets, set)
			}
		}
	}
	if n := len(r.fresh); n > 0 {
		e.to.Buildset = r.fresh[n-1].ID
	} else if now.Upstream == r.pending.Upstream && slices.Equal(now.IDs, r.pending.IDs) {
		return next, nil
	}
	e.remember = map[string]any{upstreamName: now}
	done, err := h.commit(ctx, s.Key(), e)
	return unless(done && len(r.fresh) < batch, next), err
}

// with adds the codebases of the scheduler that are missing.
func (s *Dependent) with(stamps []state.SourceStamp) []state.SourceStamp {
	stamps = slices.Clone(stamps)
	for _, more := range s.Stamps(nil, nil) {
		if !slices.ContainsFunc(stamps, func(st state.SourceStamp) bool { return st.Codebase == more.Codebase }) {
			stamps = append(stamps, more)
		}
	}
	return stamps
}
