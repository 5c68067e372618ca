package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"buildstar/state"
)

// The text of logs is written as it is read: memory does not depend on its length
// (docs/requirements.md D1 pain 23).

const (
	flushAt      = 64 << 10 // bytes gathered before they are written
	maxLines     = 10_000   // per answer of /lines
	defaultLines = 1_000
	maxLineBytes = 4 << 20 // of text per answer of /lines, beyond its first line
)

// logOfPath reads the log that a path names, and how many lines it has now.
func (a *API) logOfPath(r *http.Request) (l state.Log, err error) {
	err = a.store.View(r.Context(), func(tx state.ReadTx) error {
		l, err = a.findLog(tx, r)
		return err
	})
	if err == nil {
		err = (&world{logs: a.control.Logs()}).countLines(&l)
	}
	return l, err
}

// wholeNumbers reads parameters that are whole numbers; others are errors.
func wholeNumbers(r *http.Request, defaults map[string]int64) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badf("query: %v", err)
	}
	var names []string
	for name := range defaults {
		names = append(names, name)
	}
	for name, v := range values {
		if _, ok := defaults[name]; !ok {
			return badf("unknown parameter %q%s", clip(name), suggest(name, names))
		}
		n, err := strconv.ParseInt(v[0], 10, 64)
		if err != nil || n < 0 || len(v) > 1 {
			return badf("%s: want one whole number that is not negative, got %q", name, clip(strings.Join(v, ",")))
		}
		defaults[name] = n
	}
	return nil
}

// logContents serves lines of a log as one JSON string. For logs of type "s" each
// line begins with its channel: o, e or h (docs/ui-contract.md section 3).
func (a *API) logContents(r *http.Request) (answer, error) {
	at := map[string]int64{"offset": 0, "limit": -1}
	if err := wholeNumbers(r, at); err != nil {
		return answer{}, err
	}
	l, err := a.logOfPath(r)
	if err != nil {
		return answer{}, err
	}
	ctx := r.Context()
	return answer{stream: func(out io.Writer) error {
		buf := appendInt([]byte(`{"logchunks":[{"logid":`), l.ID)
		buf = appendInt(append(buf, `,"firstline":`...), at["offset"])
		buf = append(buf, `,"content":"`...)
		var channelled, quoted []byte
		err := a.eachRun(ctx, l, at["offset"], at["limit"], func(run state.LogRun) error {
			text := run.Text
			if l.Type == "s" {
				channelled = appendChannel(channelled[:0], run)
				text = channelled
			}
			quoted = state.AppendString(quoted[:0], string(text))
			buf = append(buf, quoted[1:len(quoted)-1]...)
			return flush(out, &buf, flushAt)
		})
		if err != nil {
			return err
		}
		buf = append(buf, `"}],"meta":{}}`...)
		return flush(out, &buf, 0)
	}}, nil
}

// eachRun calls fn for the lines of a log; limit < 0 is all.
func (a *API) eachRun(ctx context.Context, l state.Log, from, limit int64, fn func(state.LogRun) error) error {
	if l.Type == "d" {
		return &notFound{fmt.Sprintf("the text of log %d was deleted", l.ID)}
	}
	if limit == 0 {
		return nil
	}
	if limit > math.MaxInt64-from {
		limit = -1
	}
	return a.control.Logs().Lines(ctx, l.BuildID, l.ID, from, limit, fn)
}

// appendChannel appends the lines of a run, each after its channel.
func appendChannel(dst []byte, run state.LogRun) []byte {
	for line := range bytes.Lines(run.Text) {
		dst = append(append(dst, run.Stream), line...)
	}
	return dst
}

var newline = []byte{'\n'}

func flush(out io.Writer, buf *[]byte, at int) error {
	if len(*buf) < at {
		return nil
	}
	_, err := out.Write(*buf)
	*buf = (*buf)[:0]
	return err
}

// rawLog serves the text of a log as it is, without channels. It is never taken for
// HTML, whatever the worker printed.
func (a *API) rawLog(attachment bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := wholeNumbers(r, nil); err != nil {
			a.fail(w, r, err)
			return
		}
		l, err := a.logOfPath(r)
		var name string
		if err == nil && attachment {
			name, err = a.logFileName(r.Context(), l)
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		f := formOf(r)
		f.compact = false
		h := setHeaders(w, f)
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
		if attachment {
			h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
		}
		a.writeStream(w, r, f.gzip, func(out io.Writer) error {
			return a.eachRun(r.Context(), l, 0, -1, func(run state.LogRun) error {
				_, err := out.Write(run.Text)
				return err
			})
		})
	}
}

