package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

// Submit adds a buildset and its requests; the distributor hears of them by their
// events.
func (m *Master) Submit(ctx context.Context, b sched.Buildset) (out Submitted, err error) {
	err = m.o.Store.Update(ctx, func(tx state.Tx) error {
		out, err = m.SubmitIn(tx, b)
		return err
	})
	m.disk.note(err)
	return out, err
}

// SubmitIn is Submit within a transaction, for who must remember in the same one that
// it did.
func (m *Master) SubmitIn(tx state.Tx, b sched.Buildset) (Submitted, error) {
	out, err := m.submit(tx, b)
	if err != nil {
		return Submitted{}, fmt.Errorf("submit builds of scheduler %q: %w", b.Scheduler, err)
	}
	return out, nil
}

func (m *Master) submit(tx state.Tx, b sched.Buildset) (Submitted, error) {
	now := m.current.Load()
	at := state.Now()
	var requests []state.BuildRequest
	for _, name := range b.Builders {
		id, ok := now.builders[name]
		if !ok {
			return Submitted{}, fmt.Errorf("builder %q: %w", name, state.ErrNotFound)
		}
		requests = append(requests, state.BuildRequest{
			BuilderID: id, Priority: b.Priority, SubmittedAt: at, WaitedFor: b.WaitedFor, Results: config.Unfinished,
		})
	}
	if len(requests) == 0 && b.ParentBuild == 0 { // a step that triggers nothing has succeeded
		return Submitted{}, fmt.Errorf("no builders: %w", ErrConflict)
	}
	set := state.Buildset{
		Reason: b.Reason, Scheduler: b.Scheduler, SubmittedAt: at, Results: config.Unfinished,
		ParentBuildID: b.ParentBuild, ParentStep: b.ParentStep, ParentSeq: b.ParentSeq, ParentRelationship: b.Relationship,
		RebuiltBuildID: b.RebuiltBuild, Properties: withScheduler(b.Properties, b.Scheduler), SourceStamps: slices.Clone(b.SourceStamps),
	}
	if b.ExternalID != "" {
		set.ExternalID = &b.ExternalID
	}
	if len(set.SourceStamps) == 0 {
		set.SourceStamps = []state.SourceStamp{{}}
	}
	for i := range set.SourceStamps {
		s := &set.SourceStamps[i]
		if s.CreatedAt == 0 {
			s.CreatedAt = at
		}
		id, err := tx.AddSourceStamp(*s)
		if err != nil {
			return Submitted{}, err
		}
		s.ID = id
	}
	bsid, ids, err := tx.AddBuildset(set, requests)
	if err != nil {
		return Submitted{}, err
	}
	out := Submitted{BuildsetID: bsid, Requests: make(map[int64]int64, len(ids))}
	for i, id := range ids {
		out.Requests[requests[i].BuilderID] = id
	}
	return out, nil
}

// withScheduler adds the property that every build of a scheduler has.
func withScheduler(p state.Properties, scheduler string) state.Properties {
	if _, ok := p["scheduler"]; ok || scheduler == "" {
		return p
	}
	p = maps.Clone(p)
	if p == nil {
		p = state.Properties{}
	}
	p["scheduler"] = state.Property{Value: scheduler, Source: "Scheduler"}
	return p
}

// Force implements Control.
func (m *Master) Force(ctx context.Context, scheduler string, builderID int64, fields map[string]any, who sched.User) (Submitted, error) {
	now := m.current.Load()
	f, ok := now.snapshot.Scheduler(scheduler).(sched.Forcer)
	if !ok {
		return Submitted{}, fmt.Errorf("force scheduler %q: %w", scheduler, state.ErrNotFound)
	}
	row, err := m.scheduler(ctx, scheduler)
	if err != nil {
		return Submitted{}, err
	}
	if !row.Enabled {
		return Submitted{}, fmt.Errorf("force scheduler %q: %w: it is disabled", scheduler, ErrConflict)
	}
	builder := ""
	if builderID != 0 {
		if builder, err = now.builderName(builderID); err != nil {
			return Submitted{}, err
		}
		if !slices.Contains(f.Builders(), builder) {
			return Submitted{}, fmt.Errorf("force builder %q: scheduler %q does not build it: %w", builder, scheduler, state.ErrNotFound)
		}
	}
	set, err := f.Force(ctx, builder, fields, who)
	if err != nil {
		return Submitted{}, err
	}
	return m.Submit(ctx, set)
}

func (m *Master) scheduler(ctx context.Context, name string) (row state.Scheduler, err error) {
	err = m.o.Store.View(ctx, func(tx state.ReadTx) error {
		row, err = state.One(tx.Schedulers(state.Where("name", name)))
		return err
	})
	if err != nil {
		return row, fmt.Errorf("scheduler %q: %w", name, err)
	}
	return row, nil
}

func (a *applied) builderName(id int64) (string, error) {
	for name, i := range a.builders {
		if i == id {
			return name, nil
		}
	}
	return "", fmt.Errorf("builder %d: %w", id, state.ErrNotFound)
}

// Rebuild implements Control: the same sources and properties again, for the
// build's builder.
func (m *Master) Rebuild(ctx context.Context, buildID int64, who sched.User) (Submitted, error) {
	now := m.current.Load()
	var set sched.Buildset
	err := m.o.Store.View(ctx, func(tx state.ReadTx) error {
		b, err := state.One(tx.Builds(state.Where("buildid", buildID)))
		if err != nil {
			return err
		}
		r, err := state.One(tx.BuildRequests(state.Where("buildrequestid", b.RequestID)))
		if err != nil {
			return err
		}
		old, err := state.One(tx.Buildsets(state.Where("bsid", r.BuildsetID)))
		if err != nil {
			return err
		}
		name, err := now.builderName(b.BuilderID)
		if err != nil {
			return fmt.Errorf("%w: its builder is not configured", ErrConflict)
		}
		set = sched.Buildset{
			Scheduler: old.Scheduler, Reason: fmt.Sprintf("rebuild of %s #%d by %v", name, b.Number, who), Builders: []string{name},
			SourceStamps: old.SourceStamps, Properties: old.Properties, Priority: r.Priority, RebuiltBuild: b.ID,
		}
		return nil
	})
	if err != nil {
		return Submitted{}, fmt.Errorf("rebuild build %d: %w", buildID, err)
	}
	return m.Submit(ctx, set)
}
