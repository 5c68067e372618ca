package starlark

import (
	"fmt"
	"io"
	"strings"

	"buildstar/config/prop"
)

// Format writes problems for people: those of one call together, with the source
// line, a caret, and the calls that led there.
//
//	master.star:3:24: worker.Worker "bot1": 2 problems
//	    return worker.Worker(n, imgae="debian", max_builds=0)
//	                        ^
//	  imgae       no such parameter (did you mean "image"?) [unknown-parameter]
//	  max_builds  want at least 1, got 0 [bad-value]
//	  called from master.star:4:5
func Format(w io.Writer, problems prop.Problems, color bool) error {
	f := formatter{color: color}
	for len(problems) > 0 {
		n := 1
		for n < len(problems) && together(problems[0], problems[n]) {
			n++
		}
		f.group(problems[:n])
		problems = problems[n:]
	}
	_, err := io.WriteString(w, f.out.String())
	return err
}

// together reports whether two problems are of one call.
func together(a, b prop.Problem) bool {
	return a.Pos == b.Pos && a.Subject == b.Subject && a.Subject != ""
}

type formatter struct {
	out   strings.Builder
	color bool
}

const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	dim   = "\x1b[2m"
	reset = "\x1b[0m"
)

func (f *formatter) paint(style, text string) string {
	if !f.color || text == "" {
		return text
	}
	return style + text + reset
}

func (f *formatter) group(ps prop.Problems) {
	first := ps[0]
	f.out.WriteString(f.paint(bold, first.Pos.String()+":"))
	if first.Subject != "" {
		f.out.WriteString(" " + printable(first.Subject) + ":")
	}
	single := len(ps) == 1 && first.Param == ""
	switch {
	case single:
		f.out.WriteString(" " + f.message(first) + "\n")
	case len(ps) == 1:
		f.out.WriteString(" 1 problem\n")
	default:
		fmt.Fprintf(&f.out, " %d problems\n", len(ps))
	}
	f.source(first)
	if !single {
		width := 0
		for _, p := range ps {
			width = max(width, len(p.Param))
		}
		for _, p := range ps {
			fmt.Fprintf(&f.out, "  %s%s  %s\n", f.paint(bold, p.Param), strings.Repeat(" ", width-len(p.Param)), f.message(p))
		}
	}
	for _, p := range first.Chain {
		fmt.Fprintf(&f.out, "  called from %v\n", p)
	}
}

func (f *formatter) message(p prop.Problem) string {
	text := f.paint(red, printable(p.Text))
	if p.Hint != "" {
		if strings.HasPrefix(p.Hint, "did you mean") {
			text += " (" + printable(p.Hint) + ")"
		} else {
			text += "; " + printable(p.Hint)
		}
	}
	return text + " " + f.paint(dim, "["+p.Code+"]")
}

// source writes the line and a caret below the column. Tabs stay, so that the
// caret is below its letter whatever their width.
func (f *formatter) source(p prop.Problem) {
	if p.Source == "" || p.Pos.Col < 1 {
		return
	}
	const window = 160
	line := []rune(p.Source)
	col := min(p.Pos.Col-1, len(line))
	if len(line) > window {
		start := max(0, min(col-window/2, len(line)-window))
		line, col = line[start:start+window], col-start
	}
	for len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		line, col = line[1:], max(col-1, 0)
	}
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(line[:min(col, len(line))]))
	f.out.WriteString("    " + printable(string(line)) + "\n")
	f.out.WriteString("    " + pad + f.paint(red, "^") + "\n")
}

// printable replaces control characters, which a terminal might obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '\ufffd'
		}
		return r
	}, s)
}
