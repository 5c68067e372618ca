package web

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"buildstar/engine"
	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
	"buildstar/web/api"
)

// A change hook is where a repository tells of its changes: /change_hook/DIALECT, and
// /change_hook for the dialect base (docs/requirements.md C7). It takes no cookies, and
// nothing that a page of another site sent.

// dialect is one way to tell of changes.
type dialect struct {
	enable  string // what to write into change_hook_dialects
	action  api.Action
	methods []string
	take    func(*Server, http.ResponseWriter, *http.Request) (text string, err error)
}

var dialects = map[string]dialect{
	"base":   {"'base': True", api.ActionAddChange, []string{http.MethodPost}, (*Server).takeForm},
	"poller": {"'poller': True", api.ActionPollChanges, []string{http.MethodPost, http.MethodGet}, (*Server).takePoll},
}

// hooks adds their paths.
func (s *Server) hooks(mux *http.ServeMux) {
	h := apiHeaders(http.HandlerFunc(s.hook))
	mux.Handle("/change_hook", h)
	mux.Handle("/change_hook/{dialect}", h)
}

// hook answers a change hook.
func (s *Server) hook(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("dialect")
	if name == "" {
		name = "base"
	}
	status, text := http.StatusAccepted, ""
	err := s.admit(r, name)
	if err == nil {
		text, err = dialects[name].take(s, w, r)
	}
	var refused *refusal
	var invalid *change.Invalid
	var big *http.MaxBytesError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		status, text = refused.status, refused.text
	case errors.As(err, &big):
		status, text = http.StatusRequestEntityTooLarge, err.Error()
	case errors.As(err, &invalid), errors.Is(err, engine.ErrConflict):
		status, text = http.StatusBadRequest, err.Error()
	case errors.Is(err, state.ErrFull):
		status, text = http.StatusServiceUnavailable, err.Error()
	default:
		status, text = http.StatusInternalServerError, "internal error; the master's log says more"
		s.log.Error("change hook failed", "dialect", name, "error", err)
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", strings.Join(dialects[name].methods, ", "))
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="change hooks"`)
	}
	if err != nil {
		s.log.Warn("change hook: refused", "dialect", name, "from", r.RemoteAddr, "status", status, "error", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}

// refusal is an answer to a request that no hook takes.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

// admit decides whether a dialect takes a request.
func (s *Server) admit(r *http.Request, name string) error {
	www := s.control.Snapshot().Master.WWW
	d, ok := dialects[name]
	if !ok {
		return &refusal{http.StatusNotFound, fmt.Sprintf("there is no change hook %q; there are base and poller", name)}
	}
	if err := s.opts.Policy(r, d.action); err != nil {
		return &refusal{http.StatusForbidden, "forbidden: " + err.Error()}
	}
	if !slices.Contains(www.ChangeHooks, name) {
		return &refusal{http.StatusNotFound, fmt.Sprintf("the change hook %q is not enabled: write 'change_hook_dialects': {%s} into c['www'] of master.star", name, d.enable)}
	}
	if !slices.Contains(d.methods, r.Method) {
		return &refusal{http.StatusMethodNotAllowed, "this change hook takes " + strings.Join(d.methods, " and ")}
	}
	if err := api.CheckSite(r); err != nil {
		return &refusal{http.StatusForbidden, err.Error()}
	}
	if len(www.ChangeHookAuth) > 0 {
		user, password, _ := r.BasicAuth()
		if !www.ChangeHookAuth[user].Matches(password) {
			return &refusal{http.StatusUnauthorized, "the change hooks want a user and a password of c['www']['change_hook_auth']"}
		}
	}
	return nil
}

// takeForm adds the change that a form tells of.
func (s *Server) takeForm(w http.ResponseWriter, r *http.Request) (string, error) {
	const form = "application/x-www-form-urlencoded"
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != form {
		return "", &refusal{http.StatusUnsupportedMediaType, "Content-Type must be " + form + ": curl --data-urlencode sends it"}
	}
	if err := readForm(w, r, r.ParseForm); err != nil {
		return "", err
	}
	in, err := change.DecodeForm(r.Form)
	if err != nil {
		return "", err
	}
	c, err := s.control.AddChange(r.Context(), in)
	return fmt.Sprintf("change %d was added", c.ID), err
}

// readForm reads the form of a request, as far as it is not too long or too slow.
func readForm(w http.ResponseWriter, r *http.Request, parse func() error) error {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTimeout))
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := parse()
	var big *http.MaxBytesError
	if err == nil || errors.As(err, &big) {
		return err
	}
	return &change.Invalid{Problems: []string{"the form cannot be read: " + strings.ToValidUTF8(err.Error(), "?")}}
}

// takePoll asks change sources to look for changes now: those that the request names as
// poller, or all that the hook may ask.
func (s *Server) takePoll(w http.ResponseWriter, r *http.Request) (string, error) {
	parse := r.ParseForm
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t == "multipart/form-data" {
		parse = func() error { return r.ParseMultipartForm(maxForm) }
	}
	if err := readForm(w, r, parse); err != nil {
		return "", err
	}
	snap := s.control.Snapshot()
	var may []string
	polls := snap.Master.WWW.HookPolls
	for _, c := range snap.ChangeSources {
		if name := c.Key().Name; polls.All || slices.Contains(polls.Names, name) {
			may = append(may, name)
		}
	}
	names := r.Form["poller"]
	if names == nil {
		names = may
	}
	for _, name := range names {
		if !slices.Contains(may, name) {
			return "", &refusal{http.StatusBadRequest, fmt.Sprintf("there is no change source %q that this hook may ask", name)}
		}
	}
	for _, name := range names {
		if err := s.control.PollChanges(r.Context(), name, sched.User{Name: "a change hook"}); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("asked to look for changes: %s", strings.Join(names, ", ")), nil
}
