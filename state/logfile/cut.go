package logfile

import (
	"bytes"

	"buildstar/state"
)

// cutter cuts the runs of an append into the texts of frames: whole lines, up to size
// bytes unless one line is longer. It fills in the runs and times of each.
type cutter struct {
	runs  []state.LogRun
	size  int
	lists *lists

	pos  int // in the text of runs[0]
	line int // in runs[0]
	buf  []byte
}

// next returns the text of the next frame, valid until the next call, its number of
// lines, and whether there are more frames.
func (c *cutter) next() (text []byte, lines int64, more bool) {
	c.lists.reset()
	c.buf = c.buf[:0]
	for len(c.runs) > 0 {
		r := c.runs[0]
		rest := r.Text[c.pos:]
		held := len(text)
		n := fit(rest, c.size-held)
		if held > 0 && n > c.size-held {
			return text, lines, true
		}
		piece := rest[:n]
		count := bytes.Count(piece, lf)
		c.lists.addRun(r.Stream, int64(count))
		addTimes(c.lists, r.Times, c.line, count)
		lines += int64(count)
		if held == 0 {
			text = piece // most frames are one piece and need no copy
		} else {
			if len(c.buf) == 0 {
				c.buf = append(c.buf, text...)
			}
			c.buf = append(c.buf, piece...)
			text = c.buf
		}
		c.pos += n
		c.line += count
		if c.pos == len(r.Text) {
			c.runs, c.pos, c.line = c.runs[1:], 0, 0
		}
		if len(text) >= c.size {
			break
		}
	}
	return text, lines, len(c.runs) > 0
}

// fit returns how many bytes of text to take for a room: the whole lines that fit, or
// the first line if none does.
func fit(text []byte, room int) int {
	if len(text) <= room {
		return len(text)
	}
	if room > 0 {
		if i := bytes.LastIndexByte(text[:room], '\n'); i >= 0 {
			return i + 1
		}
	} else {
		room = 0
	}
	return room + bytes.IndexByte(text[room:], '\n') + 1
}

// addTimes adds the times of lines [from, from+n) of a run; a list that is too short
// repeats its last.
func addTimes(l *lists, times []state.Time, from, n int) {
	if len(times) == 0 {
		l.addTime(0, int64(n))
		return
	}
	for ; n > 0 && from < len(times)-1; from, n = from+1, n-1 {
		l.addTime(times[from], 1)
	}
	if n > 0 {
		l.addTime(times[len(times)-1], int64(n))
	}
}
