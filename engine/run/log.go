package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"buildstar/state"
)

// maxLogs is how many logs one step may have.
const maxLogs = 100

// Log is one log of a step, open for writing. Methods are called by the step's
// goroutine.
type Log struct {
	r     *Running
	id    *future
	row   state.Log // ID and StepID are not used
	lines int64
	// What the master itself writes is numbered too, so that a step that is run again does
	// not write it twice. key names the log for that; "" if the build ends with the
	// connection.
	key    string
	writes int64
}

// AddLog opens a log of the step. Its type is "s" for text with streams, else "t"
// or "h". A name that is taken gets a number.
func (r *Running) AddLog(name, typ string) (*Log, error) {
	if len(r.logs) >= maxLogs {
		return nil, fmt.Errorf("add log %q: a step has at most %d logs", name, maxLogs)
	}
	r.open()
	name = r.mask.text(name)
	base := slug(name)
	unique := base
	for n := 1; r.slugs[unique]; n++ {
		unique = base + "_" + strconv.Itoa(n)
	}
	r.slugs[unique] = true
	if l := r.past[unique]; l != nil {
		delete(r.past, unique)
		r.logs = append(r.logs, l)
		return l, nil
	}
	l := &Log{r: r, id: newFuture(), row: state.Log{Name: name, Slug: unique, Type: typ, BuildID: r.b.o.Row.ID}}
	l.name()
	r.logs = append(r.logs, l)
	r.b.rows.logs = append(r.b.rows.logs, l)
	row, step := l.row, r.row.id
	r.b.rows.later(func(tx state.Tx) error {
		row.StepID = step.id.Load()
		id, err := tx.AddLog(row)
		l.id.set(id)
		return err
	}, l.id)
	return l, nil
}

// name gives the log its key, if it needs one.
func (l *Log) name() {
	if l.r.b.o.Link != nil {
		l.key = strconv.FormatInt(l.r.start.Number, 10) + "/" + l.row.Slug
	}
}

// slug turns a log's name into what can stand in an address.
func slug(name string) string {
	s := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, clip(name, 50))
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		s = "_" + s
	}
	return s
}

// Write appends text to a stream: 'o', 'e', 'h', or 't' for logs without streams. A
// missing LF at the end is added.
func (l *Log) Write(stream byte, text string) error {
	if text == "" {
		return nil
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	at := state.Resume{}
	if l.key != "" {
		l.writes++
		if at = (state.Resume{CommandID: l.key, Update: l.writes}); l.r.b.rows.position(l.key) >= l.writes {
			return nil
		}
	}
	return l.append(at, state.LogRun{Stream: stream, Text: []byte(text), Times: []state.Time{state.Now()}})
}

// append writes runs of whole lines to the segment, then tells the world: a reader
// that hears of a line can read it (docs/architecture.md section 4, "log truth").
func (l *Log) append(at state.Resume, runs ...state.LogRun) error {
	if l.r.b.rows.frozen.Load() {
		return errSuspended
	}
	id := l.id.wait(context.Background())
	if id == 0 {
		return errors.New("write log: its row could not be written")
	}
	seg, err := l.r.b.rows.open()
	if err != nil {
		return fmt.Errorf("open logs of build %d: %w", l.r.b.o.Row.ID, err)
	}
	for i, run := range runs {
		runs[i].Text = l.r.mask.lines(run.Text)
	}
	if err := seg.Append(id, at, runs...); err != nil {
		return fmt.Errorf("write log %q: %w", l.row.Name, err)
	}
	l.r.b.rows.written = true
	for _, run := range runs {
		l.lines += int64(bytes.Count(run.Text, []byte{'\n'}))
	}
	l.r.b.o.Store.Publish(l.get().Event("append"))
	return nil
}

// get returns the row as it is now.
func (l *Log) get() state.Log {
	row := l.row
	row.ID, row.StepID, row.NumLines = l.id.id.Load(), l.r.row.id.id.Load(), l.lines
	return row
}

// finish returns the write that completes the log.
func (l *Log) finish() func(state.Tx) error {
	row := l.row
	row.Complete, row.NumLines = true, l.lines
	step := l.r.row.id
	return func(tx state.Tx) error {
		row.ID, row.StepID = l.id.id.Load(), step.id.Load()
		return tx.PutLog(row)
	}
}
