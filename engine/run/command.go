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
	"slices"
	"time"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/conn/wire"
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

// execution is one command while it runs.
type execution struct {
	r         *Running
	c         Command
	id        string
	interrupt context.CancelCauseFunc
	result    CommandResult
	lines     int64 // of stdout and stderr, if they are limited
	told      bool  // that they are too many
	whole     int64 // number of the newest update of which every log is written
	s         conn.Session
	kept      bool  // the worker keeps what it says
	resumed   bool  // an earlier run of the step began it
	written   int64 // whole, by that
	unsaved   int64 // bytes that came since the worker was told that it may forget
}

// maxError bounds what a worker can say about what went wrong.
const maxError = 64 << 10

var errMaxLines = errors.New("command exceeds max lines")

// take writes one update's text to the logs and keeps its results.
func (x *execution) take(u conn.Update) error {
	var order []*Log
	runs := map[*Log][]state.LogRun{}
	add := func(l *Log, stream byte, e wire.Entry) {
		if l == nil || len(e.Text) == 0 {
			return
		}
		if !slices.Contains(order, l) {
			order = append(order, l)
		}
		runs[l] = append(runs[l], state.LogRun{Stream: stream, Text: e.Text, Times: times(e.Times)})
	}
	for _, e := range u.Entries {
		switch e.Key {
		case "stdout", "stderr":
			add(x.c.Log, e.Key[3], e)
			x.count(e)
		case "header":
			add(x.c.Log, 'h', e)
			x.reason(e)
		case "log":
			l, err := x.file(e.Log)
			if err != nil {
				return err
			}
			add(l, 't', e)
		default:
			x.keep(e)
		}
	}
	if u.Number > x.written {
		if err := x.write(u.Number, order, runs); err != nil {
			return err
		}
	}
	x.tell(u)
	if err := x.stopAtMaxLines(); err != nil {
		return err
	}
	return x.save(u)
}

// write appends an update to logs. One that is for several logs may have come into the
// first of them only when the master ended, so each of those has a position of its own.
func (x *execution) write(number int64, order []*Log, runs map[*Log][]state.LogRun) error {
	for i, l := range order {
		at := state.Resume{CommandID: x.id, Update: number}
		if i < len(order)-1 { // it is whole on disk with its last log, not earlier
			at.Update = x.whole
			if l.key != "" {
				at = state.Resume{CommandID: x.id + " " + l.key, Update: number}
			}
		}
		if x.resumed && x.r.b.rows.position(x.id+" "+l.key) >= number {
			continue
		}
		if err := l.append(at, runs[l]...); err != nil {
			return err
		}
	}
	if len(order) > 0 {
		x.whole = number
	}
	return nil
}

// saveEvery is after how many bytes of output the worker is told that it may forget them.
// It keeps 256 MiB.
const saveEvery = 32 << 20

// save makes the output so far durable, if it is much, and lets the worker forget it.
func (x *execution) save(u conn.Update) error {
	if !x.kept {
		return nil
	}
	for _, e := range u.Entries {
		x.unsaved += int64(len(e.Text))
	}
	if x.unsaved < saveEvery || x.r.b.rows.dirty.Load() {
		return nil
	}
	x.unsaved = 0
	x.r.b.rows.sync()
	x.r.b.o.Store.After(func() {
		if !x.r.b.rows.dirty.Load() {
			x.s.AcknowledgeUpdates(x.id, u.Number)
		}
	})
	return nil
}

// tell passes on what the command printed.
func (x *execution) tell(u conn.Update) {
	if x.c.Output == nil {
		return
	}
	for _, e := range u.Entries {
		if e.Key == "stdout" || e.Key == "stderr" {
			x.c.Output(e.Key[3], e.Text)
		}
	}
}

// file returns the log of a followed file; what the step did not ask for is
// dropped.
func (x *execution) file(name string) (*Log, error) {
	l, asked := x.c.Files[name]
	if !asked || l != nil {
		return l, nil
	}
	l, err := x.r.AddLog(name, "t")
	x.c.Files[name] = l
	return l, err
}

// count interrupts a command that prints more than it may.
func (x *execution) count(e wire.Entry) {
	if x.c.MaxLines <= 0 || x.result.Failure != "" {
		return
	}
	x.lines += int64(bytes.Count(e.Text, []byte{'\n'}))
	if x.lines > x.c.MaxLines {
		x.result.Failure = "max_lines_failure"
	}
}

// reason reads from a header what a worker without failure_reason does not say
// otherwise (docs/protocol.md A.7).
func (x *execution) reason(e wire.Entry) {
	_, text, found := bytes.Cut(e.Text, []byte("command timed out: "))
	switch {
	case !found || x.result.Failure != "":
	case bytes.Contains(text, []byte("seconds without output")):
		x.result.Failure = "timeout_without_output"
	default:
		x.result.Failure = "timeout"
	}
}

// stopAtMaxLines interrupts the command once it printed too much, and says so in
// the log.
func (x *execution) stopAtMaxLines() error {
	if x.c.MaxLines <= 0 || x.lines <= x.c.MaxLines || x.told {
		return nil
	}
	x.told = true
	x.interrupt(errMaxLines)
	if x.c.Log == nil {
		return nil
	}
	return x.c.Log.Write('h', fmt.Sprintf("command exceeds max lines: %d/%d written/allowed", x.lines, x.c.MaxLines))
}

func (x *execution) keep(e wire.Entry) {
	switch v := e.Value.(type) {
	case int64:
		if e.Key == "rc" {
			x.result.RC = &v
			return
		}
	case string:
		if e.Key == "failure_reason" {
			x.result.Failure = v
			return
		}
	}
	if e.Key == "elapsed" {
		return
	}
	if x.result.Values == nil {
		x.result.Values = map[string]any{}
	}
	if _, have := x.result.Values[e.Key]; have || len(x.result.Values) < 16 {
		x.result.Values[e.Key] = e.Value
	}
}

// times expands the run-length code; a shorter list repeats its last.
func times(runs []wire.TimeRun) []state.Time {
	if len(runs) == 0 {
		return []state.Time{state.At(time.Now())}
	}
	if len(runs) == 1 {
		return []state.Time{state.Time(runs[0].Millis)}
	}
	var ts []state.Time
	for i, r := range runs {
		n := r.Lines
		if i == len(runs)-1 {
			n = 1
		}
		for range n {
			ts = append(ts, state.Time(r.Millis))
		}
	}
	return ts
}
