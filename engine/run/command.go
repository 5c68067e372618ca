package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/state"
)

// Command is one command that a step sends to its worker.
type Command struct {
	Name string
	Args map[string]any // property values; paths are absolute
	// Log takes what the command prints and the headers; nil throws it away.
	Log *Log
	// Files are the logs of other files that the command follows, by name. A nil one
	// is opened when its first line comes.
	Files map[string]*Log
	// MaxLines interrupts the command when stdout and stderr have more lines than
	// this; 0 is no limit.
	MaxLines int64
	// SigtermTime is how many seconds the worker waits between SIGTERM and the kill.
	SigtermTime float64
	// Output is told of stdout ('o') and stderr ('e') once they are in the log.
	Output   func(stream byte, text []byte)
	Upload   io.Writer
	Stamp    func(accessed, modified float64)
	Download io.Reader
}

// CommandResult is how a command ended. Nothing but Succeeded says that all is
// well: a worker may report success and an error, or neither (docs/protocol.md 0.2
// item 7).
type CommandResult struct {
	RC      *int64
	Failure string         // failure_reason: "timeout", "timeout_without_output", "max_lines_failure"
	Error   string         // what the worker said went wrong with the command itself
	Values  map[string]any // other results by key: "files", "stat"
}

// Succeeded reports whether the command ended with exit status 0 and no error.
func (c CommandResult) Succeeded() bool { return c.Error == "" && c.RC != nil && *c.RC == 0 }

// Result returns SUCCESS or FAILURE.
func (c CommandResult) Result() config.Result {
	if c.Succeeded() {
		return config.Success
	}
	return config.Failure
}

// Command sends a command to the worker and waits until it completed, writing what
// it prints to logs. An error is one of the master or the connection; what went wrong on
// the worker is in the result. When ctx ends the command is interrupted. If the connection
// is lost and the build can go on, the step is run again, and the command is then taken up
// where it was.
func (r *Running) Command(ctx context.Context, c Command) (CommandResult, error) {
	r.open()
	if r.lost {
		return CommandResult{}, errAway
	}
	row, err := r.journal(r.b.o.Worker.Name, c.Name, c.Args)
	if err != nil {
		return CommandResult{}, err
	}
	s, command, err := r.place(ctx, c, row)
	if err != nil {
		return CommandResult{}, r.failed(c, err)
	}
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	x := &execution{r: r, c: c, id: row.ID, s: s, kept: r.b.o.Link != nil, resumed: command.From > 0, interrupt: interrupt}
	if x.kept {
		x.written = r.b.rows.position(row.ID)
		x.whole = x.written
	}
	if err := x.goOn(&command); err != nil {
		return CommandResult{}, err
	}
	updates, err := s.Run(ctx, command)
	if err == nil {
		for u, uerr := range updates {
			if err = uerr; err != nil {
				break
			}
			if err = x.take(u); err != nil {
				break
			}
		}
	}
	var remote *conn.RemoteError
	if errors.As(err, &remote) {
		x.result.Error, err = clip(remote.Text, maxError), nil
		if x.result.Error == "" {
			x.result.Error = "unknown error"
		}
		r.remote = clip(x.result.Error, 300)
	}
	if !errors.Is(err, conn.ErrLost) && !errors.Is(err, conn.ErrNotStopped) && !errors.Is(err, conn.ErrFrameTooBig) {
		row.Done, row.RC, row.Failure = true, x.result.RC, clip(r.mask.text(x.result.Error), 1024)
		step := r.row.id
		r.b.rows.queue(func(tx state.Tx) error {
			row.StepID = step.id.Load()
			return tx.PutCommand(row)
		})
	}
	if err != nil {
		return x.result, r.failed(c, err)
	}
	return x.result, nil
}

// failed says why a command did not come to its end.
func (r *Running) failed(c Command, err error) error {
	if r.b.o.Link != nil && errors.Is(err, conn.ErrLost) && !errors.Is(err, conn.ErrFrameTooBig) {
		r.lost = true
		return errAway
	}
	return fmt.Errorf("run %s on worker %s: %w", c.Name, r.b.o.Worker.Name, err)
}

// place finds the session for a command, and whether the worker has it already.
func (r *Running) place(ctx context.Context, c Command, row state.Command) (conn.Session, conn.Command, error) {
	command := conn.Command{
		ID: row.ID, Name: c.Name, Args: c.Args, Upload: c.Upload, Stamp: c.Stamp, Download: c.Download, SigtermTime: c.SigtermTime,
	}
	b := r.b
	s, err := b.current(ctx)
	if err != nil || b.o.Link == nil {
		return s, command, err
	}
	command.Token = row.ArgsHash
	r.uploaded = r.uploaded || c.Upload != nil
	r.ids = append(r.ids, row.ID)
	b.take()
	h, have := b.held[row.ID]
	before := int64(math.MaxInt64)
	if have {
		before = r.base
	}
	delete(b.held, row.ID)
	if err := b.clear(ctx, s, before); err != nil {
		return s, command, err
	}
	switch {
	case !have:
		return s, command, nil
	case h.Next == 0:
		err = b.unlike("worker %s ended command %s, because the master was away for too long", b.o.Worker.Name, row.ID)
	case !bytes.Equal(h.Token, row.ArgsHash):
		err = b.unlike("step %q would now send another command than the one that worker %s runs", r.name, b.o.Worker.Name)
	case h.First > 1 && c.Output != nil:
		err = b.unlike("step %q needs the whole output of its command, and the beginning is no longer there", r.name)
	}
	command.From = h.First
	return s, command, err
}

// journal writes the row of a command about to be sent. Should the master die before the
// row is on disk, the command can still be told by its id, which counts within the
// build. A command that is sent again has its row.
func (r *Running) journal(worker, name string, args map[string]any) (state.Command, error) {
	text, err := json.Marshal([]any{name, args})
	if err != nil {
		return state.Command{}, fmt.Errorf("encode the arguments of %s: %w", name, err)
	}
	hash := sha256.Sum256(text)
	b := r.b
	b.seq++
	row := state.Command{
		ID: CommandID(b.o.Row.Epoch, b.o.Row.ID, b.seq), BuildID: b.o.Row.ID, Seq: r.commands, Worker: worker, ArgsHash: hash[:],
	}
	r.commands++
	if b.seq <= b.sent {
		return row, nil
	}
	b.sent = b.seq
	step := r.row.id
	b.rows.later(func(tx state.Tx) error {
		row := row
		row.StepID = step.id.Load()
		return tx.AddCommand(row)
	})
	return row, nil
}
