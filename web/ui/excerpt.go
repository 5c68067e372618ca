package ui

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"

	"buildstar/state"
)

// jsonText is how a property reads: a string as it is, anything else as JSON.
func jsonText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

const (
	excerptWindow = 400  // lines at the end of a log that are looked at
	excerptLines  = 40   // lines that are shown
	excerptWidth  = 1000 // bytes of a line
)

// excerpt is the telling part of a log: around the first error of a step that
// failed, else the end.
type excerpt struct {
	Log     logRow    `json:"log"`
	Header  int64     `json:"header_lines"` // leading lines with the command and its environment, not shown
	Command string    `json:"command"`      // the first of them
	Lines   []logLine `json:"lines"`
	Empty   string    `json:"empty,omitempty"` // said in place of lines
}

// logLine is one line of a log, or a gap.
type logLine struct {
	N      int64  `json:"n"` // counts from 1, as people do
	Stream string `json:"s"`
	Text   string `json:"x"`
	Cut    int    `json:"cut,omitempty"` // bytes that are not shown
	Error  bool   `json:"error,omitempty"`
	Gap    int64  `json:"gap,omitempty"` // lines left out here; nothing else is set
}

// errorLine finds lines that likely say what went wrong.
var errorLine = regexp.MustCompile(`(?i)\b(error|errors|fatal|panic|exception|traceback|failed|failure|fail|undefined reference|not found|no such file|permission denied|assert\w*|segmentation fault)\b|^--- FAIL|^E  `)

// notError are words beside which the others mean nothing.
var notError = regexp.MustCompile(`(?i)\b(0|no) (errors?|failures?|failed)\b|-Werror|error_?handl`)

func (rq *request) excerpt(buildID int64, l logRow, stepStatus string) (excerpt, error) {
	total, err := rq.lineCount(buildID, l)
	if err != nil {
		return excerpt{}, err
	}
	l.Lines = total
	e := excerpt{Log: l}
	from := max(0, total-excerptWindow)
	lines, err := rq.readLines(buildID, l.ID, from, total-from, excerptWidth)
	if err != nil {
		return excerpt{}, err
	}
	if from == 0 {
		for len(lines) > 0 && lines[0].Stream == "h" {
			if e.Header == 0 {
				e.Command, _ = cut(lines[0].Text, 200)
			}
			lines = lines[1:]
			e.Header++
		}
	}
	failed := stepStatus == "failure" || stepStatus == "exception"
	e.Lines = shorten(lines, failed && l.Type == "s", e.Header)
	if len(lines) == 0 {
		switch {
		case l.Type == "d":
			e.Empty = "This log was deleted."
		case l.Complete:
			e.Empty = "Finished without output."
		default:
			e.Empty = "No output yet."
		}
	}
	return e, nil
}

// lineCount is how many lines a log has now.
func (rq *request) lineCount(buildID int64, l logRow) (int64, error) {
	if l.Complete || l.Type == "d" {
		return l.Lines, nil
	}
	return rq.control.Logs().NumLines(buildID, l.ID)
}

// shorten keeps at most excerptLines and says where it left out some: the end, or,
// of a step that failed, what begins a little before its first error, with the last
// lines, which hold the exit status. skipped counts the lines before these that
// are not shown either, but are spoken of elsewhere.
func shorten(lines []logLine, failed bool, skipped int64) []logLine {
	start := max(0, len(lines)-excerptLines)
	if failed {
		if first := markErrors(lines); first >= 0 {
			const before = 6
			start = min(max(0, first-before), max(0, len(lines)-before))
		}
	}
	var out []logLine
	if start < len(lines) {
		if gap := lines[start].N - 1 - skipped; gap > 0 {
			out = append(out, logLine{Gap: gap})
		}
	}
	lines = lines[start:]
	if len(lines) <= excerptLines {
		return append(out, lines...)
	}
	const end = 12
	out = append(out, lines[:excerptLines-end]...)
	out = append(out, logLine{Gap: int64(len(lines) - excerptLines)})
	return append(out, lines[len(lines)-end:]...)
}

// markErrors marks lines that likely say what went wrong and returns the index of the
// first, or -1.
func markErrors(lines []logLine) int {
	first := -1
	for i := range lines {
		if s := lines[i]; s.Stream != "h" && errorLine.MatchString(s.Text) && !notError.MatchString(s.Text) {
			lines[i].Error = true
			if first < 0 {
				first = i
			}
		}
	}
	return first
}

// readLines reads lines of a log as plain text, each cut to width bytes.
func (rq *request) readLines(buildID, logID, from, limit int64, width int) ([]logLine, error) {
	lines := make([]logLine, 0, min(limit, 1000))
	err := rq.control.Logs().Lines(rq.Context(), buildID, logID, from, limit, func(run state.LogRun) error {
		n := run.First
		for line := range strings.Lines(string(run.Text)) {
			n++
			l := logLine{N: n, Stream: string(run.Stream)}
			l.Text, l.Cut = cut(plainText(strings.TrimSuffix(line, "\n")), width)
			lines = append(lines, l)
		}
		return nil
	})
	return lines, err
}

// cut shortens a text to whole letters of at most width bytes, and says how many
// bytes it left out.
func cut(s string, width int) (string, int) {
	if len(s) <= width {
		return s, 0
	}
	for width > 0 && !utf8.RuneStart(s[width]) {
		width--
	}
	return s[:width], len(s) - width
}

var escapes = regexp.MustCompile("\x1b(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_])")

// plainText is a line as it ends up on a terminal without colours: a line drawn over
// with carriage returns shows its last state.
func plainText(s string) string {
	s = strings.TrimRight(s, "\r")
	if i := strings.LastIndexByte(s, '\r'); i >= 0 {
		s = s[i+1:]
	}
	if strings.IndexByte(s, 0x1b) >= 0 {
		s = escapes.ReplaceAllString(s, "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '␛'
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}
