package run

import (
	"context"
	"fmt"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/state"
)

// lock takes the builder's locks if they could not be taken when the build was
// assigned, because they depend on properties.
func (b *Build) lock(ctx context.Context) error {
	if _, plain := b.o.Builder.Locks.Plain(); plain || b.o.Row.Locked {
		return nil
	}
	ctx, end := b.begin(ctx, 0)
	defer end()
	accs, err := b.o.Builder.Locks.Render(ctx, b.props)
	if err != nil {
		return fmt.Errorf("render locks of builder %q: %w", b.o.Builder.Name, err)
	}
	if err := b.acquire(ctx, b.holder(), accs, func(bl Blocker) {
		b.say("acquiring locks: " + bl.String())
	}); err != nil || len(accs) == 0 || b.o.Link == nil {
		return err
	}
	// A master that starts after a crash must know who holds what.
	b.o.Row.Locked = true
	b.say("building")
	return b.rows.commit(ctx)
}

func (b *Build) holder() Holder {
	return Holder{Ticket: b.o.Ticket, Step: -1, Name: b.name(), BuildID: b.o.Row.ID}
}

// lock takes the step's locks; while it waits the step says which one is in the
// way.
func (r *Running) lock(ctx context.Context) error {
	t := r.step.Common().Locks
	if !t.IsSet() || r.locked {
		return nil
	}
	accs, err := t.Render(ctx, r)
	if err != nil {
		return fmt.Errorf("render locks: %w", err)
	}
	if len(accs) == 0 {
		if r.start.LocksAcquiredAt = r.start.StartedAt; r.row != nil {
			r.row.row.LocksAcquiredAt = r.start.StartedAt
		}
		return nil
	}
	waited := false
	err = r.b.acquire(ctx, r.holder(), accs, func(bl Blocker) {
		waited = true
		r.start.StateString = "acquiring " + bl.String()
		r.open()
		r.b.say("acquiring locks for step " + r.name)
	})
	if waited && ctx.Err() == nil {
		r.b.say("building")
	}
	if err != nil {
		return err
	}
	r.locked = true
	if waited || r.row != nil {
		r.update(func(row *state.Step) { row.LocksAcquiredAt, row.StateString = state.Now(), r.runningText() })
	} else {
		r.start.LocksAcquiredAt = state.Now()
	}
	if r.b.o.Link == nil {
		return nil
	}
	r.open()
	return r.b.rows.commit(ctx) // a master that starts after a crash must know who holds what
}

// acquire adds the time it took to the build's locks_duration_s.
func (b *Build) acquire(ctx context.Context, by Holder, accs config.LockAccesses, waiting func(Blocker)) error {
	start := state.Now()
	err := b.o.Locks.Acquire(ctx, by, accs, b.o.Worker.Name, waiting)
	b.locked += state.Now().Time().Sub(start.Time())
	return err
}

func (r *Running) holder() Holder {
	return Holder{Ticket: r.b.o.Ticket, Step: r.start.Number, Name: r.b.name() + " step " + r.name, BuildID: r.b.o.Row.ID}
}

func (b *Build) name() string { return fmt.Sprintf("%s #%d", b.o.Builder.Name, b.o.Row.Number) }

// Render renders an argument of a step; its errors say which one it was.
func Render[T any](ctx context.Context, r *Running, name string, t prop.Template[T]) (T, error) {
	v, err := t.Render(ctx, r)
	if err != nil {
		return v, fmt.Errorf("render %s: %w", name, err)
	}
	return v, nil
}
