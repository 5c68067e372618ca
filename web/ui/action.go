package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/state"
)

// action carries out what a form asks for. It returns where to go then, as a
// redirect, or the model of a page that says what is wrong.
type action func(rq *request) (model any, err error)

// maxForm bounds what a form may send.
const maxForm = 1 << 20

// act turns an action into an http.Handler. Forms are taken only from pages of this
// master: browsers say where a request came from.
func (p *pages) act(a action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rq := &request{Request: r, pages: p, header: w.Header()}
		if !sameOrigin(r) {
			http.Error(w, "this form came from another site", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		var model any
		err := parseForm(r)
		if err == nil {
			model, err = a(rq)
		}
		p.answer(w, rq, model, err)
	})
}

// user is who sent a request. There is no authentication yet: everyone is a visitor.
func (rq *request) user() sched.User {
	return sched.Visitor(rq.RemoteAddr, rq.Header.Get(sched.ClaimHeader))
}

func parseForm(r *http.Request) error {
	err := r.ParseForm()
	if err == nil && strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		err = r.ParseMultipartForm(maxForm)
	}
	if err != nil {
		return badRequest("the form cannot be read: " + err.Error())
	}
	return nil
}

// sameOrigin reports whether a request may change something: a browser sent it from
// a page of this host, or it is no browser.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

func see(to string) error { return redirect{to, http.StatusSeeOther} }

func (rq *request) stopBuild() (any, error) {
	b, row, err := rq.targetBuild()
	if err != nil {
		return nil, err
	}
	if err := rq.control.StopBuild(rq.Context(), b.ID, strings.TrimSpace(rq.PostFormValue("reason")), rq.user()); err != nil {
		return nil, err
	}
	return nil, see(row.URL)
}

func (rq *request) rebuild() (any, error) {
	b, _, err := rq.targetBuild()
	if err != nil {
		return nil, err
	}
	got, err := rq.control.Rebuild(rq.Context(), b.ID, rq.user())
	if err != nil {
		return nil, err
	}
	return nil, see(submittedURL(got.Requests))
}

// submittedURL is where to watch what was asked for: the request, if there is one,
// else the queue.
func submittedURL(requests map[int64]int64) string {
	if len(requests) == 1 {
		for _, id := range requests {
			return requestURL(id)
		}
	}
	return "/queue"
}

func (rq *request) targetBuild() (b state.Build, row buildRow, err error) {
	err = rq.view(func(tx state.ReadTx) error {
		b, err = rq.findBuild(tx)
		row = rq.buildRow(b)
		return err
	})
	return b, row, err
}

// cancelRequests cancels every request that is ticked.
func (rq *request) cancelRequests() (any, error) {
	ids := rq.PostForm["request"]
	if len(ids) == 0 {
		return nil, badRequest("tick the requests to cancel first")
	}
	for _, s := range ids {
		id, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, badRequest("requests are numbered; " + quoted(s) + " is no number")
		}
		err = rq.control.CancelRequest(rq.Context(), id, strings.TrimSpace(rq.PostFormValue("reason")), rq.user())
		if err != nil {
			return nil, err
		}
	}
	if back := rq.PostFormValue("back"); back == "request" && len(ids) == 1 {
		return nil, see("/r/" + url.PathEscape(ids[0]))
	}
	return nil, see("/queue")
}

func (rq *request) setPriority() (any, error) {
	id, err := strconv.ParseInt(rq.PathValue("id"), 10, 64)
	if err != nil {
		return nil, badRequest("requests are numbered")
	}
	priority, err := strconv.ParseInt(strings.TrimSpace(rq.PostFormValue("priority")), 10, 64)
	if err != nil {
		return nil, badRequest("a priority is a whole number, not " + quoted(rq.PostFormValue("priority")))
	}
	if err := rq.control.SetPriority(rq.Context(), id, priority, rq.user()); err != nil {
		return nil, err
	}
	return nil, see(requestURL(id))
}

