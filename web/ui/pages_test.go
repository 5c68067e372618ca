package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// get asks for a page and returns it.
func get(t testing.TB, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// everyPage are addresses of the filled fixture, by the name of the page.
var everyPage = map[string]string{
	"overview": "/", "builders": "/builders", "filtered": "/builders?q=linux+nightly", "builder": "/builders/linux-gcc",
	"empty builder": "/builders/größe", "good build": "/builders/linux-gcc/1", "failed build": "/builders/tests-flaky/4",
	"running build": "/builders/linux-gcc/19", "properties": "/builders/tests-flaky/4?tab=properties",
	"step": "/builders/tests-flaky/4?step=compile", "log": "/builders/tests-flaky/4/2/stdio", "log by name": "/builders/tests-flaky/4/test/stdio",
	"running log": "/builders/linux-gcc/19/2/stdio", "queue": "/queue", "request": "/r/26", "changes": "/changes", "changes of ann": "/changes?author=ann&branch=main", "changes of a build": "/builders/linux-gcc/1?tab=changes", "workers": "/workers", "worker": "/workers/alpha",
	"new worker": "/workers/fresh", "paused worker": "/workers/lazy", "sick worker": "/workers/sick", "leaving worker": "/workers/leaving", "force": "/builders/docs/force?jobs=7&notes=%3Cb%3E&kind=" + "debug", "about": "/about",
}

var (
	inlineStyle  = regexp.MustCompile(`(?i)\sstyle\s*=|<style`)
	inlineScript = regexp.MustCompile(`(?i)<script[^>]*>[^<]|\son[a-z]+\s*=`)
	firstLevel   = regexp.MustCompile(`<h1[\s>]`)
	ids          = regexp.MustCompile(`\sid="([^"]*)"`)
	attrValue    = regexp.MustCompile(`="[^"]*"`)
	tags         = regexp.MustCompile(`<[^>]*>`)
)

// Every page is whole and safe: one heading, the landmarks, a title, nothing inline,
// no id twice, and what others wrote only as text (docs/ui.md sections 3 and 4.9).
func TestPagesAreWholeAndSafe(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	f.health.ConfigProblems = problems()
	h := f.handler(t)
	for name, path := range everyPage {
		t.Run(name, func(t *testing.T) {
			w := get(t, h, path)
			body := w.Body.String()
			if w.Code != http.StatusOK {
				t.Fatalf("GET %s: %d\n%s", path, w.Code, body)
			}
			if n := len(firstLevel.FindAllString(body, -1)); n != 1 {
				t.Errorf("%d headings of the first level", n)
			}
			for _, want := range []string{`<main id="main"`, `<nav class="main" aria-label="Main"`, `<a class="skip" href="#main"`, `<html lang="en"`, "Demo CI</title>", `role="search"`} {
				if !strings.Contains(body, want) {
					t.Errorf("no %s", want)
				}
			}
			checkSafe(t, body)
			for _, part := range []string{"script-src 'self';", "default-src 'none'", "frame-ancestors 'none'"} {
				if !strings.Contains(w.Header().Get("Content-Security-Policy"), part) {
					t.Errorf("policy %q lacks %s", w.Header().Get("Content-Security-Policy"), part)
				}
			}
		})
	}
}

func checkSafe(t *testing.T, body string) {
	t.Helper()
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") || strings.Contains(body, "<b>x") {
		t.Error("text of others became HTML")
	}
	for _, tag := range tags.FindAllString(body, -1) {
		bare := attrValue.ReplaceAllString(tag, `=""`)
		if inlineStyle.MatchString(bare) || inlineScript.MatchString(bare) || strings.Contains(tag, `="javascript:`) {
			t.Errorf("inline style or script: %s", tag)
		}
	}
	seen := map[string]bool{}
	for _, m := range ids.FindAllStringSubmatch(body, -1) {
		if seen[m[1]] {
			t.Errorf("id %q twice", m[1])
		}
		seen[m[1]] = true
	}
	if strings.Contains(body, "ZgotmplZ") && !strings.Contains(body, "report") {
		t.Error("a value stands where it cannot be shown safely")
	}
	if strings.Contains(body, "%!") || strings.Contains(body, "&lt;nil&gt;") || strings.Contains(body, "no value") {
		t.Error("a template prints something it does not have")
	}
}

