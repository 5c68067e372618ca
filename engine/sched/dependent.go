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

func (s *Dependent) act(ctx context.Context, h Host) (time.Time, error) {
	var from cursor
	var was pending
	var fresh, open []state.Buildset
	err := h.Store.View(ctx, func(tx state.ReadTx) (err error) {
		from, was, open = cursor{}, pending{}, nil
		if _, err := tx.Recall(s.Key(), cursorName, &from); err != nil {
			return err
		}
		if _, err := tx.Recall(s.Key(), upstreamName, &was); err != nil {
			return err
		}
		q := after("bsid", from.Buildset, batch)
		q.Where = append(q.Where, state.Filter{Field: "scheduler", Op: state.Eq, Values: []any{s.Upstream}})
		if fresh, err = tx.Buildsets(q); err != nil || was.Upstream != s.Upstream {
			return err
		}
		for _, id := range was.IDs {
			b, err := tx.Buildsets(state.Where("bsid", id))
			if err != nil {
				return err
			}
			open = append(open, b...) // none if it was deleted
		}
		return nil
	})
	if err != nil {
		return time.Time{}, err
	}
	e := effect{from: from, to: from}
	now := pending{Upstream: s.Upstream}
	for _, b := range slices.Concat(open, fresh) {
		switch {
		case b.RebuiltBuildID != 0: // somebody builds it again by hand
		case !b.Complete:
			now.IDs = append(now.IDs, b.ID)
		case b.Results <= config.Warnings:
			changes, err := h.changesOf(ctx, b.SourceStamps)
			if err != nil {
				return time.Time{}, err
			}
			set, ok, err := s.fire(ctx, h, Firing{Changes: changes, Stamps: s.with(b.SourceStamps)})
			if err != nil {
				return time.Time{}, err
			}
			if ok {
				e.sets = append(e.sets, set)
			}
		}
	}
	if n := len(fresh); n > 0 {
		e.to.Buildset = fresh[n-1].ID
	} else if was.Upstream == s.Upstream && slices.Equal(was.IDs, now.IDs) {
		return time.Time{}, nil
	}
	e.remember = map[string]any{upstreamName: now}
	done, err := h.commit(ctx, s.Key(), e)
	return unless(done && len(fresh) < batch, time.Time{}), err
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
