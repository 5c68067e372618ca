package worker

import (
	"bytes"
	"unicode/utf8"

	"buildstar/conn/wire"
)

// A lineMaker cuts one stream (stdout, a watched file) into whole lines. A line that
// is not finished is kept until more comes or the stream ends (docs/protocol.md A.7);
// its time is that of its first piece.
type lineMaker struct {
	set     *settings
	dec     decoder
	partial []byte // the kept line; its memory is never handed out
	again   int    // from where on partial may still hold a begun newline sequence
	chars   int    // characters in partial
	millis  int64  // when partial began
}

var lf = []byte("\n")

// add takes the next bytes of the stream and returns the lines that are complete now:
// text that ends in LF, and when its lines came. The text is valid until p changes.
func (m *lineMaker) add(p []byte, millis int64) ([]byte, []wire.TimeRun) {
	text := m.dec.decode(p)
	if len(text) == 0 {
		return nil, nil
	}
	first := millis
	if len(m.partial) > 0 {
		first = m.millis
		m.chars -= utf8.RuneCount(m.partial[m.again:])
		text = append(m.partial[m.again:len(m.partial):len(m.partial)], text...)
		m.partial = m.partial[:m.again]
	}
	text, again := m.set.newlines(text)
	end := bytes.LastIndexByte(text, '\n') + 1
	if end == 0 {
		m.again = len(m.partial) + again
		m.partial = append(m.partial, text...)
		m.chars += utf8.RuneCount(text)
		m.millis = first
		return m.shorten(nil, nil)
	}
	lines := text[:end]
	if len(m.partial) > 0 {
		lines = append(m.partial, lines...)
	}
	lines = m.cut(lines)
	runs := appendRun([]wire.TimeRun{{Lines: 1, Millis: first}}, bytes.Count(lines, lf)-1, millis)
	m.partial = append([]byte(nil), text[end:]...)
	m.again = max(0, again-end)
	m.chars = utf8.RuneCount(m.partial)
	m.millis = millis
	return m.shorten(lines, runs)
}

// shorten cuts off the partial line what is too long of it, and adds that to lines.
func (m *lineMaker) shorten(lines []byte, runs []wire.TimeRun) ([]byte, []wire.TimeRun) {
	if m.chars <= m.set.maxLine {
		return lines, runs
	}
	head := m.cut(m.partial)
	end := bytes.LastIndexByte(head, '\n') + 1
	lines = append(lines[:len(lines):len(lines)], head[:end]...)
	runs = appendRun(runs, bytes.Count(head[:end], lf), m.millis)
	m.again = max(0, m.again-(len(m.partial)-len(head[end:])))
	m.partial = append([]byte(nil), head[end:]...)
	m.chars = utf8.RuneCount(m.partial)
	return lines, runs
}

// cut inserts an LF after each maxLine characters of a line that has more.
func (m *lineMaker) cut(text []byte) []byte {
	limit := m.set.maxLine
	if len(text) <= limit {
		return text
	}
	var out []byte
	done, start := 0, 0
	for start < len(text) {
		end := start + bytes.IndexByte(text[start:], '\n')
		if end < start {
			end = len(text)
		}
		for end-start > limit {
			n := prefix(text[start:end], limit)
			if start+n == end {
				break
			}
			start += n
			out = append(append(out, text[done:start]...), '\n')
			done = start
		}
		start = end + 1
	}
	if out == nil {
		return text
	}
	return append(out, text[done:]...)
}

// prefix returns how many bytes the first n characters of text take.
func prefix(text []byte, n int) int {
	i := 0
	for ; n > 0 && i < len(text); n-- {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		_, size := utf8.DecodeRune(text[i:])
		i += size
	}
	return i
}

// appendRun adds lines of one time to runs.
func appendRun(runs []wire.TimeRun, lines int, millis int64) []wire.TimeRun {
	if lines <= 0 {
		return runs
	}
	if n := len(runs); n > 0 && runs[n-1].Millis == millis {
		runs[n-1].Lines += lines
		return runs
	}
	return append(runs, wire.TimeRun{Lines: lines, Millis: millis})
}

// end returns the unfinished line, with an LF, if there is one.
func (m *lineMaker) end(millis int64) ([]byte, []wire.TimeRun) {
	var lines []byte
	var runs []wire.TimeRun
	if rest := m.dec.end(); rest != nil {
		lines, runs = m.add(rest, millis)
	}
	if len(m.partial) == 0 {
		return lines, runs
	}
	lines = append(append(lines, m.partial...), '\n')
	runs = appendRun(runs, 1, m.millis)
	m.partial, m.again, m.chars = nil, 0, 0
	return lines, runs
}