// Each page is JSON for whoever asks for it, with lists where lists are.
func TestPagesAsJSON(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	for name, path := range everyPage {
		w := get(t, h, path, "Accept", "application/json")
		var m map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || w.Code != 200 {
			t.Errorf("%s: %d %v", name, w.Code, err)
		}
		if strings.Contains(w.Body.String(), `"steps":null`) || strings.Contains(w.Body.String(), `"builds":null`) {
			t.Errorf("%s: a list is null: %s", name, w.Body)
		}
	}
	var b buildModel
	decode(t, get(t, h, "/builders/tests-flaky/4", "Accept", "application/json"), &b)
	if b.Build.Number != 4 || b.Build.Results != config.Failure || b.Selected == nil || b.Selected.Name != "test" || b.Prev == nil || b.Prev.Number != 3 || b.Next != nil {
		t.Errorf("build: %+v", b)
	}
	if b.Queued != 5000 || len(b.Steps) != 4 || len(b.Properties) != 3 || len(b.Excerpts) != 1 {
		t.Errorf("build: queued %d, %d steps, %d properties, %d excerpts", b.Queued, len(b.Steps), len(b.Properties), len(b.Excerpts))
	}
	var o overviewModel
	decode(t, get(t, h, "/", "Accept", "application/json"), &o)
	if o.First != nil || len(o.Running) != 2 || o.WaitTotal != 3 || len(o.Broken) != 2 {
		t.Errorf("overview: %+v", o)
	}
	for _, row := range o.Broken {
		if row.Builder == "tests-flaky" && (row.Count != 3 || row.Since.Number != 2) {
			t.Errorf("broken: %+v", row)
		}
	}
}

func decode(t *testing.T, w *httptest.ResponseRecorder, into any) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
}

// The excerpt of a failed step begins a little before its error, and folds what the
// worker says of the command (docs/ui.md 4.5).
func TestExcerpt(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	var b buildModel
	decode(t, get(t, f.handler(t), "/builders/tests-flaky/4", "Accept", "application/json"), &b)
	e := b.Excerpts[0]
	if e.Header != 6 || e.Command != "make test" {
		t.Errorf("header: %d lines, %q", e.Header, e.Command)
	}
	if e.Lines[0].Gap != 55 || e.Lines[1].N != 62 {
		t.Errorf("begins with %+v, %+v", e.Lines[0], e.Lines[1])
	}
	var marked []int64
	for _, l := range e.Lines {
		if l.Error {
			marked = append(marked, l.N)
		}
		if strings.ContainsAny(l.Text, "\x1b\r") {
			t.Errorf("line %d holds control characters: %q", l.N, l.Text)
		}
		if len(l.Text) > excerptWidth {
			t.Errorf("line %d has %d bytes", l.N, len(l.Text))
		}
	}
	if len(marked) != 2 || marked[0] != 68 {
		t.Errorf("marked as errors: %v", marked)
	}
	if last := e.Lines[len(e.Lines)-1]; last.Text != "elapsedTime=6.9" || last.Stream != "h" {
		t.Errorf("ends with %+v", last)
	}
}

