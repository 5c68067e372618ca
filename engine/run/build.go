package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/state"
)

// prepareTimeout bounds each thing that is asked of a worker before the first
// step.
const prepareTimeout = time.Minute

// Build carries out one build. One goroutine calls Run; the other methods may be
// called from anywhere, before, during and after it.
type Build struct {
	o     Order
	props *Table
	rows  *rows

	overall config.Result
	text    []string // of the steps that are part of the build's summary
	names   map[string]bool
	steps   []*Running
	seq     int64 // of commands, for their ids
	sent    int64 // the newest of them that has a row
	locked  time.Duration
	blame   string // why the worker is at fault, if an EXCEPTION or RETRY follows; guarded by mu

	held       map[string]conn.Held // what the worker has of this build
	unreleased []string             // commands that the worker still keeps for us
	reclaimed  int64                // the step whose locks Reclaim took

	master context.Context // ends when the master waits for nothing any longer

	mu        sync.Mutex
	ending    *ending
	ends      int                     // how often end was called
	leave     context.CancelCauseFunc // of master
	abort     context.CancelCauseFunc // of everything
	stop      context.CancelCauseFunc // of the step that runs; nil between steps
	suspended bool
	contact   contact
	info      conn.WorkerInfo // of the newest session
}

// ending is why a build ends before its last step did.
type ending struct {
	result config.Result
	reason string
	hard   bool // not even alwaysRun steps run
	full   bool // because the disk is full
	again  bool
}

func (e *ending) Error() string { return e.reason }

// New prepares a build. Nothing happens before Run.
func New(o Order) *Build {
	b := &Build{o: o, overall: config.Success, names: map[string]bool{}, sent: o.Past.newest()}
	b.contact = contact{session: o.Session, changed: make(chan struct{})}
	switch {
	case o.Session != nil:
		b.info = o.Session.Info()
	case o.Past != nil:
		b.info = o.Past.Info
	}
	b.props = newTable(&b.o, b.info.Facts.Map())
	b.props.asked = func(name string) {
		o.Store.Defer(func(tx state.Tx) error { return tx.AddBuildSecret(o.Row.ID, name) }, nil)
	}
	b.rows = newRows(&b.o, &b.props.mask, b.trouble)
	return b
}

// Stop ends the build as CANCELLED: the step that runs is interrupted, and of those
// after it only alwaysRun steps run. A second Stop interrupts these too.
func (b *Build) Stop(reason string) {
	b.end(&ending{result: config.Cancelled, reason: reason})
}

// Requeue interrupts the build so that its request is built again: RETRY. It does
// not count as a try.
func (b *Build) Requeue(reason string) {
	b.end(&ending{result: config.Retry, reason: reason, hard: true, again: true})
}

// end records why the build ends and interrupts what runs.
func (b *Build) end(e *ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.suspended {
		return
	}
	b.ends++
	b.ending = stronger(b.ending, e)
	if b.stop != nil {
		b.stop(e)
	}
	if e.hard && b.abort != nil {
		b.abort(e)
	}
}

// stronger returns what two reasons make together. Who asked for a stop wants no
// retry, whatever happens to the worker meanwhile; else the first hard reason
// stays.
func stronger(old, e *ending) *ending {
	switch {
	case old == nil:
		return e
	case old.result == config.Cancelled:
		return &ending{result: old.result, reason: old.reason, hard: old.hard || e.hard}
	case e.result == config.Cancelled && old.result == config.Retry:
		return &ending{result: e.result, reason: e.reason, hard: true}
	case e.hard && !old.hard:
		return e
	}
	return old
}

// ended returns why the build ends, if it does, and how often it was told to.
func (b *Build) ended() (*ending, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ending, b.ends
}

// stopReason is why someone asked the build to stop, or "".
func (b *Build) stopReason() string {
	if e, _ := b.ended(); e != nil && e.result == config.Cancelled {
		return e.reason
	}
	return ""
}

// begin returns the context of a part of the build that Stop interrupts, and what
// to call at its end. An end that came after the seen first ones interrupts it at
// once.
func (b *Build) begin(base context.Context, seen int) (context.Context, func()) {
	ctx, stop := context.WithCancelCause(base)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop = stop
	if b.ends != seen {
		stop(b.ending)
	}
	return ctx, func() {
		b.mu.Lock()
		b.stop = nil
		b.mu.Unlock()
		stop(nil)
	}
}

// trouble is told of rows that could not be written.
func (b *Build) trouble(err error) {
	full := errors.Is(err, state.ErrFull)
	reason := "the master cannot write: " + err.Error()
	if full {
		reason = "the master's disk is full"
	}
	b.end(&ending{result: config.Exception, reason: reason, hard: true, full: full})
}

// Run runs the build to its end and says how it went. When ctx ends the build
// ends as RETRY without waiting for the worker.
func (b *Build) Run(ctx context.Context) Outcome {
	master, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	b.master = master
	base, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	b.mu.Lock()
	b.leave, b.abort = leave, abort
	switch {
	case b.suspended:
		leave(errSuspended)
		abort(errSuspended)
	case b.ending != nil && b.ending.hard:
		abort(b.ending)
	}
	b.mu.Unlock()

	if b.o.Past != nil {
		b.awake()
	}
	over, end := context.WithCancel(master)
	var watch sync.WaitGroup
	watch.Go(func() { b.watch(ctx, over) })
	b.run(base)
	end()
	watch.Wait()

	if b.isSuspended() {
		b.rows.suspend()
		return Outcome{Row: b.o.Row, Suspended: true}
	}
	b.rows.close()
	b.release()
	return b.outcome()
}

