package ui

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

func post(t testing.TB, h http.Handler, path string, form url.Values, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Forms work without a script: what is asked reaches the master, and the answer
// leads to where it can be watched.
func TestActions(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	for _, tt := range []struct {
		path string
		form url.Values
		did  string
		to   string
	}{
		{"/builders/linux-gcc/19/stop", url.Values{"reason": {" slow "}}, "stop 25 slow", "/builders/linux-gcc/19"},
		{"/builders/linux-gcc/2/rebuild", nil, "rebuild 2", "/r/2"},
		{"/queue/cancel", url.Values{"request": {"26", "27"}, "reason": {"old"}}, "cancel 27 old", "/queue"},
		{"/queue/cancel", url.Values{"request": {"28"}, "back": {"request"}}, "cancel 28 ", "/r/28"},
		{"/r/26/priority", url.Values{"priority": {"-5"}}, "priority 26 -5", "/r/26"},
		{"/workers/alpha/pause", url.Values{"reason": {"disk"}}, "pause 1 disk by anonymous@192.0.2.1", "/workers/alpha"},
		{"/workers/alpha/stop", url.Values{"reason": {" disk "}}, "stop worker 1 disk", "/workers/alpha"},
		{"/workers/alpha/kill", url.Values{"reason": {"smoke"}}, "kill worker 1 smoke", "/workers/alpha"},
		{"/schedulers/1/disable", nil, "enable 1 false", "/schedulers"},
		{"/schedulers/1/enable", nil, "enable 1 true", "/schedulers"},
		{"/workers/lazy/unpause", nil, "unpause 5", "/workers/lazy"},
		{"/builders/docs/force", url.Values{"scheduler": {"force"}, "username": {""}, "reason": {"r"}, "jobs": {"3"}, "opt_notes": {"a\r\nb"}, "kind": {"debug"}, "many": {"a", "b"}, "free": {"z"}, "secret": {"x"}},
			fmt.Sprint("force force 1 ", map[string]any{"username": "", "reason": "r", "jobs": "3", "opt_notes": "a\nb", "clean": false, "kind": "debug", "many": []any{"a", "b"}, "free": "z", "secret": "x"}), "/r/1"},
	} {
		w := post(t, h, tt.path, tt.form)
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != tt.to {
			t.Errorf("POST %s: %d to %q, want %q\n%s", tt.path, w.Code, w.Header().Get("Location"), tt.to, w.Body)
		}
		if len(f.asked) == 0 || f.asked[len(f.asked)-1] != tt.did {
			t.Errorf("POST %s did %q, want %q", tt.path, f.asked, tt.did)
		}
	}
}

// A form that another site sent changes nothing.
func TestActionsOfOtherSites(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
		{"Sec-Fetch-Site", "same-origin", "Origin", "http://other:80"},
	} {
		if w := post(t, h, "/builders/linux-gcc/2/rebuild", nil, header...); w.Code != http.StatusForbidden {
			t.Errorf("with %v: %d", header, w.Code)
		}
	}
	if len(f.asked) != 0 {
		t.Errorf("did %q", f.asked)
	}
	for _, header := range [][]string{{"Sec-Fetch-Site", "same-origin", "Origin", "http://example.com"}, {"Origin", "http://example.com"}, nil} {
		if w := post(t, h, "/builders/linux-gcc/2/rebuild", nil, header...); w.Code != http.StatusSeeOther {
			t.Errorf("with %v: %d", header, w.Code)
		}
	}
}

