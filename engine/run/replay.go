package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"buildstar/config"
	"buildstar/state"
)

// A build is replayed step by step: those that have ended are read from their rows, and
// the one that was running is run again. What it wrote to its logs is there already and is
// not written again, and the worker still has everything that its commands said, because
// they are acknowledged with the end of the step only. A connection that is lost while the
// master lives replays the step that runs in the same way.

// Reclaim takes the locks that the build held when the master ended, whoever has them; it
// is to be called before anything else can take them. It fails if the build cannot go on.
func (b *Build) Reclaim(ctx context.Context) error {
	accs, _ := b.o.Builder.Locks.Plain()
	if b.o.Row.Locked {
		var err error
		if accs, err = b.o.Builder.Locks.Render(ctx, b.props); err != nil {
			return fmt.Errorf("render locks of builder %q: %w", b.o.Builder.Name, err)
		}
	}
	b.o.Locks.Restore(b.holder(), slices.Concat(b.o.Worker.Locks, accs), b.o.Worker.Name)
	for i := range b.o.Past.Steps {
		row := &b.o.Past.Steps[i]
		if row.Complete || row.Position < 0 {
			continue
		}
		if row.Position >= int64(len(b.o.Builder.Factory.Steps)) {
			return errors.New("its configuration has no such step")
		}
		step, ok := b.o.Builder.Factory.Steps[row.Position].(Step)
		if !ok || !step.Common().Locks.IsSet() || row.LocksAcquiredAt == 0 {
			continue
		}
		r := &Running{Table: b.props, b: b, step: step, name: row.Name, start: *row}
		accs, err := step.Common().Locks.Render(ctx, r)
		if err != nil {
			return fmt.Errorf("render locks of step %q: %w", row.Name, err)
		}
		b.o.Locks.Restore(r.holder(), accs, b.o.Worker.Name)
		b.reclaimed = row.ID
	}
	return nil
}

// remember asks for the secrets again that the build knew, so that they are hidden, and puts
// them back into its properties. One that held a secret in another form is lost.
func (b *Build) remember(ctx context.Context) error {
	for _, name := range b.o.Past.Secrets {
		err := b.within(ctx, "ask again", func(ctx context.Context) error {
			_, err := b.props.Secret(ctx, name)
			return err
		})
		if err != nil {
			return b.unlike("%v", err)
		}
	}
	if err := b.within(ctx, "ask again", b.props.reveal); err != nil {
		return b.unlike("%v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(b.o.Row.Properties)) {
		p := b.o.Row.Properties[name]
		for _, secret := range b.o.Past.Secrets {
			if len(p.Secrets) == 0 && contains(p.Value, label(secret)) {
				return b.unlike("property %q held something made of secret %q, which is kept nowhere", name, secret)
			}
		}
	}
	return nil
}

// recall makes what an earlier run of the master knew of a step that had begun.
func (b *Build) recall(step Step, row *state.Step) *Running {
	r := newRunning(b, step)
	r.name, r.named = row.Name, true
	b.names[row.Name] = true
	r.start = *row
	r.row = &stepRow{row: *row, id: newFuture()}
	r.row.id.set(row.ID)
	return r
}

// adopt takes over a step that has ended, and returns its result.
func (b *Build) adopt(step Step, row *state.Step) (*Running, config.Result) {
	r := b.recall(step, row)
	r.result = row.Results
	b.seq = max(b.seq, b.o.Past.commands(row.ID))
	return r, row.Results
}

// again prepares a step that had begun to be run again.
func (b *Build) again(step Step, row *state.Step) *Running {
	r := b.recall(step, row)
	r.locked = b.reclaimed == row.ID
	b.rows.steps = append(b.rows.steps, r.row)
	for _, l := range b.o.Past.Logs {
		if l.StepID != row.ID {
			continue
		}
		log := &Log{r: r, id: newFuture(), row: l}
		log.name()
		log.id.set(l.ID)
		if _, err := b.rows.open(); err == nil { // which cuts off what was not whole
			log.lines, _ = b.o.Logs.NumLines(b.o.Row.ID, l.ID)
		}
		r.remember(log)
		b.rows.logs = append(b.rows.logs, log)
	}
	return r
}

// remember keeps a log for when the step asks for it again.
func (r *Running) remember(l *Log) {
	if r.past == nil {
		r.past = map[string]*Log{}
	}
	l.writes = 0
	r.past[l.row.Slug] = l
}

// rewind takes the step back to its start.
func (r *Running) rewind() {
	for _, l := range r.logs {
		r.remember(l)
	}
	r.logs, r.slugs, r.urls, r.printed = nil, map[string]bool{}, nil, nil
	r.doing, r.done, r.suffix, r.extra, r.said = "", "", "", "", [2]bool{}
	r.commands, r.b.seq, r.lost, r.ids = 0, r.base, false, nil
	r.Table.reset(r.before)
}

// rest are the logs that the step had and did not ask for again.
func (r *Running) rest() []*Log {
	var logs []*Log
	for _, slug := range slices.Sorted(maps.Keys(r.past)) {
		logs = append(logs, r.past[slug])
	}
	return logs
}

// unlike ends a build that cannot be what it was.
func (b *Build) unlike(format string, args ...any) error {
	reason := "cannot go on with the build: " + fmt.Sprintf(format, args...)
	b.end(&ending{result: config.Retry, reason: reason, hard: true})
	return errors.New(reason)
}

// NotAgain says that the step is about to do something on the master that can neither be
// done twice nor be taken up again, such as to run a program: if the master ends before
// the step does, the build is built anew.
func (r *Running) NotAgain(ctx context.Context) error {
	if r.b.o.Link == nil {
		return nil // it ends with the master
	}
	r.open()
	n := r.b.seq + 1
	if r.b.sent >= n {
		return r.b.unlike("the master ended while step %q ran a program on it", r.name)
	}
	if _, err := r.journal("", "on the master", nil); err != nil {
		return err
	}
	return r.b.rows.commit(ctx)
}