// lost ends the build because its connection was.
func (b *Build) lost(err error) {
	b.mu.Lock()
	if s := b.contact.session; s != nil && s.Err() != nil {
		err = s.Err() // which says it best
	}
	b.mu.Unlock()
	text := "worker " + b.o.Worker.Name + " was lost"
	if err != nil {
		text += ": " + err.Error()
	}
	if errors.Is(err, conn.ErrFrameTooBig) {
		b.end(&ending{result: config.Failure, reason: text, hard: true})
		return
	}
	if !errors.Is(err, conn.ErrDropped) {
		b.accuse(text)
	}
	b.end(&ending{result: config.Retry, reason: text, hard: true})
}

// accuse holds against the worker that it did something wrong. The first thing counts.
func (b *Build) accuse(why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blame == "" {
		b.blame = why
	}
}

func (b *Build) run(ctx context.Context) {
	defer b.o.Locks.ReleaseAll(b.o.Ticket)
	if b.o.Past != nil {
		b.reach(ctx)
		if b.remember(ctx) != nil {
			return
		}
	}
	if !b.prepare(ctx) {
		return
	}
	halted := false
	consumed := false // an earlier Stop had its effect
	replayed := b.o.Past == nil
	for i, s := range b.o.Builder.Factory.Steps {
		step, ok := s.(Step)
		if !ok {
			b.end(&ending{result: config.Exception, reason: fmt.Sprintf("%s steps cannot run", s.Type()), hard: true})
			return
		}
		var r *Running
		var result config.Result
		switch row, later := b.o.Past.step(int64(i)); {
		case row == nil && later: // it was left out
			consumed = consumed || !halted
			continue
		case row != nil && row.Complete:
			r, result = b.adopt(step, row)
			consumed = consumed || result == config.Cancelled
		default:
			told := 0
			if !replayed {
				replayed = true
				told = b.stopAgain(consumed)
			}
			e, seen := b.ended()
			switch {
			case b.isSuspended():
				return
			case row != nil:
				r, seen = b.again(step, row), told
			case e != nil && e.hard:
				return
			case (halted || e != nil) && !step.Common().AlwaysRun:
				continue
			default:
				r = newRunning(b, step)
				r.start.Position = int64(i)
			}
			if result = r.life(ctx, seen); b.isSuspended() {
				return
			}
		}
		var stop bool
		b.overall, stop = judge(b.overall, result, step.Common())
		halted = halted || stop
		if t := r.summary(result); t != "" {
			b.text = append(b.text, t)
		}
	}
}

// reach waits for the worker, unless the build is to end.
func (b *Build) reach(ctx context.Context) {
	ctx, end := b.begin(ctx, 0)
	defer end()
	_, _ = b.current(ctx) // why there is none is known to whoever needs it
}

// stopAgain stops a build that an earlier run of the master was asked to stop, and
// returns how many stops the step that was running had seen: none if it is the one to be
// interrupted.
func (b *Build) stopAgain(consumed bool) (seen int) {
	if b.o.Row.StopReason == "" {
		return 0
	}
	b.Stop(b.o.Row.StopReason)
	if consumed {
		return 1
	}
	return 0
}

// judge applies flunkOnFailure and friends: the build's result after a step, and
// whether only alwaysRun steps follow (docs/requirements.md C4).
func judge(overall, result config.Result, c *Common) (config.Result, bool) {
	counts, halt := result, result.EndsBuild()
	switch result {
	case config.Failure:
		halt = c.HaltOnFailure
		switch {
		case c.FlunkOnFailure:
		case c.WarnOnFailure:
			counts = config.Warnings
		default:
			counts = config.Success
		}
	case config.Warnings:
		switch {
		case c.FlunkOnWarnings:
			counts = config.Failure
		case c.WarnOnWarnings:
		default:
			counts = config.Success
		}
	}
	return config.Worst(overall, counts), halt
}

func (b *Build) outcome() Outcome {
	o := Outcome{Row: b.o.Row, repair: b.rows.repair}
	e, _ := b.ended()
	result := b.overall
	if e != nil {
		result = config.Worst(result, e.result)
		if e.result == config.Failure || e.result == config.Retry {
			// What the worker or the master did not let happen says nothing about the build.
			result = e.result
		}
		o.Row.StopReason = b.stopReason()
		o.Again = e.again && result == config.Retry
		o.DiskFull = e.full
	}
	if result == config.Exception || result == config.Retry && !o.Again {
		b.mu.Lock()
		o.Blame = b.blame
		b.mu.Unlock()
	}
	o.Row.Complete, o.Row.CompleteAt, o.Row.Results = true, state.Now(), result
	o.Row.LocksDuration = int64(b.locked / time.Second)
	o.Row.StateString = summarize(result, b.text, e)
	o.Row = b.props.mask.build(o.Row)
	return o
}
