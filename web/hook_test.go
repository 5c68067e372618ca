package web

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine"
	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
	"buildstar/web/api"
)

// hooked is a master with change hooks that remembers the changes it got.
type hooked struct {
	master
	sources []config.ChangeSource
	got     []change.Input
	polled  []string
	err     error
}

func (h *hooked) AddChange(_ context.Context, in change.Input) (state.Change, error) {
	h.got = append(h.got, in)
	return state.Change{ID: 17}, h.err
}

func (h *hooked) PollChanges(_ context.Context, name string, _ sched.User) error {
	h.polled = append(h.polled, name)
	return h.err
}

// send sends a request to a server with these hooks, without a network.
func (h *hooked) send(www config.WWW, policy Policy, r *http.Request) (int, string) {
	h.snap = config.New(config.Snapshot{Master: config.Master{WWW: www}, ChangeSources: h.sources})
	s := New(h, Options{Policy: policy, Log: slog.New(slog.DiscardHandler)})
	mux := http.NewServeMux()
	s.hooks(mux)
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, r)
	body, err := io.ReadAll(rec.Body)
	if err != nil {
		return 0, err.Error()
	}
	return rec.Code, string(body)
}

var base = config.WWW{ChangeHooks: []string{"base"}}

func hookRequest(path string, form url.Values, header ...string) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestChangeHook(t *testing.T) {
	form := url.Values{"who": {"ann"}, "files": {`["a.c"]`}, "branch": {"main"}}
	for _, path := range []string{"/change_hook/base", "/change_hook", "/change_hook/base?project=p"} {
		h := &hooked{}
		status, text := h.send(base, nil, hookRequest(path, form))
		if status != 202 || text != "change 17 was added\n" || len(h.got) != 1 {
			t.Errorf("%s: %d %s %+v", path, status, text, h.got)
			continue
		}
		if in := h.got[0]; in.Author != "ann" || in.Branch != "main" || len(in.Files) != 1 || (in.Project == "p") != strings.Contains(path, "?") {
			t.Errorf("%s: %+v", path, in)
		}
	}
}

func TestChangeHookRefuses(t *testing.T) {
	form := url.Values{"who": {"ann"}}
	get := httptest.NewRequest("GET", "/change_hook/base?who=ann", nil)
	broken := httptest.NewRequest("POST", "/change_hook/base", strings.NewReader("who=%zz"))
	broken.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	never := func(*http.Request, api.Action) error { return fmt.Errorf("not you") }
	tests := []struct {
		name   string
		www    config.WWW
		policy Policy
		r      *http.Request
		status int
		text   string
	}{
		{"not enabled", config.WWW{}, nil, hookRequest("/change_hook/base", form), 404, "'change_hook_dialects': {'base': True}"},
		{"unknown", base, nil, hookRequest("/change_hook/gihtub", form), 404, "there are base and poller"},
		{"GET", base, nil, get, 405, "POST"},
		{"another site", base, nil, hookRequest("/change_hook/base", form, "Origin", "https://evil.example"), 403, "Origin"},
		{"policy", base, never, hookRequest("/change_hook/base", form), 403, "not you"},
		{"JSON", base, nil, hookRequest("/change_hook/base", form, "Content-Type", "application/json"), 415, "x-www-form-urlencoded"},
		{"no author", base, nil, hookRequest("/change_hook/base", nil), 400, "author is missing"},
		{"unknown field", base, nil, hookRequest("/change_hook/base", url.Values{"who": {"a"}, "brnach": {""}}), 400, `did you mean "branch"?`},
		{"broken form", base, nil, broken, 400, "cannot be read"},
		{"too long", base, nil, hookRequest("/change_hook/base", url.Values{"who": {strings.Repeat("a", maxForm)}}), 413, "too large"},
	}
	for _, tt := range tests {
		h := &hooked{}
		status, text := h.send(tt.www, tt.policy, tt.r)
		if status != tt.status || !strings.Contains(text, tt.text) || len(h.got) > 0 {
			t.Errorf("%s: %d %s, want %d %s; added %v", tt.name, status, text, tt.status, tt.text, h.got)
		}
	}
	for err, want := range map[error]int{engine.ErrConflict: 400, state.ErrFull: 503, io.ErrUnexpectedEOF: 500} {
		h := &hooked{err: err}
		status, text := h.send(base, nil, hookRequest("/change_hook/base", form))
		if status != want || want == 500 && strings.Contains(text, err.Error()) {
			t.Errorf("%v: %d %s, want %d", err, status, text, want)
		}
	}
}

