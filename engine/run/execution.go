package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"buildstar/conn"
	"buildstar/conn/wire"
	"buildstar/state"
)

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
	kept      bool     // the worker keeps what it says
	resumed   bool     // an earlier run of the step began it
	written   int64    // whole, by that
	unsaved   int64    // bytes that came since the worker was told that it may forget
	next      int64    // number of the update that comes next, from 1
	files     []string // that were opened when their first line came, in that order
}

// goOn takes a command up where the connection was cut: else one that is cut again and again
// would never be done with what it printed so far. Who wants its output, or the files that
// it sends, needs all of it again, and so does what interrupts it for its lines.
func (x *execution) goOn(command *conn.Command) error {
	x.next = 1
	old := x.r.heard[x.id]
	if x.kept {
		x.r.heard[x.id] = x
	}
	c := x.c
	if command.From == 0 || old == nil || old.next < command.From || old.told ||
		c.Output != nil || c.Upload != nil || c.Download != nil || c.Stamp != nil {
		return nil
	}
	for _, name := range old.files {
		if _, err := x.file(name); err != nil {
			return err
		}
	}
	command.From, x.next, x.unsaved = old.next, old.next, old.unsaved
	x.result, x.lines = old.result, old.lines
	return nil
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
	x.next = u.Number + 1
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

// saveEvery is after how many bytes of output the worker is told that it may forget them, and
// saveCaptured that of a command whose output a step wants to have: only what the worker
// still has can be had by a later master, too. It keeps 256 MiB.
const (
	saveEvery    = 32 << 20
	saveCaptured = 192 << 20
)

// save makes the output so far durable, if it is much, and lets the worker forget it.
func (x *execution) save(u conn.Update) error {
	if !x.kept {
		return nil
	}
	for _, e := range u.Entries {
		x.unsaved += int64(len(e.Text))
	}
	limit := int64(saveEvery)
	if x.c.Output != nil {
		limit = saveCaptured
	}
	if x.unsaved < limit || x.r.b.rows.dirty.Load() {
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
	x.files = append(x.files, name)
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
