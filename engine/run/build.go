package run

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	locked  time.Duration
	blame   string // why the worker is at fault, if an EXCEPTION or RETRY follows; guarded by mu

	master context.Context // ends when the master waits for nothing any longer

	mu     sync.Mutex
	ending *ending
	ends   int                     // how often end was called
	abort  context.CancelCauseFunc // of everything
	stop   context.CancelCauseFunc // of the step that runs; nil between steps
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
	b := &Build{o: o, overall: config.Success, names: map[string]bool{}}
	b.props = newTable(&b.o)
	b.rows = newRows(&b.o, b.trouble)
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
	b.master = ctx
	base, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	b.mu.Lock()
	b.abort = abort
	if b.ending != nil && b.ending.hard {
		abort(b.ending)
	}
	b.mu.Unlock()

	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { b.watch(ctx, over) })
	b.run(base)
	close(over)
	watch.Wait()

	b.rows.close()
	return b.outcome()
}

// watch ends the build when its worker or the master goes.
func (b *Build) watch(ctx context.Context, over <-chan struct{}) {
	select {
	case <-b.o.Session.Done():
		b.lost(b.o.Session.Err())
	case <-ctx.Done():
		b.end(&ending{result: config.Retry, reason: "the master stopped", hard: true, again: true})
	case <-over:
	}
}

func (b *Build) lost(err error) {
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
	if !b.prepare(ctx) {
		return
	}
	halted := false
	for _, s := range b.o.Builder.Factory.Steps {
		e, seen := b.ended()
		if e != nil && e.hard {
			return
		}
		step, ok := s.(Step)
		if !ok {
			b.end(&ending{result: config.Exception, reason: fmt.Sprintf("%s steps cannot run", s.Type()), hard: true})
			return
		}
		if (halted || e != nil) && !step.Common().AlwaysRun {
			continue
		}
		b.rows.sync()
		r := newRunning(b, step)
		result := r.life(ctx, seen)
		var stop bool
		b.overall, stop = judge(b.overall, result, step.Common())
		halted = halted || stop
		if t := r.summary(result); t != "" {
			b.text = append(b.text, t)
		}
	}
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
	return o
}

// commandID returns an id that never repeats: epoch, build, count.
func (b *Build) commandID() string {
	b.seq++
	return CommandID(b.o.Epoch, b.o.Row.ID, b.seq)
}

// CommandID returns the id of the n-th command (from 1) of a build. After a crash
// the master can tell by it which command may have been sent although its journal
// row was lost.
func CommandID(epoch, buildID, n int64) string {
	return strconv.FormatInt(epoch, 10) + "-" + strconv.FormatInt(buildID, 10) + "." + strconv.FormatInt(n, 10)
}