// A page that nothing is at names what is close to it, with status 404.
func TestMissing(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	for path, near := range map[string]string{
		"/builders/linux-gc": `href="/builders/linux-gcc"`, "/workers/alfa": `href="/workers/alpha"`, "/bilders": `href="/builders"`,
		"/builders/linux-gcc/77": `href="/builders/linux-gcc/19"`, "/builders/linux-gcc/x": `href="/builders/linux-gcc"`,
		"/builders/linux-gcc/1/9/stdio": `href="/builders/linux-gcc/1?step=0"`, "/builders/linux-gcc/1/1/nope": `href="/builders/linux-gcc/1/1/stdio"`,
		"/r/999": `href="/queue"`, "/b/999": `href="/"`, "/workers/99": `href="/workers"`, "/builders/99": `href="/"`,
		"/legacy?to=/nothing/here": `href="/"`, "/%3Cscript%3E": `href="/"`,
	} {
		w := get(t, h, path)
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), near) {
			t.Errorf("GET %s: %d, no %s in\n%s", path, w.Code, near, w.Body)
		}
		checkSafe(t, w.Body.String())
	}
	for _, path := range []string{"/builders?offset=x", "/queue?offset=-1", "/builders/docs?before=0"} {
		if w := get(t, h, path); w.Code != http.StatusBadRequest {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
}

// Short, old and moving addresses lead to the lasting ones (docs/ui.md 4.1).
func TestRedirects(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	for path, want := range map[string]string{
		"/b/3": "308 /builders/linux-gcc/3", "/r/1": "308 /builders/linux-gcc/1", "/r/24": "302 /builders/linux-clang/1",
		"/builders/3": "302 /builders/linux-gcc", "/builders/3/2?step=1": "302 /builders/linux-gcc/2?step=1", "/workers/1": "302 /workers/alpha",
		"/builders/linux-gcc/latest": "302 /builders/linux-gcc/19", "/builders/tests-flaky/latest-green": "302 /builders/tests-flaky/1",
		"/builders/tests-flaky/latest-red/test/stdio": "302 /builders/tests-flaky/4/test/stdio",
		"/builders/6":                                        "302 /builders/gr%C3%B6%C3%9Fe",
		"/legacy?to=/builders/3/builds/7":                    "308 /builders/3/7",
		"/legacy?to=builders/3/builds/7/steps/2":             "308 /builders/3/7?step=2",
		"/legacy?to=/builders/3/builds/7/steps/2/logs/stdio": "308 /builders/3/7/2/stdio",
		"/legacy?to=/buildrequests/4":                        "308 /r/4", "/legacy?to=/pendingbuildrequests": "308 /queue", "/legacy?to=/": "308 /",
		"/legacy?to=/builders/3/force/my+force": "308 /builders/3/force?scheduler=my+force",
		"/legacy?to=//evil.example/builders":    "404 ", "/legacy?to=builders/..%2f..%2fevil": "404 ",
	} {
		w := get(t, h, path)
		if got := strings.TrimSpace(http.StatusText(w.Code)) + " " + w.Header().Get("Location"); got != statusOf(want) {
			t.Errorf("GET %s: %q, want %q", path, got, statusOf(want))
		}
	}
}

func statusOf(want string) string {
	code, to, _ := strings.Cut(want, " ")
	return map[string]string{"302": "Found", "308": "Permanent Redirect", "404": "Not Found"}[code] + " " + to
}

// A master without anything says what to do first, and ticks it off.
func TestFirstBuild(t *testing.T) {
	f := newFixture(t)
	h := f.handler(t)
	body := get(t, h, "/").Body.String()
	for _, want := range []string{"Make the first build", "worker.LocalWorker", "util.BuilderConfig", "schedulers.ForceScheduler"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in the empty overview", want)
		}
	}
	for path, want := range map[string]string{"/builders": "No builders are configured", "/workers": "No workers are configured", "/schedulers": "No schedulers are configured", "/queue": "Nothing waits"} {
		if body := get(t, h, path).Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
}

// What is wrong with the master is said on every page (docs/ui.md 4.10).
func TestBanners(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	f.health.ConfigProblems, f.health.DiskFull, f.health.Stopping = problems(), true, true
	f.update(t, func(tx state.Tx) error {
		for _, c := range []state.ChangeSource{{Name: "ok", Active: true}, {Name: "gone", Error: "no more"},
			{Name: "p1", Error: "no network", Active: true}, {Name: "p2", Error: "x", Active: true}, {Name: "p3", Error: "x", Active: true}, {Name: "p4", Error: "x", Active: true}} {
			if _, err := tx.PutChangeSource(c); err != nil {
				return err
			}
		}
		for _, s := range []state.Scheduler{{Name: "off", Error: "no", Active: true}, {Name: "s1", Error: "call f: no", Enabled: true, Active: true},
			{Name: "s2", Error: "x", Enabled: true, Active: true}, {Name: "old", Error: "x", Enabled: true}} {
			if _, err := tx.PutScheduler(s); err != nil {
				return err
			}
		}
		return nil
	})
	body := get(t, f.handler(t), "/workers").Body.String()
	for _, not := range []string{"no more<", "&#34;off&#34;", "&#34;ok&#34;", "&#34;p4&#34;"} {
		if strings.Contains(body, not) {
			t.Errorf("%q is on the page", not)
		}
	}
	for _, want := range []string{"The change source &#34;p1&#34; finds no changes: no network", "And 1 more", "The scheduler &#34;s1&#34; has a problem: call f: no (and 1 more)", "2 problems", "master.star:12:3", "The disk is full", "The master is stopping", `href="/about#config"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q on the page", want)
		}
	}
	if about := get(t, f.handler(t), "/about").Body.String(); !strings.Contains(about, "lib/b.star:3:1") || !strings.Contains(about, "duplicate-name") {
		t.Error("the page about the master does not list every problem")
	}
}

// Never-seen workers show how to start them, without a password (docs/ui.md 4.8).
func TestConnectCommands(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	for _, c := range []struct {
		tls  *config.TLS
		want []string
	}{
		{nil, []string{
			"buildbot-worker create-worker --protocol=msgpack_experimental_v7 fresh ci.example:9990 fresh PASSWORD",
			"buildstar worker --master ws://ci.example:9990 --name fresh --basedir fresh",
		}},
		{&config.TLS{Cert: "c", Key: "k"}, []string{
			"buildbot-worker create-worker --protocol=msgpack_experimental_v7 --use-tls fresh ci.example:9990 fresh PASSWORD",
			"buildstar worker --master wss://ci.example:9990 --name fresh --basedir fresh",
		}},
	} {
		f.snap.Master.WorkerListen[0].TLS = c.tls
		r := httptest.NewRequest("GET", "http://ci.example:8010/workers/fresh", nil)
		w := httptest.NewRecorder()
		f.handler(t).ServeHTTP(w, r)
		for _, want := range c.want {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("TLS %v: no %q", c.tls, want)
			}
		}
	}
}

// A name of digits is a name: what the page links to is what opens. An id leads to
// its name only if nothing has it as its name.
func TestNamesOfDigits(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	ids := map[string]int64{}
	err := f.store.Update(context.Background(), func(tx state.Tx) (err error) {
		for _, name := range []string{"1", "900"} {
			if ids[name], err = tx.PutBuilder(state.Builder{Name: name, Active: true}); err == nil {
				_, err = tx.PutWorker(state.Worker{Name: name, Active: true}, "configured")
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h := f.handler(t)
	for _, path := range []string{"/builders/1", "/builders/900", "/workers/1", "/workers/900"} {
		if w := get(t, h, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d to %s", path, w.Code, w.Header().Get("Location"))
		}
	}
	for path, to := range map[string]string{fmt.Sprintf("/builders/%d", ids["900"]): "/builders/900", "/builders/2/force?a=b": "/force?a=b"} {
		if w := get(t, h, path); w.Code != http.StatusFound || !strings.HasSuffix(w.Header().Get("Location"), to) {
			t.Errorf("%s: %d to %s", path, w.Code, w.Header().Get("Location"))
		}
	}
	for _, path := range []string{"/builders/77777", "/workers/77777"} {
		if w := get(t, h, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Every address that a missing page proposes has a label.
func TestMissingProposals(t *testing.T) {
	h := newFixture(t).handler(t)
	for path, want := range map[string]string{"/q": "", "/overvew": `<a href="/">overview</a>`, "/quue": `<a href="/queue">queue</a>`} {
		body := get(t, h, path).Body.String()
		if main := body[strings.Index(body, "<main"):]; strings.Contains(main, `"></a>`) || !strings.Contains(main, want) {
			t.Errorf("%s: no %q, or an empty label, in\n%s", path, want, main)
		}
	}
}

