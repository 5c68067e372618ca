package run

import (
	"context"
	"errors"
	"fmt"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/state"
)

// preparation is step 0: it gets the worker ready. Everything it waits for ends
// with ctx, so a Stop reaches it at any point (docs/requirements.md D1 pain 1).
type preparation struct{ common Common }

func (*preparation) Type() string      { return "worker_preparation" }
func (*preparation) Pos() prop.Pos     { return prop.Pos{} }
func (p *preparation) Common() *Common { return &p.common }

func (p *preparation) Run(ctx context.Context, r *Running) (config.Result, error) {
	b := r.b
	r.Describe("preparing worker "+b.o.Worker.Name, "worker "+b.o.Worker.Name+" ready")
	if b.o.Instances != nil && b.o.Past == nil {
		if result, err := p.substantiate(ctx, r); err != nil {
			return result, err
		}
	}
	if err := b.within(ctx, "set the properties of the build", func(ctx context.Context) error {
		return b.props.fill(ctx, &b.o, b.worker())
	}); err != nil {
		return config.Exception, err
	}
	b.rows.setProperties(b.props.All())
	s, err := b.current(ctx)
	if err != nil {
		return config.Retry, err
	}
	if err := b.within(ctx, "reach worker "+b.o.Worker.Name, s.Ping); err != nil {
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, conn.ErrLost) && b.o.Link != nil:
			r.lost = true
		case errors.Is(err, conn.ErrHeld):
			// Another build's loop holds the session's reader back, say while the disk is slow.
			b.Requeue(err.Error())
		default:
			if !errors.Is(err, conn.ErrDropped) {
				b.accuse(err.Error())
			}
			b.end(&ending{result: config.Retry, reason: err.Error(), hard: true})
		}
		return config.Retry, err
	}
	return config.Success, nil
}

// within runs fn with a deadline and says what was tried if it fails.
func (b *Build) within(ctx context.Context, what string, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if err := fn(ctx); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// prepare runs step 0 and takes the builder's locks that depend on properties. It
// reports whether the steps may start.
func (b *Build) prepare(ctx context.Context) bool {
	row, _ := b.o.Past.step(beforeSteps)
	if e, _ := b.ended(); e != nil && row == nil {
		return false
	}
	p := &preparation{Common{Name: prop.Of("worker_preparation"), HaltOnFailure: true, FlunkOnFailure: true}}
	var r *Running
	var result config.Result
	switch {
	case row != nil && row.Complete:
		r, result = b.adopt(p, row)
	case row != nil:
		r = b.again(p, row)
		result = r.life(ctx, 0)
	default:
		r = newRunning(b, p)
		r.start.Position = beforeSteps
		result = r.life(ctx, 0)
	}
	if b.isSuspended() {
		return false
	}
	b.overall = config.Worst(b.overall, result)
	if result != config.Success {
		if t := r.summary(result); t != "" {
			b.text = append(b.text, t)
		}
		return false
	}
	if err := b.lock(ctx); err != nil {
		if e, _ := b.ended(); e == nil {
			b.end(&ending{result: config.Exception, reason: err.Error(), hard: true})
		}
		return false
	}
	b.say("building")
	return true
}

// beforeSteps is the position of worker_preparation in the factory.
const beforeSteps = -1

// worker returns what the worker said about itself.
func (b *Build) worker() conn.WorkerInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.info
}

// say writes the build's state string. While the worker is away the page shows that
// instead.
func (b *Build) say(text string) {
	b.mu.Lock()
	b.contact.said = text
	if b.contact.away != "" {
		text = b.contact.away
	}
	b.mu.Unlock()
	b.o.Row.StateString = text
	row := b.o.Row
	b.rows.later(func(tx state.Tx) error {
		row.StopReason = b.stopReason()
		return tx.PutBuild(b.props.mask.build(row), "update")
	})
}
