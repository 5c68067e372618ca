package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/state"
)

// Link finds the session of a build's worker again when a connection, or the master, is
// gone. Methods are safe for concurrent use.
type Link interface {
	// Next returns the session that the worker has, or the next one it will have. It fails
	// when ctx ends, and when the worker cannot go on with the build any more because its
	// process is another one or it left the configuration.
	Next(ctx context.Context) (conn.Session, error)
}

// errAway is why a command ends whose connection was lost though the build may go on. It
// is not conn.ErrLost, which ends a build.
var errAway = errors.New("the connection to the worker was lost")

// errSuspended is why everything ends when the master stops and the build does not.
var errSuspended = errors.New("the master stops; the build goes on with the next one")

// current returns the session of the worker, and waits for one until ctx ends.
func (b *Build) current(ctx context.Context) (conn.Session, error) {
	for {
		b.mu.Lock()
		s, changed := b.contact.session, b.contact.changed
		b.mu.Unlock()
		if s != nil && (b.o.Link == nil || !closed(s.Done())) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// watch follows the worker and the master until over ends, and ends the build when one of
// them goes for good.
func (b *Build) watch(ctx, over context.Context) {
	for {
		b.mu.Lock()
		s := b.contact.session
		b.mu.Unlock()
		if s == nil {
			if !b.awaitFirst(over) {
				b.overOrStopped(ctx)
				return
			}
			if !b.here() && !b.seek(ctx, over) {
				return
			}
			continue
		}
		select {
		case <-s.Done():
			if b.o.Link == nil || errors.Is(s.Err(), conn.ErrFrameTooBig) {
				b.lost(s.Err())
				return
			}
			b.part(s.Err())
		case <-over.Done():
			b.overOrStopped(ctx)
			return
		}
	}
}

// awaitFirst waits while the worker is being started. It returns false if over ended before
// there was a session.
func (b *Build) awaitFirst(over context.Context) bool {
	for b.o.Instances != nil && b.o.Past == nil {
		b.mu.Lock()
		s, away, changed := b.contact.session, b.contact.away, b.contact.changed
		b.mu.Unlock()
		if s != nil || away != "" {
			break
		}
		select {
		case <-changed:
		case <-over.Done():
			return false
		}
	}
	return true
}

// here reports whether the worker has a session.
func (b *Build) here() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.contact.session != nil
}

// seek waits for the worker.
func (b *Build) seek(ctx, over context.Context) bool {
	late := fmt.Errorf("worker %s did not come back within %v", b.o.Worker.Name, b.o.ResumeTimeout)
	bound, cancel := context.WithTimeoutCause(over, b.o.ResumeTimeout, late)
	defer cancel()
	s, err := b.o.Link.Next(bound)
	switch {
	case err == nil:
		b.meet(s)
		return true
	case over.Err() != nil:
		b.overOrStopped(ctx)
	default:
		b.accuse(err.Error())
		b.end(&ending{result: config.Retry, reason: err.Error(), hard: true})
	}
	return false
}

// overOrStopped ends the build if it is the master that ended, and not the build itself.
func (b *Build) overOrStopped(ctx context.Context) {
	if ctx.Err() != nil {
		b.end(&ending{result: config.Retry, reason: "the master stopped", hard: true, again: true})
	}
}

// take gives the build's goroutine the list of a new session: the commands of this build
// that the worker has.
func (b *Build) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.contact.fresh || b.contact.session == nil {
		return
	}
	b.contact.fresh = false
	b.held = map[string]conn.Held{}
	prefix := CommandPrefix(b.o.Row.Epoch, b.o.Row.ID)
	for _, h := range b.contact.session.Held() {
		if strings.HasPrefix(h.ID, prefix) {
			b.held[h.ID] = h
		}
	}
}

// clear ends what the worker has of this build and nobody wants any more: the commands of
// steps that are over, all of them if the next command is a new one. Their processes are
// gone when it returns.
func (b *Build) clear(ctx context.Context, s conn.Session, before int64) error {
	for id := range b.held {
		if commandNumber(id) > before {
			continue
		}
		if err := s.Interrupt(ctx, id, "its step is over"); err != nil {
			return fmt.Errorf("end command %s of an earlier step: %w", id, err)
		}
		delete(b.held, id)
	}
	return nil
}

// release tells the worker that the commands of the step that ended are done with, once
// all of it is on the disk.
func (b *Build) release() {
	if b.o.Link == nil || len(b.unreleased) == 0 {
		return
	}
	ids := b.unreleased
	b.unreleased = nil
	b.o.Store.After(func() {
		b.mu.Lock()
		s := b.contact.session
		b.mu.Unlock()
		if s != nil && !b.rows.dirty.Load() {
			s.Acknowledge(ids...)
		}
	})
}

// Suspend ends Run without ending the build: the next master goes on with it. The
// session of its worker must have ended before.
func (b *Build) Suspend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.suspended = true
	b.rows.frozen.Store(true)
	if b.leave != nil {
		b.leave(errSuspended) // whoever waits for other builds sees this first
		b.abort(errSuspended)
	}
}

func (b *Build) isSuspended() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.suspended
}

// CommandID returns the id of the n-th command (from 1) of a build that a master of this
// epoch started. It never repeats, and a build that is replayed gives its commands the
// ids they had: the list of the worker says which of them it got, so that the journal
// need not be on the disk before a command is sent.
func CommandID(epoch, buildID, n int64) string {
	return CommandPrefix(epoch, buildID) + strconv.FormatInt(n, 10)
}

// CommandPrefix is what the ids of all commands of a build begin with.
func CommandPrefix(epoch, buildID int64) string {
	return strconv.FormatInt(epoch, 10) + "-" + strconv.FormatInt(buildID, 10) + "."
}

// CommandBuild returns the build that a command id is of; 0 if it is of none.
func CommandBuild(id string) int64 {
	_, rest, _ := strings.Cut(id, "-")
	build, _, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseInt(build, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// commandNumber returns n of CommandID; 0 if id is none.
func commandNumber(id string) int64 {
	_, n, _ := strings.Cut(id, ".")
	number, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		return 0
	}
	return number
}

// Past is what an earlier run of the master did of a build.
type Past struct {
	Alive    state.Time      // when that master last was, about
	Secrets  []string        // names of those that it asked for
	Info     conn.WorkerInfo // of the worker, as it was known
	Steps    []state.Step
	Logs     []state.Log
	Commands []state.Command
}

// step returns the row of the step at a position of the factory, or nil; later reports
// whether one after it has a row.
func (p *Past) step(position int64) (row *state.Step, later bool) {
	if p == nil {
		return nil, false
	}
	for i := range p.Steps {
		switch s := &p.Steps[i]; {
		case s.Position == position:
			row = s
		case s.Position > position:
			later = true
		}
	}
	return row, later
}

// commands returns the number of the newest command of a step that is known.
func (p *Past) commands(stepID int64) (n int64) {
	for _, c := range p.Commands {
		if c.StepID == stepID {
			n = max(n, commandNumber(c.ID))
		}
	}
	return n
}

// newest returns the number of the newest command that is known.
func (p *Past) newest() (n int64) {
	if p != nil {
		for _, c := range p.Commands {
			n = max(n, commandNumber(c.ID))
		}
	}
	return n
}

func (p *Past) logIDs() []int64 {
	var ids []int64
	for _, l := range p.Logs {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return ids
}
