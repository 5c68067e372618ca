package conn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/conn/wire"
)

const (
	maxWaiting = 1 << 20 // bytes that a command's loop may be behind
	// killTime is what the worker takes to give up on a process that does not die, and a
	// second for the way (docs/protocol.md A.8).
	killTime = 6 * time.Second
)

// command is one running command. The reader puts items in, the loop over its updates
// takes them out.
type command struct {
	Command
	s       *session
	begun   chan struct{} // closed by the first item
	wake    chan struct{} // something was put in; holds one
	room    chan struct{} // something was taken out; holds one
	ranged  atomic.Bool
	broken  error // of Upload or Download; used by the loop only
	updates int64 // numbers given; used by the loop only

	mu        sync.Mutex
	queue     []*item
	cost      int
	started   bool // begun is closed
	abandoned bool // nobody takes items out any more
}

func newCommand(s *session, c Command) *command {
	return &command{Command: c, s: s, begun: make(chan struct{}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// offer queues an item; it is the reader that waits here when the loop is behind.
func (c *command) offer(it *item) {
	for {
		c.mu.Lock()
		if !c.started {
			c.started = true
			close(c.begun)
		}
		if c.abandoned {
			c.mu.Unlock()
			c.discard(it)
			return
		}
		if len(c.queue) == 0 || c.cost+it.cost <= maxWaiting {
			c.queue = append(c.queue, it)
			c.cost += it.cost
			c.mu.Unlock()
			signal(c.wake)
			return
		}
		c.mu.Unlock()
		c.s.hold()
		select {
		case <-c.room:
		case <-c.s.done:
			c.s.release()
			return
		}
		c.s.release()
	}
}

// take empties the queue.
func (c *command) take() []*item {
	c.mu.Lock()
	defer c.mu.Unlock()
	items := c.queue
	c.queue, c.cost = nil, 0
	signal(c.room)
	return items
}

func signal[T any](ch chan T) {
	var v T
	select {
	case ch <- v:
	default:
	}
}

// abandon lets everything that still comes be answered and forgotten.
func (c *command) abandon(rest []*item) {
	c.mu.Lock()
	c.abandoned = true
	rest = append(rest, c.queue...)
	c.queue = nil
	c.mu.Unlock()
	signal(c.room)
	for _, it := range rest {
		c.discard(it)
	}
}

// discard answers an item of an abandoned command.
func (c *command) discard(it *item) {
	switch it.op {
	case wire.OpUploadFileWrite, wire.OpUploadDirectoryWrite, wire.OpUploadDirectoryDone, wire.OpReadFile:
		c.s.except(it.seq, "the master gave up this command") // ends the transfer
	default:
		c.s.respond(it.seq)
	}
}

func (s *session) Run(ctx context.Context, command Command) (iter.Seq2[Update, error], error) {
	if command.ID == "" {
		command.ID = s.srv.NextID()
	}
	if err := ctx.Err(); err != nil && command.From == 0 {
		return nil, fmt.Errorf("run %s on worker %s: %w", command.Name, s.name, context.Cause(ctx))
	}
	c := newCommand(s, command)
	if err := s.register(c); err != nil {
		return nil, err
	}
	answered, err := c.begin()
	if err != nil {
		s.unregister(c)
		return nil, fmt.Errorf("run %s on worker %s: %w", c.Name, s.name, err)
	}
	select {
	case a := <-answered:
		if a.err != nil {
			s.unregister(c)
			return nil, a.err
		}
	case <-c.begun: // what it says overtook the answer
	case <-s.done: // the loop says so, after what did arrive
	case <-c.quit(ctx):
		c.giveUpStart(answered)
		return nil, fmt.Errorf("start %s on worker %s: %w", c.Name, s.name, context.Cause(ctx))
	}
	return c.loop(ctx), nil
}

// begin asks the worker to start the command, or to go on with it.
func (c *command) begin() (<-chan answer, error) {
	op, fields := wire.OpStartCommand, map[string]any{wire.KeyCommandID: c.ID}
	if c.From > 0 {
		op, fields[wire.KeyFrom] = wire.OpResumeCommand, c.From
		c.updates = c.From - 1
	} else {
		fields[wire.KeyCommandName], fields[wire.KeyArgs] = c.Name, c.Args
		if c.Args == nil {
			fields[wire.KeyArgs] = map[string]any{}
		}
		if c.Token != nil && c.s.info.Life != "" {
			fields[wire.KeyResume] = c.Token
		}
	}
	answered, _, err := c.s.ask(op, fields)
	return answered, err
}

// quit returns what ends the wait for the worker's answer. A command that is resumed is
// there already: it is interrupted by the loop.
func (c *command) quit(ctx context.Context) <-chan struct{} {
	if c.From > 0 {
		return nil
	}
	return ctx.Done()
}

// giveUpStart leaves a command that may or may not have begun.
func (c *command) giveUpStart(answered <-chan answer) {
	c.abandon(nil)
	c.s.interrupt(c.ID, "cancelled")
	c.s.spawn(func() {
		select {
		case a := <-answered:
			if a.err != nil { // it never began
				c.s.unregister(c)
			}
		case <-c.s.done:
		}
	})
}

// loop is the iterator of Run.
func (c *command) loop(ctx context.Context) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		if !c.ranged.CompareAndSwap(false, true) {
			yield(Update{}, errors.New("the updates of a command can be ranged over only once"))
			return
		}
		cancelled := ctx.Done()
		var limit time.Time       // when to give up; zero until cancelled
		var late <-chan time.Time // fires at limit
		ended := false            // the session has; what is queued still counts
		for {
			items := c.take()
			if c.handle(items, yield) {
				return
			}
			if ended && len(items) == 0 {
				c.abandon(nil)
				yield(Update{}, c.s.Err())
				return
			}
			if !limit.IsZero() && !time.Now().Before(limit) {
				c.abandon(nil)
				c.s.interrupt(c.ID, "it did not end")
				yield(Update{}, fmt.Errorf("%s on worker %s, id %s, %v after its interruption: %w", c.Name, c.s.name, c.ID, c.grace(), ErrNotStopped))
				return
			}
			select {
			case <-cancelled:
				cancelled = nil
				c.s.interrupt(c.ID, cut(context.Cause(ctx).Error(), 200))
				timer := time.NewTimer(c.grace())
				defer timer.Stop()
				limit, late = time.Now().Add(c.grace()), timer.C
			case <-late:
			case <-c.wake:
			case <-c.s.done:
				ended = true
			}
		}
	}
}

func (c *command) grace() time.Duration {
	return killTime + time.Duration(max(0, c.SigtermTime)*float64(time.Second))
}

// handle works through items in order: updates together, transfers by themselves. It
// reports whether the loop is over.
func (c *command) handle(items []*item, yield func(Update, error) bool) (over bool) {
	var now Update
	var done []int64 // requests that are dealt with but not answered yet
	flush := func() bool {
		if now.Number == 0 {
			return true
		}
		u := now
		now = Update{}
		return yield(u, nil)
	}
	for i, it := range items {
		if it.op == wire.OpUpdate {
			c.updates++
			now.Number = c.updates
			now.Entries = append(now.Entries, it.entries...)
			done = append(done, it.seq)
			if c.From == 0 {
				continue
			}
			if !flush() {
				c.s.respond(done...)
				c.leave(items[i+1:])
				return true
			}
			continue
		}
		more := flush()
		c.s.respond(done...)
		done = done[:0]
		switch {
		case it.op == wire.OpComplete:
			c.s.respond(it.seq)
			if more && it.failed {
				yield(Update{}, &RemoteError{Text: it.text})
			}
			return true
		case !more:
			c.leave(items[i:])
			return true
		}
		c.transfer(it)
	}
	more := flush()
	c.s.respond(done...)
	if !more {
		c.leave(nil)
	}
	return !more
}

// leave is what breaking out of the loop does.
func (c *command) leave(rest []*item) {
	for _, it := range rest {
		if it.op == wire.OpComplete {
			c.abandon(rest)
			return
		}
	}
	c.abandon(rest)
	if c.s.command(c.ID) == c { // complete has not come
		c.s.interrupt(c.ID, "its output is no longer wanted")
	}
}
