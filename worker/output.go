package worker

import (
	"bytes"
	"time"

	"buildstar/conn/wire"
)

// maxWaiting is how many entries may wait, however small they are.
const maxWaiting = 4000

// output collects what one command has to say and makes update messages of it
// (docs/protocol.md A.7). It belongs to the command's goroutine. Messages that are
// ready go to the outbox; a command does not add more while that is full.
type output struct {
	*outbox
	set     *settings
	streams []*stream
	entries []wire.Entry // wait to be sent together
	cost    int
	since   time.Time // when the first of entries began to wait
}

// stream is stdout, stderr, header, or a watched file.
type stream struct {
	key, log string
	lineMaker
}

// stream returns the stream of this kind and name, from the first use on the same.
func (o *output) stream(key, log string) *stream {
	for _, st := range o.streams {
		if st.key == key && st.log == log {
			return st
		}
	}
	st := &stream{key: key, log: log, lineMaker: lineMaker{set: o.set}}
	o.streams = append(o.streams, st)
	return st
}

// write adds the next bytes of a stream.
func (o *output) write(st *stream, p []byte) {
	lines, runs := st.add(p, time.Now().UnixMilli())
	o.lines(st, lines, runs)
}

func (o *output) header(text string) { o.write(o.stream(wire.Header, ""), []byte(text)) }
func (o *output) stderr(text string) { o.write(o.stream(wire.Stderr, ""), []byte(text)) }

// value adds an entry that is no text.
func (o *output) value(key string, v any) {
	const cost = 20
	o.room(cost)
	o.entries = append(o.entries, wire.Entry{Key: key, Value: v})
	o.cost += cost
}

// endLines adds the unfinished lines of all streams.
func (o *output) endLines() {
	now := time.Now().UnixMilli()
	for _, st := range o.streams {
		lines, runs := st.end(now)
		o.lines(st, lines, runs)
	}
}

// costOf is how much of the buffer text takes: its bytes, and eight for the offset and
// the time of each line.
func costOf(text []byte) int { return len(text) + 16*bytes.Count(text, lf) }

func (o *output) lines(st *stream, text []byte, runs []wire.TimeRun) {
	if len(text) == 0 {
		return
	}
	cost := costOf(text)
	if cost > o.set.size {
		o.flush()
		o.split(st, text, runs)
		return
	}
	o.room(cost)
	o.cost += cost
	if n := len(o.entries); n > 0 && o.entries[n-1].Key == st.key && o.entries[n-1].Log == st.log {
		last := &o.entries[n-1]
		last.Text = append(last.Text, text...)
		for _, run := range runs {
			last.Times = appendRun(last.Times, run.Lines, run.Millis)
		}
		return
	}
	o.entries = append(o.entries, wire.Entry{Key: st.key, Log: st.log, Text: bytes.Clone(text), Times: runs})
}

// room sends what waits if an entry of this cost does not fit beside it.
func (o *output) room(cost int) {
	if o.cost+cost > o.set.size || len(o.entries) >= maxWaiting {
		o.flush()
	}
	if len(o.entries) == 0 {
		o.since = time.Now()
	}
}

// split sends text that is too much for one message in several.
func (o *output) split(st *stream, text []byte, runs []wire.TimeRun) {
	for len(text) > 0 {
		n, lines := o.fitting(text)
		var head []wire.TimeRun
		head, runs = splitRuns(runs, lines)
		o.encode([]wire.Entry{{Key: st.key, Log: st.log, Text: text[:n], Times: head}})
		text = text[n:]
	}
}

// fitting returns how many bytes and lines of text fit into the buffer: at least one
// line.
func (o *output) fitting(text []byte) (n, lines int) {
	cost := 0
	for n < len(text) {
		line := bytes.IndexByte(text[n:], '\n') + 1
		if cost += line + 16; cost > o.set.size && lines > 0 {
			break
		}
		n += line
		lines++
	}
	return n, lines
}

func splitRuns(runs []wire.TimeRun, lines int) (head, rest []wire.TimeRun) {
	for i, run := range runs {
		if run.Lines >= lines {
			head = append(head, wire.TimeRun{Lines: lines, Millis: run.Millis})
			if run.Lines > lines {
				rest = append(rest, wire.TimeRun{Lines: run.Lines - lines, Millis: run.Millis})
			}
			return head, append(rest, runs[i+1:]...)
		}
		head = append(head, run)
		lines -= run.Lines
	}
	return head, nil
}

// flush makes a message of what waits.
func (o *output) flush() {
	if len(o.entries) > 0 {
		o.encode(o.entries)
	}
	clear(o.entries)
	o.entries, o.cost = o.entries[:0], 0
}

func (o *output) encode(entries []wire.Entry) {
	b := wire.GetBuffer()
	defer b.Free()
	var err error
	if b.B, err = wire.AppendUpdate(b.B, 0, o.id, entries); err != nil {
		o.log.Error("an update could not be encoded", "command", o.id, "err", err)
		return
	}
	o.add(b.B, false)
}

// end adds complete, with the text of what went wrong with the command itself.
func (o *output) end(failure error) {
	fields := map[string]any{wire.KeyCommandID: o.id, wire.KeyArgs: nil}
	if failure != nil {
		fields[wire.KeyArgs] = failure.Error()
	}
	b := wire.GetBuffer()
	defer b.Free()
	var err error
	if b.B, err = wire.AppendRequest(b.B, 0, wire.OpComplete, fields); err != nil {
		o.log.Error("the end of a command could not be encoded", "command", o.id, "err", err)
		o.abort()
		return
	}
	o.add(b.B, true)
}

// due is when entries must be sent; zero if there are none.
func (o *output) due() time.Time {
	if len(o.entries) == 0 {
		return time.Time{}
	}
	return o.since.Add(o.set.timeout)
}
