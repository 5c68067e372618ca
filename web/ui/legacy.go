package ui

import (
	"net/http"
	"net/url"
	"strings"

	"buildstar/state"
)

// legacy leads from an address of Buildbot's page to ours. Those are behind a #,
// which no server sees, so the script sends them here: /legacy?to=builders/3/builds/7.
func (rq *request) legacy() (any, error) {
	to, ok := legacyPath(rq.FormValue("to"))
	if !ok {
		return nil, missing{what: "This address of an older page means nothing here.", near: []link{{"the overview", "/"}}}
	}
	// The names and ids in the address are checked where it leads to.
	return nil, redirect{to, http.StatusPermanentRedirect}
}

// legacyPath maps the part behind # of an address of Buildbot's page.
func legacyPath(old string) (string, bool) {
	old, query, _ := strings.Cut(strings.TrimLeft(old, "#/"), "?")
	parts := strings.Split(strings.Trim(old, "/"), "/")
	for i, p := range parts {
		if u, err := url.PathUnescape(p); err == nil {
			p = u
		}
		parts[i] = url.PathEscape(p)
	}
	shape := func(pattern string) bool {
		want := strings.Split(pattern, "/")
		if len(want) != len(parts) {
			return false
		}
		for i, w := range want {
			if w != "*" && w != parts[i] {
				return false
			}
		}
		return true
	}
	switch {
	case old == "" || shape("home"):
		return "/", true
	case shape("builders"), shape("workers"), shape("about"):
		return "/" + parts[0], true
	case shape("builders/*"):
		return "/builders/" + parts[1], true
	case shape("builders/*/builds/*"):
		return "/builders/" + parts[1] + "/" + parts[3], true
	case shape("builders/*/builds/*/steps/*"):
		return "/builders/" + parts[1] + "/" + parts[3] + "?step=" + parts[5], true
	case shape("builders/*/builds/*/steps/*/logs/*"):
		return "/builders/" + parts[1] + "/" + parts[3] + "/" + parts[5] + "/" + parts[7], true
	case shape("builders/*/force/*"):
		v, err := url.ParseQuery(query)
		if err != nil {
			v = url.Values{}
		}
		if name, err := url.PathUnescape(parts[3]); err == nil {
			v.Set("scheduler", name)
		}
		return "/builders/" + parts[1] + "/force?" + v.Encode(), true
	case shape("buildrequests/*"):
		return "/r/" + parts[1], true
	case shape("changes"), shape("lastchanges"):
		return "/changes", true
	case shape("changes/*"):
		return "/changes/" + parts[1], true
	case shape("workers/*"):
		return "/workers/" + parts[1], true
	case shape("pendingbuildrequests"), shape("buildrequests"):
		return "/queue", true
	case shape("schedulers"):
		return "/schedulers", true
	case shape("masters"), shape("settings"):
		return "/about", true
	}
	return "", false
}

// unknown is the page for addresses that nothing is at.
func (rq *request) unknown() (any, error) {
	m := missing{what: "There is no page at " + quoted(rq.URL.Path) + "."}
	err := rq.view(func(state.ReadTx) error {
		word := strings.Trim(rq.URL.Path, "/")
		if i := strings.LastIndexByte(word, '/'); i >= 0 {
			word = word[i+1:]
		}
		for _, n := range nearest(word, []string{"overview", "builders", "queue", "changes", "workers", "about"}, func(s string) string { return s }) {
			m.near = append(m.near, link{n, "/" + strings.TrimPrefix(n, "overview")})
		}
		for _, n := range nearest(word, rq.names.activeBuilders(), func(b state.Builder) string { return b.Name }) {
			m.near = append(m.near, link{"builder " + n, builderURL(n)})
		}
		for _, n := range nearest(word, rq.names.activeWorkers(), func(w state.Worker) string { return w.Name }) {
			m.near = append(m.near, link{"worker " + n, workerURL(n)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return nil, m
}
