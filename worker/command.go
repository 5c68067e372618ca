package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"buildstar/conn/wire"
)

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

// command is one command, from its start until the master needs nothing of it any more.
type command struct {
	id, name string
	cfg      Config
	log      *slog.Logger
	out      *output
	f        runFunc
	ctx      context.Context // ends when the command shall; Cause says why
	cancel   context.CancelCauseFunc
	over     chan struct{} // closed when it has ended; its outbox may still be wanted
	whole    bool          // it has ended by itself and said so; after over
	next     *session      // that it is done anew for; guarded by table.mu
	started  time.Time
}

// newCommand makes a command of a session. token is what the master sent to be able to
// resume it, or nil; gone is called before the master may use the id again.
func newCommand(s *session, id, name string, token []byte, gone func()) *command {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &command{
		id: id, name: name, cfg: s.cfg, log: s.log, ctx: ctx, cancel: cancel,
		out: &output{outbox: newOutbox(s, id, token, gone), set: s.set}, over: make(chan struct{}), started: time.Now(),
	}
}

// run carries the command out and says how it ended.
func (c *command) run() {
	defer close(c.over)
	defer c.cancel(nil)
	err := c.guard(c.f)
	if c.isTransfer() && errors.Is(err, errLost) && c.ctx.Err() == nil {
		c.out.abort() // the master can have it done anew
		return
	}
	if c.ctx.Err() == nil {
		c.out.value(wire.Elapsed, time.Since(c.started).Seconds())
	}
	c.out.endLines()
	c.out.flush()
	if err != nil {
		c.log.Warn("command failed", "command", c.name, "id", c.id, "err", err)
	}
	c.whole = true
	c.out.end(err)
}

// isTransfer reports whether the command transfers files to or from a master that can
// resume it.
func (c *command) isTransfer() bool {
	return c.out.token != nil && (c.isUpload() || c.name == wire.CmdDownloadFile || c.name == "downloadFile")
}

func (c *command) isUpload() bool {
	switch c.name {
	case wire.CmdUploadFile, wire.CmdUploadDirectory, "uploadFile", "uploadDirectory":
		return true
	}
	return false
}

// anew reports whether the command is resumed by being done anew: an upload, because what
// it sent is not in its outbox, and a download that was cut. To send a file again harms
// nobody; to write one again that was written whole may undo what came after.
func (c *command) anew() bool {
	return c.isTransfer() && (c.isUpload() || !closed(c.over) || !c.whole)
}

// call asks the master something and waits for its answer.
func (c *command) call(ctx context.Context, op string, fields map[string]any) (any, error) {
	s := c.out.session()
	if s == nil {
		return nil, errLost
	}
	return s.call(ctx, op, c.id, fields)
}

// guard turns a panic into an error.
func (c *command) guard(f runFunc) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("command panicked", "command", c.name, "panic", p, "stack", string(debug.Stack()))
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

// mayTakeTime says how long an ended command may take to let its process end by
// itself: as long as it asked for, unless nobody is there to wait.
func mayTakeTime(ctx context.Context, asked time.Duration) time.Duration {
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return asked
	}
	return min(asked, 5*time.Second)
}
