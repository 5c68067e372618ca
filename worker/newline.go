package worker

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// stockNewlines is the newline_re of every stock master. Its look-ahead is beyond Go's
// regular expressions, so it is matched by hand.
const stockNewlines = "(\\r\\n|\\r(?=.)|\\033\\[u|\\033\\[[0-9]+;[0-9]+[Hf]|\\033\\[2J|\\x08+)"

// newlines replaces what a master wants to count as the end of a line by LF. It gets
// text that may begin in the middle of a line and returns the text with the
// replacements, and from which offset on that text must be looked at again once more
// of it is there. The result may share memory with text.
type newlines func(text []byte) (replaced []byte, again int)

// compileNewlines understands the newline_re of set_worker_settings.
func compileNewlines(pattern string) (newlines, error) {
	switch pattern {
	case stockNewlines, strings.ReplaceAll(stockNewlines, `\033`, `\x1b`):
		return replaceStock, nil
	case "(?!)", "":
		return keepAll, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("newline_re %q: %w; use the pattern of a stock master, (?!) to switch it off, "+
			"or one that Go's regexp package accepts", pattern, err)
	}
	return func(text []byte) ([]byte, int) {
		text = re.ReplaceAllLiteral(text, []byte("\n"))
		return text, max(0, len(text)-rescan)
	}, nil
}

// rescan is how much of an unfinished line is looked at again for a pattern of the
// master's own, which may match across the end of what has come so far.
const rescan = 256

func keepAll(text []byte) ([]byte, int) { return text, len(text) }

// replaceStock replaces the matches of stockNewlines.
func replaceStock(text []byte) ([]byte, int) {
	i := bytes.IndexAny(text, "\r\x1b\b")
	if i < 0 {
		return text, len(text)
	}
	out := make([]byte, 0, len(text))
	out = append(out, text[:i]...)
	for i < len(text) {
		n, more := matchStock(text[i:])
		switch {
		case more: // what follows may complete it
			again := len(out)
			return append(out, text[i:]...), again
		case n > 0:
			out = append(out, '\n')
			i += n
			continue
		}
		j := i + 1
		if k := bytes.IndexAny(text[j:], "\r\x1b\b"); k >= 0 {
			j += k
		} else {
			j = len(text)
		}
		out = append(out, text[i:j]...)
		i = j
	}
	return out, len(out)
}

// matchStock returns the length of a match at the start of p, or more if p ends
// before that is known.
func matchStock(p []byte) (n int, more bool) {
	switch p[0] {
	case '\b':
		for n < len(p) && p[n] == '\b' {
			n++
		}
		return n, false
	case '\r':
		switch {
		case len(p) == 1:
			return 0, true
		case p[1] == '\n':
			return 2, false
		}
		return 1, false
	case 0x1b:
		return matchEscape(p)
	}
	return 0, false
}

// maxEscape bounds the numbers of a cursor movement.
const maxEscape = 64

// matchEscape matches ESC [ u, ESC [ 2 J and ESC [ row ; column H or f.
func matchEscape(p []byte) (n int, more bool) {
	p = p[:min(len(p), maxEscape)]
	if len(p) == 1 {
		return 0, true
	}
	if p[1] != '[' {
		return 0, false
	}
	if len(p) == 2 {
		return 0, true
	}
	if p[2] == 'u' {
		return 3, false
	}
	i := digits(p, 2)
	switch {
	case i == len(p):
		return 0, len(p) < maxEscape
	case p[i] == 'J' && i == 3 && p[2] == '2':
		return 4, false
	case i == 2 || p[i] != ';':
		return 0, false
	}
	j := digits(p, i+1)
	switch {
	case j == len(p):
		return 0, len(p) < maxEscape
	case j > i+1 && (p[j] == 'H' || p[j] == 'f'):
		return j + 1, false
	}
	return 0, false
}

func digits(p []byte, i int) int {
	for i < len(p) && '0' <= p[i] && p[i] <= '9' {
		i++
	}
	return i
}