func (rq *request) pauseWorker() (any, error) {
	return rq.onWorker(func(id int64) error {
		return rq.control.PauseWorker(rq.Context(), id, strings.TrimSpace(rq.PostFormValue("reason")), rq.user())
	})
}

func (rq *request) unpauseWorker() (any, error) {
	return rq.onWorker(func(id int64) error { return rq.control.UnpauseWorker(rq.Context(), id, rq.user()) })
}

func (rq *request) stopWorker() (any, error) {
	return rq.onWorker(func(id int64) error {
		return rq.control.StopWorker(rq.Context(), id, strings.TrimSpace(rq.PostFormValue("reason")), rq.user())
	})
}

func (rq *request) killWorker() (any, error) {
	return rq.onWorker(func(id int64) error {
		return rq.control.KillWorker(rq.Context(), id, strings.TrimSpace(rq.PostFormValue("reason")), rq.user())
	})
}

func (rq *request) onWorker(do func(id int64) error) (any, error) {
	var w state.Worker
	err := rq.view(func(state.ReadTx) (err error) {
		w, err = rq.workerOf(rq.PathValue("worker"))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := do(w.ID); err != nil {
		return nil, err
	}
	if rq.PostFormValue("back") == "workers" {
		return nil, see("/workers")
	}
	return nil, see(workerURL(w.Name))
}

// setTheme remembers light, dark or the system's choice in a cookie, so that the
// page is sent in its colours.
func (rq *request) setTheme() (any, error) {
	c := &http.Cookie{Name: "theme", Path: "/", MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteLaxMode, HttpOnly: true}
	switch theme := rq.PostFormValue("theme"); theme {
	case "light", "dark":
		c.Value = theme
	default:
		c.MaxAge = -1
	}
	rq.header.Add("Set-Cookie", c.String())
	to := "/"
	if u, err := url.Parse(rq.Referer()); err == nil && strings.EqualFold(u.Host, rq.Host) && strings.HasPrefix(u.Path, "/") && !strings.HasPrefix(u.Path, "//") {
		to = u.RequestURI()
	}
	return nil, see(to)
}

// aboutModel is /about.
type aboutModel struct {
	Version    string         `json:"version"`
	Started    state.Time     `json:"started"`
	Generation int64          `json:"generation"`
	LoadedAt   state.Time     `json:"loaded_at"`
	Problems   []prop.Problem `json:"config_problems"`
	DiskFull   bool           `json:"disk_full"`
	Stopping   bool           `json:"stopping"`
	Builders   int            `json:"builders"`
	Workers    int            `json:"workers"`
	Title      string         `json:"title"`
	TitleURL   string         `json:"title_url"`
}

// withoutSource leaves the source lines out: one may hold a password, and whoever
// can open the page may read it. The position leads those who may see it there.
func withoutSource(ps []prop.Problem) []prop.Problem {
	shown := slices.Clone(ps)
	for i := range shown {
		shown[i].Source = ""
	}
	return shown
}

func (rq *request) about() (any, error) {
	rq.page = "about"
	if err := rq.view(func(state.ReadTx) error { return nil }); err != nil {
		return nil, err
	}
	rq.shell.Section, rq.shell.Heading = "/about", "About"
	rq.shell.Live = []string{"builders/*/*", "workers/*/*", "masters/*/*"}
	h := rq.control.Health()
	if h.Version == "" {
		h.Version = rq.opts.Version
	}
	return aboutModel{
		Version: h.Version, Started: h.Started, Generation: h.Generation, LoadedAt: h.LoadedAt, Problems: withoutSource(h.ConfigProblems),
		DiskFull: h.DiskFull, Stopping: h.Stopping, Builders: len(rq.names.activeBuilders()), Workers: rq.shell.Workers,
		Title: rq.shell.Site, TitleURL: rq.shell.SiteURL,
	}, nil
}