// watched is a change source.
type watched struct{ name string }

func (w watched) Key() config.Key                   { return config.Key{Kind: config.KindChangeSource, Name: w.name} }
func (watched) Type() string                        { return "" }
func (watched) Pos() prop.Pos                       { return prop.Pos{} }
func (watched) Refs() iter.Seq2[string, config.Key] { return func(func(string, config.Key) bool) {} }

func TestPollerHook(t *testing.T) {
	form := url.Values{"poller": {"one"}}
	part := httptest.NewRequest("POST", "/change_hook/poller", strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"poller\"\r\n\r\ntwo\r\n--x--\r\n"))
	part.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	all := config.WWW{ChangeHooks: []string{"poller"}, HookPolls: config.HookPolls{All: true}}
	one := config.WWW{ChangeHooks: []string{"poller"}, HookPolls: config.HookPolls{Names: []string{"one"}}}
	tests := []struct {
		name   string
		www    config.WWW
		r      *http.Request
		status int
		polled string
	}{
		{"all", all, hookRequest("/change_hook/poller", nil), 202, "[one two]"},
		{"one", all, hookRequest("/change_hook/poller", form), 202, "[one]"},
		{"GET", all, httptest.NewRequest("GET", "/change_hook/poller?poller=two&poller=one", nil), 202, "[two one]"},
		{"multipart", all, part, 202, "[two]"},
		{"all that are allowed", one, hookRequest("/change_hook/poller", nil), 202, "[one]"},
		{"one that is not allowed", one, hookRequest("/change_hook/poller?poller=two", form), 400, "[]"},
		{"one that does not exist", all, hookRequest("/change_hook/poller?poller=three", nil), 400, "[]"},
		{"another site", all, hookRequest("/change_hook/poller", nil, "Origin", "https://evil.example"), 403, "[]"},
		{"PUT", all, httptest.NewRequest("PUT", "/change_hook/poller", nil), 405, "[]"},
		{"not enabled", base, hookRequest("/change_hook/poller", nil), 404, "[]"},
	}
	for _, tt := range tests {
		h := &hooked{sources: []config.ChangeSource{watched{"one"}, watched{"two"}}}
		status, text := h.send(tt.www, nil, tt.r)
		if status != tt.status || fmt.Sprint(h.polled) != tt.polled {
			t.Errorf("%s: %d %s, asked %v; want %d, %s", tt.name, status, text, h.polled, tt.status, tt.polled)
		}
	}
}

func TestChangeHookAuth(t *testing.T) {
	www := base
	www.ChangeHookAuth = map[string]prop.Password{"me": "secret"}
	for _, tt := range []struct {
		user, password string
		status         int
	}{{"", "", 401}, {"me", "", 401}, {"me", "wrong", 401}, {"other", "secret", 401}, {"me", "secret", 202}} {
		h := &hooked{}
		r := hookRequest("/change_hook/base", url.Values{"who": {"ann"}})
		if tt.user != "" {
			r.SetBasicAuth(tt.user, tt.password)
		}
		status, text := h.send(www, nil, r)
		if status != tt.status || (len(h.got) > 0) != (status == 202) {
			t.Errorf("%s:%s: %d %s, want %d", tt.user, tt.password, status, text, tt.status)
		}
	}
}
