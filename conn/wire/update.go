package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// maxEntries is how many entries one update may have. A stock worker's buffer of
// 65,536 characters holds less than 4,000 of the smallest ones.
const maxEntries = 1 << 16

// decodeUpdate reads the args of an update: an array of [key, value]. Text is a slice
// of b wherever it is UTF-8 and ends in LF; the lists of offsets and times are never
// built (docs/protocol.md A.7).
func decodeUpdate(b []byte) ([]Entry, []byte, error) {
	n, b, err := readArray(b)
	if err != nil {
		return nil, nil, err
	}
	if n > maxEntries {
		return nil, nil, malformed("an update of %d entries", n)
	}
	entries := make([]Entry, 0, min(n, 256))
	d := decoder{left: maxElements}
	for range n {
		var e Entry
		if e, b, err = d.entry(b); err != nil {
			return nil, nil, err
		}
		entries = append(entries, e)
	}
	return entries, b, nil
}

func (d *decoder) entry(b []byte) (e Entry, rest []byte, err error) {
	if b, err = readArrayOf(b, 2); err != nil {
		return e, nil, err
	}
	key, b, err := readText(b)
	if err != nil {
		return e, nil, err
	}
	switch e.Key = intern(key); e.Key {
	case Stdout, Stderr, Header:
		rest, err = e.lines(b)
	case Log:
		if b, err = readArrayOf(b, 2); err != nil {
			return e, nil, err
		}
		name, b, err := readText(b)
		if err != nil {
			return e, nil, err
		}
		e.Log = clean(name)
		rest, err = e.lines(b)
		return e, rest, err
	default:
		e.Value, rest, err = d.value(b, 0)
	}
	return e, rest, err
}

// lines reads [text, indexes, times].
func (e *Entry) lines(b []byte) ([]byte, error) {
	b, err := readArrayOf(b, 3)
	if err != nil {
		return nil, err
	}
	text, b, err := readText(b)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text[:n:n], '\n')
	}
	e.Text = text
	indexes, b, err := skipInts(b)
	if err != nil {
		return nil, err
	}
	// The offsets say nothing that the LFs do not; where they disagree, a line was cut
	// by the worker (0.2 item 4), and which time belongs to which line is unknown.
	lines := bytes.Count(text, []byte{'\n'})
	times, b, err := readTimes(b, lines)
	if err != nil {
		return nil, err
	}
	if indexes == lines {
		e.Times = times
	}
	return b, nil
}

func readArrayOf(b []byte, want int) ([]byte, error) {
	n, b, err := readArray(b)
	if err == nil && n != want {
		err = malformed("an array of %d where one of %d should be", n, want)
	}
	return b, err
}

// skipInts skips an array of numbers and says how many there were. Offsets grow, so
// those of one width stand together and are stepped over eight at a time.
func skipInts(b []byte) (int, []byte, error) {
	n, b, err := readArray(b)
	if err != nil {
		return 0, nil, err
	}
	for left := n; left > 0; left-- {
		for left >= 8 {
			size := eightOf(b)
			if size == 0 {
				break
			}
			b, left = b[size:], left-8
		}
		if left == 0 {
			break
		}
		size, _ := extent(b)
		if t := msgp.NextType(b); size > int64(len(b)) || t != msgp.IntType && t != msgp.UintType {
			return 0, nil, malformed("no number where an offset should be")
		}
		b = b[size:]
	}
	return n, b, nil
}

// eightOf says how many bytes the next eight numbers take if they are unsigned and of
// one width; else 0.
func eightOf(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	step, c := 0, b[0]
	switch c {
	case 0xcc:
		step = 2
	case 0xcd:
		step = 3
	case 0xce:
		step = 5
	}
	if step == 0 || len(b) < 8*step {
		return 0
	}
	if b[step] != c || b[2*step] != c || b[3*step] != c || b[4*step] != c || b[5*step] != c || b[6*step] != c || b[7*step] != c {
		return 0
	}
	return 8 * step
}

const timeSize = 9 // a float64 with its type byte

// readTimes reads an array of Unix times in seconds and returns them as runs; nil if
// they are not as many as lines, or no times.
func readTimes(b []byte, lines int) ([]TimeRun, []byte, error) {
	n, b, err := readArray(b)
	if err != nil {
		return nil, nil, err
	}
	var runs []TimeRun
	sane := n == lines
	for i := 0; i < n; {
		t, rest, err := readNumber(b)
		if err != nil {
			return nil, nil, err
		}
		same := 1
		if len(b)-len(rest) == timeSize {
			same += repeats(b, n-i-1)
			rest = b[same*timeSize:]
		}
		b = rest
		i += same
		if !(t >= 0 && t < 1e11) { // also NaN
			sane = false
		}
		if !sane {
			continue
		}
		millis := int64(math.Round(t * 1000))
		if k := len(runs); k > 0 && runs[k-1].Millis == millis {
			runs[k-1].Lines += same
		} else {
			runs = append(runs, TimeRun{Lines: same, Millis: millis})
		}
	}
	if !sane {
		runs = nil
	}
	return runs, b, nil
}

// repeats counts how many of the next n times equal the one at the start of b: a
// block equals the block one time earlier if all in it are equal.
func repeats(b []byte, n int) int {
	count := 0
	for _, block := range []int{n, 512, 64, 8, 1} {
		size := block * timeSize
		for block > 0 && n-count >= block && len(b) >= timeSize+size && bytes.Equal(b[timeSize:timeSize+size], b[:size]) {
			count += block
			b = b[size:]
		}
	}
	return count
}

func readNumber(b []byte) (float64, []byte, error) {
	if len(b) >= timeSize && b[0] == 0xcb {
		return math.Float64frombits(binary.BigEndian.Uint64(b[1:])), b[timeSize:], nil
	}
	switch msgp.NextType(b) {
	case msgp.Float64Type, msgp.Float32Type:
		f, rest, err := msgp.ReadFloat64Bytes(b)
		return f, rest, wrap(err)
	case msgp.IntType, msgp.UintType:
		i, rest, err := msgp.ReadInt64Bytes(b)
		return float64(i), rest, wrap(err)
	}
	return 0, nil, malformed("no number where a time should be")
}

// CloneEntries returns entries whose Text no longer refers to the frame.
func CloneEntries(entries []Entry) []Entry {
	size := 0
	for i := range entries {
		size += len(entries[i].Text)
	}
	if size == 0 {
		return entries
	}
	arena := make([]byte, 0, size)
	for i := range entries {
		start := len(arena)
		arena = append(arena, entries[i].Text...)
		entries[i].Text = arena[start:len(arena):len(arena)]
	}
	return entries
}