// A source line may hold a password, and is never shown (not to programs either).
func TestProblemsWithoutSource(t *testing.T) {
	f := newFixture(t)
	f.health.ConfigProblems = problems()
	f.health.ConfigProblems[0].Source = `worker.Worker("a", "hunter2")`
	h := f.handler(t)
	for _, body := range []string{get(t, h, "/about").Body.String(), get(t, h, "/about", "Accept", "application/json").Body.String(), get(t, h, "/").Body.String()} {
		if strings.Contains(body, "hunter2") || !strings.Contains(body, "pasword") {
			t.Errorf("the source line is shown, or not the problem:\n%s", body)
		}
	}
	if f.health.ConfigProblems[0].Source == "" {
		t.Error("the page changed what the master knows")
	}
}

// What is known of a worker is shown fact by fact, with what can be done about it
// (docs/requirements.md A5, A6).
func TestWorkerStates(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	for _, tt := range []struct{ path, has, hasNot string }{
		{"/workers/alpha", `Connected|action="/workers/alpha/pause"|action="/workers/alpha/stop"|action="/workers/alpha/kill"`, "unpause|In quarantine|Stops when idle"},
		{"/workers/here", `action="/workers/here/kill"|starts again by itself`, `/workers/here/stop"`},
		{"/workers/gone", `Not connected|action="/workers/gone/pause"`, `/workers/gone/stop"|/workers/gone/kill"`},
		{"/workers/lazy", `paused|Ann|action="/workers/lazy/unpause"|Resume`, `/workers/lazy/pause"`},
		{"/workers/sick", `in quarantine|href="/b/1"|docs #1: lost|3 times in a row|action="/workers/sick/unpause"|End quarantine|action="/workers/sick/pause"`, "Resume"},
		{"/workers/leaving", `stopping|Stops when idle|new disk|by Bob|action="/workers/leaving/kill"`, `/workers/leaving/stop"`},
		{"/workers", `paused by Ann: disk|stop asked for by Bob: new disk|in quarantine until|href="/b/1"|5<span class="vh"> offline or taking no builds`, ""},
	} {
		body := get(t, h, tt.path).Body.String()
		for _, want := range strings.Split(tt.has, "|") {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q", tt.path, want)
			}
		}
		for _, bad := range strings.Split(tt.hasNot, "|") {
			if bad != "" && strings.Contains(body, bad) {
				t.Errorf("%s has %q", tt.path, bad)
			}
		}
	}
}