// What cannot be done says so, with the status that tells a program too.
func TestActionsRefused(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	f.refuse = fmt.Errorf("stop build 2: %w: it is complete", engine.ErrConflict)
	if w := post(t, h, "/builders/linux-gcc/2/stop", nil); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "it is complete") {
		t.Errorf("conflict: %d\n%s", w.Code, w.Body)
	}
	f.refuse = fmt.Errorf("request 9: %w", state.ErrNotFound)
	if w := post(t, h, "/r/9/priority", url.Values{"priority": {"1"}}); w.Code != http.StatusNotFound {
		t.Errorf("not found: %d", w.Code)
	}
	for path, form := range map[string]url.Values{"/queue/cancel": nil, "/r/26/priority": {"priority": {"high"}}, "/r/x/priority": {"priority": {"1"}}} {
		if w := post(t, h, path, form); w.Code != http.StatusBadRequest {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
	if w := post(t, h, "/builders/docs/force", url.Values{"reason": {strings.Repeat("x", maxForm+1)}}); w.Code != http.StatusBadRequest {
		t.Errorf("a form of more than a megabyte: %d", w.Code)
	}
	if w := post(t, h, "/about", nil); w.Code != http.StatusMethodNotAllowed && w.Code != http.StatusNotFound {
		t.Errorf("POST /about: %d", w.Code)
	}
}

// A refused form comes back filled in, with what is wrong beside the fields.
func TestForceRefused(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	f.refuse = fmt.Errorf("force: %w", &sched.FieldErrors{Fields: map[string]string{"jobs": "want a number " + evil, "ghost": "no such field"}})
	w := post(t, f.handler(t), "/builders/docs/force", url.Values{"scheduler": {"force"}, "reason": {"because " + evil}, "jobs": {"many"}, "many": {}})
	body := w.Body.String()
	if w.Code != http.StatusUnprocessableEntity {
		t.Fatalf("%d\n%s", w.Code, body)
	}
	for _, want := range []string{`value="because &lt;script&gt;`, `value="many"`, `aria-invalid="true"`, `id="f-jobs-about"`, "ghost: no such field"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(body, `name="clean" value="true" checked`) {
		t.Error("a box that was not ticked is ticked")
	}
	checkSafe(t, body)
}

// A form is filled in by its address, and each kind of field has its control
// (docs/ui-contract.md section 6).
func TestForceForm(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	body := get(t, h, "/builders/docs/force?jobs=7&notes=hello&clean=0&many=a&many=b&arch=sparc").Body.String()
	for _, want := range []string{
		`name="jobs" type="number" step="1" value="7"`, `>hello</textarea>`, `<option selected>a</option><option selected>b</option>`,
		`<output id="f-arch">amd64</output>`, `list="f-free-list"`, `<input type="hidden" name="secret" value="x">`, `<legend>Options`, ` required`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body[strings.Index(body, "<form method=\"post\" action=\"/builders"):])
		}
	}
	if strings.Contains(body, `name="clean" value="true" checked`) {
		t.Error("clean=0 ticks the box")
	}
	if w := get(t, h, "/builders/docs/force?scheduler=nope"); w.Code != http.StatusNotFound {
		t.Errorf("an unknown scheduler: %d", w.Code)
	}
}

// The theme is a cookie that the next page is rendered with, so that nothing
// flashes.
func TestTheme(t *testing.T) {
	f := newFixture(t)
	h := f.handler(t)
	w := post(t, h, "/theme", url.Values{"theme": {"dark"}}, "Referer", "http://example.com/builders?q=a")
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/builders?q=a" {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	if cs := w.Result().Cookies(); !slices.ContainsFunc(cs, func(c *http.Cookie) bool { return c.Name == "theme" && c.Value == "dark" }) {
		t.Errorf("cookies %v", cs)
	}
	if body := get(t, h, "/", "Cookie", "theme=dark").Body.String(); !strings.Contains(body, `<html lang="en" data-theme="dark">`) {
		t.Error("the page is not dark")
	}
	if body := get(t, h, "/", "Cookie", `theme="><script>`).Body.String(); !strings.Contains(body, `<html lang="en">`) {
		t.Error("a cookie that is no theme has an effect")
	}
	if w := post(t, h, "/theme", url.Values{"theme": {"light"}}, "Referer", "http://evil.example//x"); w.Header().Get("Location") != "/" {
		t.Errorf("leads to %s", w.Header().Get("Location"))
	}
}

// namedStep is a step as the configuration has it.
type namedStep struct {
	run.Step
	common run.Common
}

func (s *namedStep) Type() string        { return "ShellCommand" }
func (s *namedStep) Common() *run.Common { return &s.common }

// The form says what will run by the names of the steps, where they are known.
func TestForceNamesSteps(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	named := &namedStep{common: run.Common{Name: prop.Of("compile")}}
	f.snap.Builder("docs").Factory = &config.Factory{Steps: []config.Step{named, &namedStep{}}}
	if body := get(t, f.handler(t), "/builders/docs/force").Body.String(); !strings.Contains(body, ": compile, ShellCommand.") {
		t.Errorf("the steps are not named:\n%s", body)
	}
}
