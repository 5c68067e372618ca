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
	"buildstar/state"
	"buildstar/web/api"
)

// A change hook is where a repository tells of its changes: /change_hook/DIALECT, and
// /change_hook for the dialect base (docs/requirements.md C7). It takes no cookies, and
// nothing that a page of another site sent.

// hooks adds their paths.
func (s *Server) hooks(mux *http.ServeMux) {
	h := apiHeaders(http.HandlerFunc(s.hook))
	mux.Handle("/change_hook", h)
	mux.Handle("/change_hook/{dialect}", h)
}

// hook answers a change hook.
func (s *Server) hook(w http.ResponseWriter, r *http.Request) {
	dialect := r.PathValue("dialect")
	if dialect == "" {
		dialect = "base"
	}
	status, text := http.StatusAccepted, ""
	c, err := state.Change{}, s.admit(r, dialect)
	if err == nil {
		c, err = s.takeForm(w, r)
	}
	var refused *refusal
	var invalid *change.Invalid
	var big *http.MaxBytesError
	switch {
	case err == nil:
		text = fmt.Sprintf("change %d was added", c.ID)
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
		s.log.Error("change hook: add a change", "dialect", dialect, "error", err)
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="change hooks"`)
	}
	if err != nil {
		s.log.Warn("change hook: refused", "dialect", dialect, "from", r.RemoteAddr, "status", status, "error", err)
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
func (s *Server) admit(r *http.Request, dialect string) error {
	www := s.control.Snapshot().Master.WWW
	if err := s.opts.Policy(r, api.ActionAddChange); err != nil {
		return &refusal{http.StatusForbidden, "forbidden: " + err.Error()}
	}
	if !slices.Contains(www.ChangeHooks, dialect) {
		if dialect != "base" {
			return &refusal{http.StatusNotFound, fmt.Sprintf("there is no change hook %q; there is base", dialect)}
		}
		return &refusal{http.StatusNotFound, "the change hook \"base\" is not enabled: write 'change_hook_dialects': {'base': True} into c['www'] of master.star"}
	}
	if r.Method != http.MethodPost {
		return &refusal{http.StatusMethodNotAllowed, "a change hook takes POST"}
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
func (s *Server) takeForm(w http.ResponseWriter, r *http.Request) (state.Change, error) {
	const form = "application/x-www-form-urlencoded"
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != form {
		return state.Change{}, &refusal{http.StatusUnsupportedMediaType, "Content-Type must be " + form + ": curl --data-urlencode sends it"}
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTimeout))
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return state.Change{}, err
		}
		return state.Change{}, &change.Invalid{Problems: []string{"the form cannot be read: " + strings.ToValidUTF8(err.Error(), "?")}}
	}
	in, err := change.DecodeForm(r.Form)
	if err != nil {
		return state.Change{}, err
	}
	return s.control.AddChange(r.Context(), in)
}