// logFileName returns the name to save a log under.
func (a *API) logFileName(ctx context.Context, l state.Log) (string, error) {
	var name string
	err := a.store.View(ctx, func(tx state.ReadTx) error {
		step, err := state.One(tx.Steps(state.Where("stepid", l.StepID)))
		if err != nil {
			return err
		}
		build, err := state.One(tx.Builds(state.Where("buildid", step.BuildID)))
		if err != nil {
			return err
		}
		builder, err := state.One(tx.Builders(state.Where("builderid", build.BuilderID)))
		name = fmt.Sprintf("%s_build_%d_step_%s_log_%s", builder.Name, build.Number, step.Name, l.Slug)
		return err
	})
	return strings.Map(func(c rune) rune {
		if c <= ' ' || strings.ContainsRune(`/\:*?"<>|;`, c) || c == 0x7f {
			return '_'
		}
		return c
	}, name), err
}

// errEnough stops reading a log.
var errEnough = errors.New("enough lines")

// logLines serves lines of a log one by one, with the stream and the time of each:
// what the log viewer draws (an extension; docs/requirements.md D1 pain 24). The parameters
// are from, n (at most 10,000; default 1,000) and cut, the most bytes of a line's
// text: a line that was cut says how long it is. An answer may have fewer lines
// than were asked for when they are long; ask on from the next.
func (a *API) logLines(r *http.Request) (answer, error) {
	at := map[string]int64{"from": 0, "n": defaultLines, "cut": math.MaxInt64}
	if err := wholeNumbers(r, at); err != nil {
		return answer{}, err
	}
	if at["n"] > maxLines {
		return answer{}, badf("n: at most %d lines at once", maxLines)
	}
	l, err := a.logOfPath(r)
	if err != nil {
		return answer{}, err
	}
	body := []byte(`{"lines":[`)
	count := 0
	err = a.eachRun(r.Context(), l, at["from"], at["n"], func(run state.LogRun) error {
		number := run.First
		for line := range bytes.Lines(run.Text) {
			if count > 0 {
				if len(body)+len(line) > maxLineBytes {
					return errEnough
				}
				body = append(body, ',')
			}
			body = appendLine(body, number, run, bytes.TrimSuffix(line, newline), at["cut"])
			number++
			count++
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return answer{}, err
	}
	body = appendInt(append(body, `],"meta":{"total":`...), l.NumLines)
	body = strconv.AppendBool(append(body, `,"complete":`...), l.Complete)
	return answer{body: append(body, "}}"...)}, nil
}

// appendLine appends one line: {"number":7,"stream":"o","text":"...","time":ms}.
func appendLine(dst []byte, number int64, run state.LogRun, line []byte, cut int64) []byte {
	dst = appendInt(append(dst, `{"number":`...), number)
	dst = append(append(dst, `,"stream":"`...), run.Stream)
	dst = append(dst, `","text":`...)
	whole := int64(len(line))
	if whole > cut {
		for cut > 0 && !utf8.RuneStart(line[cut]) {
			cut-- // not inside a character
		}
		line = line[:cut]
	}
	dst = state.AppendString(dst, string(line))
	if whole > int64(len(line)) {
		dst = appendInt(append(dst, `,"length":`...), whole)
	}
	dst = append(dst, `,"time":`...)
	if len(run.Times) == 0 {
		return append(dst, "null}"...)
	}
	t := run.Times[min(int(number-run.First), len(run.Times)-1)]
	return append(appendInt(dst, int64(t)), '}')
}

// uncached serves what is not worth keeping.
func (a *API) uncached(produce func(r *http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := produce(r)
		f := formOf(r)
		switch {
		case err != nil:
			a.fail(w, r, err)
		case out.stream != nil:
			setHeaders(w, f)
			a.writeStream(w, r, f.gzip, out.stream)
		default:
			render(out.body, f).write(w, f)
		}
	}
}
