package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"buildstar/conn/wire"
)

// maxRunning is how many commands may run at once.
const maxRunning = 1000

// commandVersion is what the stock worker calls the level of commands we are at.
const commandVersion = "3.3"

// A runFunc carries out a command. It says rc itself. An error is for what the command
// could not even report; the master gets its text with `complete`.
type runFunc func(c *command) error

// spec is one kind of command: what it must be given, and how its arguments become
// something to run.
type spec struct {
	mandatory []string
	parse     func(*session, *reader) runFunc
}

// commands are the remote commands of docs/protocol.md A.6. The names in camel case are
// what steps of a stock master look for before they send the others.
var commands = map[string]spec{
	wire.CmdShell:           {[]string{"workdir", "command"}, parseShell},
	wire.CmdUploadFile:      {[]string{"path", "blocksize"}, parseUploadFile},
	wire.CmdUploadDirectory: {[]string{"path", "blocksize"}, parseUploadDirectory},
	wire.CmdDownloadFile:    {[]string{"path", "blocksize"}, parseDownloadFile},
	"uploadFile":            {[]string{"path", "blocksize"}, parseUploadFile},
	"uploadDirectory":       {[]string{"path", "blocksize"}, parseUploadDirectory},
	"downloadFile":          {[]string{"path", "blocksize"}, parseDownloadFile},
	wire.CmdMkdir:           {[]string{"paths"}, parseMkdir},
	wire.CmdRmdir:           {[]string{"paths"}, parseRmdir},
	wire.CmdCpdir:           {[]string{"from_path", "to_path"}, parseCpdir},
	wire.CmdStat:            {[]string{"path"}, parseStat},
	wire.CmdGlob:            {[]string{"path"}, parseGlob},
	wire.CmdListdir:         {[]string{"path"}, parseListdir},
	wire.CmdRmfile:          {[]string{"path"}, parseRmfile},
}

// command is one running command.
type command struct {
	id, name string
	s        *session
	out      *output
	ctx      context.Context // ends when the command shall; Cause says why
	cancel   context.CancelCauseFunc
	done     chan struct{} // closed when all of it is over
	started  time.Time
}

func newCommand(s *session, id, name string) *command {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &command{
		id: id, name: name, s: s, ctx: ctx, cancel: cancel,
		out: newOutput(s, id, s.set), done: make(chan struct{}), started: time.Now(),
	}
}

// run carries the command out and reports its end. gone is called before the master
// hears of it, so that the id is free by then.
func (c *command) run(f runFunc, gone func()) {
	defer close(c.done)
	defer c.cancel(nil)
	err := c.guard(f)
	if c.ctx.Err() == nil {
		c.out.value(wire.Elapsed, time.Since(c.started).Seconds())
	}
	c.out.endLines()
	c.out.flush()
	c.out.push()
	gone()
	var text any
	if err != nil {
		text = err.Error()
		c.s.log.Warn("command failed", "command", c.name, "id", c.id, "err", err)
	}
	// A session that is gone cannot be told.
	_ = c.s.send(wire.OpComplete, c.id, map[string]any{wire.KeyArgs: text})
}

// guard turns a panic into an error.
func (c *command) guard(f runFunc) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.s.log.Error("command panicked", "command", c.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the worker has a bug in %s: %v", c.name, p)
		}
	}()
	return f(c)
}

// interrupted reports an interrupt, and whether there was one: to be called when an
// operation failed that c.ctx may have ended.
func (c *command) interrupted() bool {
	if c.ctx.Err() == nil {
		return false
	}
	c.out.endLines()
	c.out.header("\ncommand interrupted\n")
	c.out.value(wire.RC, -1)
	return true
}

// table knows the running commands. Those of a lost session stay in it until they
// end, so that a later one can interrupt them.
type table struct {
	wg sync.WaitGroup

	mu      sync.Mutex
	running map[string]*command
}

func newTable() *table { return &table{running: map[string]*command{}} }

// add reserves a command's id.
func (t *table) add(c *command) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[c.id] != nil {
		return fmt.Errorf("(command %s): a command with this id is still running", c.id)
	}
	if len(t.running) >= maxRunning {
		return fmt.Errorf("(command %s): %d commands run already", c.id, maxRunning)
	}
	t.running[c.id] = c
	return nil
}

func (t *table) start(c *command, f runFunc) {
	t.wg.Go(func() {
		c.run(f, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.running, c.id)
		})
	})
}

func (t *table) find(id string) *command {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running[id]
}

// of returns the running commands of a session; of all if s is nil.
func (t *table) of(s *session) []*command {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*command
	for _, c := range t.running {
		if s == nil || c.s == s {
			list = append(list, c)
		}
	}
	return list
}

// cancel ends the commands of a session; the channel is closed when they are over.
func (t *table) cancel(s *session, why error) <-chan struct{} {
	list := t.of(s)
	for _, c := range list {
		c.cancel(why)
	}
	over := make(chan struct{})
	t.wg.Go(func() {
		defer close(over)
		for _, c := range list {
			<-c.done
		}
	})
	return over
}

// abandon ends the commands of a lost session after a time.
func (t *table) abandon(s *session, after time.Duration) {
	for _, c := range t.of(s) {
		if after <= 0 {
			c.cancel(errLost)
			continue
		}
		t.wg.Go(func() {
			timer := time.NewTimer(after)
			defer timer.Stop()
			select {
			case <-timer.C:
				c.cancel(errLost)
			case <-c.done:
			}
		})
	}
}

// stop ends all commands and waits until nothing of them is left.
func (t *table) stop(why error) {
	for _, c := range t.of(nil) {
		c.cancel(why)
	}
	t.wg.Wait()
}

// mayTakeTime says how long an ended command may take to let its process end by
// itself: as long as it asked for, unless nobody is there to wait.
func mayTakeTime(ctx context.Context, asked time.Duration) time.Duration {
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return asked
	}
	return min(asked, 5*time.Second)
}
