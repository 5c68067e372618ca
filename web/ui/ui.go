// Package ui is the page: what a person sees of the master at /. Every page is
// rendered here as whole HTML at a real address, so that it works without
// JavaScript, and the scripts of src make it live.
//
// A page handler reads what it shows in one View of the store and returns its
// model, a plain struct. The same address returns the model as JSON to whoever
// prefers application/json. Rendering depends on nothing but the model: times are
// absolute in the HTML, and the script makes them relative in the browser. So a
// page that was patched live is equal, node by node, to one that was just loaded.
//
// What a page depends on is written in the page itself, as routing keys in
// data-live of its body; the script fetches the page again when an event matches
// one of them and morphs the difference into place.
package ui

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"sync/atomic"

	"buildstar/engine"
)

// Options are the settings of the page.
type Options struct {
	// Version is the version of the binary, shown at /about.
	Version string
	// Dev is the directory of this package's sources: templates and assets are then
	// read from it at every request. "" uses what is built in.
	Dev string
}

// pages holds what the handlers share. It is safe for concurrent use.
type pages struct {
	control engine.Control
	opts    Options
	site    func() (*site, error) // templates and assets
	names   directory
	recent  recent
	look    atomic.Pointer[look]
}

// New returns the handler of every page and of the assets below /static/. It
// expects the REST API at /api/v2/ and the event stream at /ws of the same
// origin. It fails if a template or asset is broken.
func New(control engine.Control, opts Options) (http.Handler, error) {
	p := &pages{control: control, opts: opts}
	if opts.Dev != "" {
		dir := os.DirFS(opts.Dev)
		p.site = func() (*site, error) { return loadSite(dir) }
	} else {
		s, err := loadSite(builtin)
		if err != nil {
			return nil, fmt.Errorf("load the pages: %w", err)
		}
		p.site = func() (*site, error) { return s, nil }
	}
	if _, err := p.site(); err != nil {
		return nil, fmt.Errorf("load the pages from %s: %w", opts.Dev, err)
	}
	return headers(p.routes()), nil
}

func (p *pages) routes() *http.ServeMux {
	mux := http.NewServeMux()
	get := func(pattern string, h handler) { mux.Handle("GET "+pattern, p.serve(h)) }
	post := func(pattern string, h action) { mux.Handle("POST "+pattern, p.act(h)) }

	get("/{$}", (*request).overview)
	get("/builders", (*request).builders)
	get("/builders/{builder}", (*request).builder)
	get("/builders/{builder}/force", (*request).force)
	post("/builders/{builder}/force", (*request).submitForce)
	for _, which := range []string{"latest", "latest-green", "latest-red"} {
		get("/builders/{builder}/"+which, latest(which))
		get("/builders/{builder}/"+which+"/{step}/{log}", latest(which))
	}
	get("/builders/{builder}/{number}", (*request).build)
	post("/builders/{builder}/{number}/stop", (*request).stopBuild)
	post("/builders/{builder}/{number}/rebuild", (*request).rebuild)
	get("/builders/{builder}/{number}/{step}/{log}", (*request).log)

	get("/changes", (*request).changes)
	get("/changes/{id}", (*request).changeNumber)

	get("/schedulers", (*request).schedulers)
	post("/schedulers/{id}/enable", switchScheduler(true))
	post("/schedulers/{id}/disable", switchScheduler(false))

	get("/queue", (*request).queue)
	post("/queue/cancel", (*request).cancelRequests)
	get("/r/{id}", (*request).buildRequest)
	post("/r/{id}/priority", (*request).setPriority)
	get("/b/{id}", (*request).shortBuild)

	get("/workers", (*request).workers)
	get("/workers/{worker}", (*request).worker)
	post("/workers/{worker}/pause", (*request).pauseWorker)
	post("/workers/{worker}/unpause", (*request).unpauseWorker)
	post("/workers/{worker}/stop", (*request).stopWorker)
	post("/workers/{worker}/kill", (*request).killWorker)

	get("/instances", (*request).instances)
	post("/instances/plan", findStrays(false))
	post("/instances/reap", findStrays(true))

	get("/about", (*request).about)
	get("/legacy", (*request).legacy)
	post("/theme", (*request).setTheme)
	mux.Handle("GET /static/{file}", http.HandlerFunc(p.static))
	mux.Handle("GET /favicon.ico", http.RedirectHandler("/static/icon-idle.svg", http.StatusFound))
	get("/", (*request).unknown)
	return mux
}

// headers sets what every response of the page carries. Nothing inline is ever
// allowed: neither script nor style.
func headers(next http.Handler) http.Handler {
	const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
		"connect-src 'self'; font-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; " +
		"require-trusted-types-for 'script'; trusted-types 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// sub returns a folder of the sources.
func sub(dir fs.FS, name string) fs.FS {
	s, err := fs.Sub(dir, name)
	if err != nil {
		panic(err) // only for a name that is no path
	}
	return s
}
