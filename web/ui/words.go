package ui

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/state"
)

// status is the word, the class and the glyph of a build or step: the name of its
// result, or "running".
func status(r config.Result, complete bool) string {
	if !complete || r == config.Unfinished {
		return "running"
	}
	return r.String()
}

func (s *site) funcs() template.FuncMap {
	return template.FuncMap{
		"asset":   func(name string) string { return "/static/" + s.manifest[name] },
		"when":    when,
		"ticking": ticking,
		"dur":     duration,
		"glyph":   glyph,
		"mark":    mark,
		"join":    strings.Join,
		"plural":  plural,
		"bytes":   size,
		"path":    url.PathEscape,
	}
}

// when shows an instant. The script shows how long ago that is, beside the HTML:
// in a shadow root, so that the document stays what the server sent.
func when(t state.Time) template.HTML {
	if t == 0 {
		return ""
	}
	u := t.Time().UTC()
	return template.HTML(fmt.Sprintf(`<span class="when" data-ago="%d"><time datetime="%s">%s</time></span>`,
		int64(t), u.Format(time.RFC3339), u.Format("2006-01-02 15:04:05 UTC")))
}

// ticking shows how long something has been going on.
func ticking(t state.Time) template.HTML {
	if t == 0 {
		return ""
	}
	u := t.Time().UTC()
	return template.HTML(fmt.Sprintf(`<span class="ticking" data-since="%d">since <time datetime="%s">%s</time></span>`,
		int64(t), u.Format(time.RFC3339), u.Format("15:04:05 UTC")))
}

// duration says how long milliseconds are, to a precision that a person needs.
// src/tick.ts says the same of what still runs.
func duration(ms int64) string {
	switch s := ms / 1000; {
	case ms <= 0:
		return "0 s"
	case ms < 1000:
		return fmt.Sprintf("%d ms", ms)
	case ms < 10_000:
		return strconv.FormatFloat(float64(ms/100)/10, 'f', -1, 64) + " s"
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d m %02d s", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %02d m", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
	}
}

// glyph is the picture of a status; a word always stands beside it.
func glyph(status string) template.HTML {
	return template.HTML(`<svg class="g st-` + template.HTMLEscapeString(status) + `" aria-hidden="true"><use href="#g-` +
		template.HTMLEscapeString(status) + `"/></svg>`)
}

// mark is a status for titles of tabs, where only text can stand.
func mark(status string) string {
	switch status {
	case "success":
		return "✔"
	case "warnings":
		return "▲"
	case "failure":
		return "✖"
	case "skipped":
		return "⊘"
	case "exception":
		return "◆"
	case "retry":
		return "↻"
	case "cancelled":
		return "■"
	case "running":
		return "◔"
	}
	return "⧗"
}

// plural says "1 line" or "46 lines".
func plural(n any, one string) string {
	s := fmt.Sprint(n)
	if s == "1" {
		return "1 " + one
	}
	return s + " " + one + "s"
}

// size says how many bytes there are.
func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d KB", n/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// Addresses of things. Names may hold any letter, so they are escaped.

func builderURL(name string) string { return "/builders/" + url.PathEscape(name) }
func workerURL(name string) string  { return "/workers/" + url.PathEscape(name) }
func requestURL(id int64) string    { return "/r/" + strconv.FormatInt(id, 10) }

func buildURL(builder string, number int64) string {
	return builderURL(builder) + "/" + strconv.FormatInt(number, 10)
}

func logURL(builder string, number, step int64, slug string) string {
	return buildURL(builder, number) + "/" + strconv.FormatInt(step, 10) + "/" + url.PathEscape(slug)
}
