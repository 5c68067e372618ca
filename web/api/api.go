// Package api is the master's interface for programs: Buildbot's REST API version
// 2 at /api/v2/, its control by JSON-RPC, and the stream of events at /ws
// (docs/requirements.md C10, docs/ui-contract.md). The master's own page uses the same.
//
// A GET reads the store and answers with rows as the store has them; what a row's
// JSON looks like is state's business. Answers are kept rendered, as long as the
// versions of the resources they were made from are the same. Long answers are
// written as they are read.
//
// Beyond Buildbot's there are /buildrequests/N/explain, /buildrequests/N/properties,
// /logs/N/lines, and for /ws the parameters buildstar, resume and path.
package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"buildstar/engine"
	"buildstar/state"
)

// Options are the settings of an API.
type Options struct {
	// Policy is asked before every request; nil allows all.
	Policy Policy
	// Log gets what goes wrong; nil is slog's default.
	Log *slog.Logger
}

// API serves /api/v2, /api/v2/... and /ws. Create it with [New], and [API.Close]
// it.
type API struct {
	control engine.Control
	store   state.Store
	policy  Policy
	log     *slog.Logger
	mux     *http.ServeMux
	routes  []route
	cache   *cache
	topo    atomic.Pointer[topology]
	hub     *hub
	atOnce  int64 // rows that are held at once; tests make it small
	piece   int64 // rows that are read at once beyond that
}

const prefix = "/api/v2"

// route is one path of the API.
type route struct {
	method string
	path   string // below /api/v2/
	action Action // of a POST: the action of its first method
	schema *schema
	top    bool // listed at the root
	serve  http.HandlerFunc
}

// Route is a path of the API as its mux knows it.
type Route struct{ Method, Pattern string }

// New returns the API of a master. It watches the store's events until it is
// closed.
func New(control engine.Control, opts Options) *API {
	a := &API{control: control, store: control.Store(), policy: opts.Policy, log: opts.Log, cache: newCache(), atOnce: maxAtOnce, piece: maxPiece}
	if a.policy == nil {
		a.policy = AllowAll
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	a.routes = slices.Concat(a.readRoutes(), a.controlRoutes())
	a.mux = http.NewServeMux()
	for i := range a.routes {
		rt := &a.routes[i]
		serve := rt.serve
		if rt.method == http.MethodGet { // a POST asks when it knows what for
			serve = a.guard(rt.action, serve)
		}
		a.mux.Handle(rt.method+" "+prefix+"/"+rt.path, serve)
	}
	root := a.guard(ActionView, a.uncached(a.root))
	a.mux.Handle("GET "+prefix, root)
	a.mux.Handle("GET "+prefix+"/{$}", root)
	unknown := a.guard(ActionUnknown, a.unknown)
	for _, pattern := range []string{prefix, prefix + "/", "/"} {
		a.mux.Handle(pattern, unknown)
	}
	a.mux.Handle("/ws", a.guard(ActionListen, a.listen))
	a.hub = startHub(a)
	return a
}

// ServeHTTP serves a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Close ends every event stream and waits until the last is gone. Requests that
// come later are still answered, streams are refused.
func (a *API) Close() { a.hub.close() }

// Routes lists every path, and some that are not there, so that a test can prove
// that the policy guards them all.
func (a *API) Routes() []Route {
	out := []Route{{"GET", prefix}, {"GET", "/ws"}, {"GET", prefix + "/nothing/here"}, {"DELETE", prefix + "/builders"}}
	for i := range a.routes {
		out = append(out, Route{a.routes[i].method, prefix + "/" + a.routes[i].path})
	}
	return out
}

// allow asks the policy.
func (a *API) allow(r *http.Request, action Action) error {
	if err := a.policy(r, action); err != nil {
		return fmt.Errorf("%w: %w", errForbidden, err)
	}
	return nil
}

func (a *API) guard(action Action, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := a.allow(r, action); err != nil {
			a.fail(w, r, err)
			return
		}
		next(w, r)
	}
}

// collections whose rows this master does not have yet.
var notYet = []string{
	"patches", "codebases", "branches", "commits", "commits_by_revision",
	"test_result_sets", "results", "test_results", "data", "triggered_builds", "identifiers",
}

// unknown answers for paths and methods there are not.
func (a *API) unknown(w http.ResponseWriter, r *http.Request) {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, prefix), "/")
	if trimmed := strings.TrimRight(r.URL.Path, "/"); trimmed != r.URL.Path && r.Method != http.MethodPost {
		again := r.Clone(r.Context())
		again.URL.Path, again.URL.RawPath = trimmed, strings.TrimRight(r.URL.RawPath, "/")
		a.mux.ServeHTTP(w, again)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		a.unknownControl(w, r)
		return
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, `{"error":"only GET and POST make sense here"}`, http.StatusMethodNotAllowed)
		return
	}
	words := strings.Split(path, "/")
	for _, word := range words {
		if slices.Contains(notYet, word) {
			a.fail(w, r, &notFound{fmt.Sprintf("%s: %s are not supported yet", clip(path), word)})
			return
		}
	}
	var tops []string
	for i := range a.routes {
		if a.routes[i].top {
			tops = append(tops, a.routes[i].path)
		}
	}
	near := ""
	if !slices.Contains(tops, words[0]) {
		near = suggest(words[0], tops)
	}
	a.fail(w, r, &notFound{fmt.Sprintf("there is no path %q%s", clip(path), near)})
}
