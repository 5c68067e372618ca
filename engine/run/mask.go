package run

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"buildstar/config/prop"
	"buildstar/state"
)

// minSecret is how many bytes a secret has at least, to be hidden: less stands in every
// text, and can be guessed.
const minSecret = 3

// label stands in the place of a secret.
func label(name string) string { return "<" + name + ">" }

// contains reports whether a property value has a text in it.
func contains(v any, text string) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, text)
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return contains(e, text) })
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, text) || contains(e, text) {
				return true
			}
		}
	}
	return false
}

// minFragment is how many bytes a line of a secret of many lines has at least, to be
// hidden by itself: a line that says { stands in every log.
const minFragment = 8

// mask replaces the secrets that a build asked for by <NAME>, wherever text of the
// build is kept or shown (docs/requirements.md C11). Logs are written in whole lines, so
// a secret of many lines is hidden line by line. Methods are safe for concurrent use.
type mask struct {
	mu    sync.Mutex
	known map[string]string // what to hide -> what stands there instead
	texts map[string]string // the secrets themselves, by name
	now   atomic.Pointer[strings.Replacer]
}

// add makes a secret known. It is hidden from then on, also as it stands in JSON, in
// URLs, in headers that list words, and in base64. It reports whether there is more to hide
// than before.
func (m *mask) add(name, text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil {
		m.known, m.texts = map[string]string{}, map[string]string{}
	}
	if len(strings.TrimSpace(text)) >= minSecret {
		m.texts[name] = text
	}
	before := len(m.known)
	label := label(name)
	hide := func(s string) {
		if len(strings.TrimSpace(s)) >= minSecret && !strings.Contains(s, "\n") {
			m.known[s] = label
		}
	}
	parts := []string{text}
	if strings.Contains(text, "\n") {
		parts = slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
			return len(strings.TrimSpace(line)) < minFragment || strings.HasPrefix(line, "-----")
		})
	}
	for _, part := range append(parts, strings.TrimSpace(text)) {
		quoted := prop.Repr(part)
		hide(quoted[1 : len(quoted)-1])
		if j, err := json.Marshal(part); err == nil {
			escaped := string(j[1 : len(j)-1])
			hide(escaped)
			hide(plainHTML.Replace(escaped))
		}
		hide(strings.ReplaceAll(part, "'", `'"'"'`))
		hide(strings.ReplaceAll(part, "'", `'\''`))
		hide(url.QueryEscape(part))
		hide(url.PathEscape(part))
		hide(part)
	}
	hide(base64.StdEncoding.EncodeToString([]byte(text)))
	hide(base64.URLEncoding.EncodeToString([]byte(text)))
	if len(m.known) == before {
		return false
	}
	// The longest first: one secret may begin as another.
	hidden := make([]string, 0, 2*len(m.known))
	for text := range m.known {
		hidden = append(hidden, text)
	}
	slices.SortFunc(hidden, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(hidden))
	for _, text := range hidden {
		pairs = append(pairs, text, m.known[text])
	}
	m.now.Store(strings.NewReplacer(pairs...))
	return true
}

// plainHTML undoes what only Go's JSON escapes.
var plainHTML = strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">")

// text returns s without secrets.
func (m *mask) text(s string) string {
	if r := m.now.Load(); r != nil {
		return r.Replace(s)
	}
	return s
}

// lines returns whole lines without secrets.
func (m *mask) lines(text []byte) []byte {
	if r := m.now.Load(); r != nil {
		return []byte(r.Replace(string(text)))
	}
	return text
}

// value returns a property value without secrets.
func (m *mask) value(v any) any {
	if m.now.Load() == nil {
		return v
	}
	return eachText(v, m.text)
}

// properties returns what is kept of properties.
func (m *mask) properties(set state.Properties) state.Properties {
	if m.now.Load() == nil {
		return set
	}
	out := make(state.Properties, len(set))
	for name, p := range set {
		out[name] = m.property(p)
	}
	return out
}

// step returns what is kept of a step.
func (m *mask) step(row state.Step) state.Step {
	if m.now.Load() == nil {
		return row
	}
	row.Name, row.StateString = m.text(row.Name), m.text(row.StateString)
	urls := make([]state.URL, len(row.URLs))
	for i, u := range row.URLs {
		urls[i] = state.URL{Name: m.text(u.Name), URL: m.text(u.URL)}
	}
	row.URLs = urls
	return row
}

// build returns what is kept of a build.
func (m *mask) build(row state.Build) state.Build {
	row.StateString, row.StopReason = m.text(row.StateString), m.text(row.StopReason)
	return row
}
