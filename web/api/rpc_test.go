package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"buildstar/config/prop"
	"buildstar/engine"
	"buildstar/engine/sched"
	"buildstar/state"
)

// post sends a call as Buildbot's page does.
func post(t testing.TB, url, body string, header map[string]string) (int, string) {
	t.Helper()
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		if k == "Host" {
			r.Host = v
		}
		r.Header.Set(k, v)
	}
	resp, text := do(t, r)
	if !json.Valid([]byte(text)) {
		t.Errorf("POST %s %s: not JSON: %s", url, body, text)
	}
	return resp.StatusCode, text
}

func rpcBody(method, params string) string {
	return fmt.Sprintf(`{"id":1,"jsonrpc":"2.0","method":%q,"params":%s}`, method, params)
}

// Each method reaches the master with what it was given (docs/requirements.md C10,
// docs/ui-contract.md section 5).
func TestControl(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	for _, tt := range []struct{ path, method, params, call, result string }{
		{"forceschedulers/force", "force", `{"builderid":"3","username":"","jobs":4,"f":1.5,"clean":false}`,
			`force force 3 map[clean:false f:1.5 jobs:4 username:] anonymous@127.0.0.1`, `[9,{"3":34}]`},
		{"forceschedulers/force", "force", `{"builderid":3}`, `force force 3 map[] anonymous@127.0.0.1`, `[9,{"3":34}]`},
		{"forceschedulers/force", "force", `{}`, `force force 0 map[] anonymous@127.0.0.1`, `[9,{"3":34}]`},
		{"builds/2", "stop", `{"reason":"too slow"}`, `stop 2 "too slow" anonymous@127.0.0.1`, `null`},
		{"builds/2", "stop", `{}`, `stop 2 "" anonymous@127.0.0.1`, `null`},
		{"builders/linux/builds/2", "stop", `{}`, `stop 2 "" anonymous@127.0.0.1`, `null`},
		{"builds/1", "rebuild", `{}`, `rebuild 1 anonymous@127.0.0.1`, `[10,{"2":35}]`},
		{"buildrequests/2", "cancel", `{"reason":"x"}`, `cancel 2 "x" anonymous@127.0.0.1`, `null`},
		{"buildrequests/2", "set_priority", `{"priority":-7}`, `priority 2 -7 anonymous@127.0.0.1`, `null`},
		{"workers/alpha", "pause", `{"reason":"disk"}`, `pause 1 "disk" anonymous@127.0.0.1`, `null`},
		{"workers/alpha", "stop", `{"reason":"new disk"}`, `stop worker 1 "new disk" anonymous@127.0.0.1`, `null`},
		{"workers/alpha", "kill", `{}`, `kill worker 1 "" anonymous@127.0.0.1`, `null`},
		{"workers/2", "unpause", `{}`, `unpause 2 anonymous@127.0.0.1`, `null`},
		{"changesources/1", "poll", `{}`, `poll poll anonymous@127.0.0.1`, `null`},
		{"instances", "plan", `{}`, `strays false anonymous@127.0.0.1`, `[{"kind":"docker","handle":"h","worker":"w","instanceid":7}]`},
		{"instances", "reap", `{}`, `strays true anonymous@127.0.0.1`, `[{"kind":"docker","handle":"h","worker":"w","instanceid":7}]`},
		{"schedulers/1", "enable", `{"enabled":false}`, `enable 1 false anonymous@127.0.0.1`, `null`},
		{"changes", "add", `{"who":"ann","branch":"main","files":["a","b"],"properties":{"jobs":4}}`, `add change ann main ["a" "b"] map[jobs:4]`, `17`},
		{"masters/1", "reconfig", `{}`, `reload`, `{"generation":2,"added":["builder \"new\""],"removed":[],"changed":[],"top_level":true}`},
	} {
		status, body := post(t, srv.URL+"/api/v2/"+tt.path, rpcBody(tt.method, tt.params), nil)
		if want := fmt.Sprintf(`{"id":1,"jsonrpc":"2.0","result":%s}`, tt.result); status != 200 || body != want {
			t.Errorf("%s %s: %d %s, want %s", tt.path, tt.method, status, body, want)
		}
		if calls := m.take(); !slices.Equal(calls, []string{tt.call}) {
			t.Errorf("%s %s: master was asked %q, want %q", tt.path, tt.method, calls, tt.call)
		}
	}
	for _, id := range []string{`"abc"`, `null`, `-1.5`} {
		if _, body := post(t, srv.URL+"/api/v2/builds/2", `{"id":`+id+`,"jsonrpc":"2.0","method":"stop"}`, nil); !strings.Contains(body, `"id":`+id+`,`) {
			t.Errorf("id %s: %s", id, body)
		}
	}
}

// What is wrong is refused with Buildbot's code and status, and nothing happens.
func TestControlRefuses(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	stop := rpcBody("stop", "{}")
	host := strings.TrimPrefix(srv.URL, "http://")
	for _, tt := range []struct {
		name, path, body string
		header           map[string]string
		status, code     int
		text             string
	}{
		{"form content", "builds/2", stop, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 400, codeInvalid, "Content-Type"},
		{"no content type", "builds/2", stop, map[string]string{"Content-Type": ""}, 400, codeInvalid, "Content-Type"},
		{"text", "builds/2", stop, map[string]string{"Content-Type": "text/plain"}, 400, codeInvalid, "Content-Type"},
		{"not JSON", "builds/2", `{`, nil, 400, codeParse, "not JSON"},
		{"nothing", "builds/2", ``, nil, 400, codeParse, "not JSON"},
		{"two", "builds/2", stop + stop, nil, 400, codeParse, "follows"},
		{"batch", "builds/2", `[` + stop + `]`, nil, 400, codeInvalid, "one object"},
		{"unknown member", "builds/2", `{"id":1,"jsonrpc":"2.0","method":"stop","parms":{}}`, nil, 400, codeInvalid, "parms"},
		{"version", "builds/2", `{"id":1,"jsonrpc":"1.0","method":"stop"}`, nil, 400, codeInvalid, "2.0"},
		{"no method", "builds/2", `{"id":1,"jsonrpc":"2.0"}`, nil, 400, codeInvalid, "method"},
		{"no id", "builds/2", `{"jsonrpc":"2.0","method":"stop"}`, nil, 400, codeInvalid, "id"},
		{"id is a list", "builds/2", `{"id":[1],"jsonrpc":"2.0","method":"stop"}`, nil, 400, codeInvalid, "id"},
		{"positional", "builds/2", rpcBody("stop", `["x"]`), nil, 400, codeParams, "object"},
		{"unknown method", "builds/2", rpcBody("stpo", `{}`), nil, 501, codeMethod, `did you mean \"stop\"`},
		{"unknown parameter", "builds/2", rpcBody("stop", `{"raeson":"x"}`), nil, 400, codeParams, `did you mean \"reason\"`},
		{"type of a parameter", "builds/2", rpcBody("stop", `{"reason":1}`), nil, 400, codeParams, "string"},
		{"type of another", "buildrequests/2", rpcBody("set_priority", `{"priority":"1"}`), nil, 400, codeParams, "whole number"},
		{"and another", "schedulers/1", rpcBody("enable", `{"enabled":"yes"}`), nil, 400, codeParams, "true or false"},
		{"builder", "forceschedulers/force", rpcBody("force", `{"builderid":"x"}`), nil, 400, codeParams, "number"},
		{"builder 0", "forceschedulers/force", rpcBody("force", `{"builderid":0}`), nil, 400, codeParams, "positive"},
		{"a change without author", "changes", rpcBody("add", `{}`), nil, 400, codeParams, "author is missing"},
		{"a field of a change", "changes", rpcBody("add", `{"author":"a","brnach":"b","files":"f"}`), nil, 400, codeParams, `did you mean \"branch\"?; files: want a list`},
		{"no such build", "builds/99", stop, nil, 404, codeInvalid, "no build"},
		{"no such master", "masters/2", rpcBody("reconfig", "{}"), nil, 404, codeInvalid, "no master"},
		{"no such worker", "workers/gamma", rpcBody("pause", "{}"), nil, 404, codeInvalid, "no worker"},
		{"no such force scheduler", "forceschedulers/x", rpcBody("force", "{}"), nil, 404, codeInvalid, "not found"},
		{"no method of a worker", "workers/1", rpcBody("kil", "{}"), nil, 501, codeMethod, `did you mean \"kill\"`},
		{"a path that only reads", "builders", stop, nil, 404, codeInvalid, "/api/v2/builders"},
		{"no such path", "x/y", stop, nil, 404, codeInvalid, "/api/v2/x/y"},
		{"too long", "builds/2", rpcBody("stop", `{"reason":"`+strings.Repeat("x", maxBody)+`"}`), nil, 413, codeInvalid, "too large"},
		{"another site", "builds/2", stop, map[string]string{"Origin": "https://evil.example"}, 403, codeInvalid, "Origin"},
		{"a file", "builds/2", stop, map[string]string{"Origin": "null"}, 403, codeInvalid, "Origin"},
		{"another port", "builds/2", stop, map[string]string{"Origin": "http://" + host + "1"}, 403, codeInvalid, "Origin"},
		{"cross-site", "builds/2", stop, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403, codeInvalid, "Sec-Fetch-Site"},
		{"same-site", "builds/2", stop, map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://" + host}, 403, codeInvalid, "Sec-Fetch-Site"},
	} {
		status, body := post(t, srv.URL+"/api/v2/"+tt.path, tt.body, tt.header)
		if status != tt.status || !strings.Contains(body, fmt.Sprintf(`"code":%d,`, tt.code)) || !strings.Contains(body, tt.text) {
			t.Errorf("%s: %d %s, want %d, code %d, %q", tt.name, status, body, tt.status, tt.code, tt.text)
		}
		if calls := m.take(); calls != nil && tt.name != "no such force scheduler" {
			t.Errorf("%s: the master was asked %q", tt.name, calls)
		}
	}
	for _, header := range []map[string]string{
		{"Origin": "http://" + host, "Sec-Fetch-Site": "same-origin"},
		{"Origin": "https://ci.example", "Host": "ci.example:443"},
		{"Origin": "http://CI.example:8010", "Host": "ci.example:8010"},
		{"Origin": "http://[::1]", "Host": "[::1]:80"},
		{"Content-Type": "application/json; charset=utf-8"},
	} {
		if status, body := post(t, srv.URL+"/api/v2/builds/2", stop, header); status != 200 {
			t.Errorf("%v: %d %s", header, status, body)
		}
	}
	if body := rpcBody("force", `{"file":"`+strings.Repeat("x", 5<<20)+`"}`); true {
		if status, text := post(t, srv.URL+"/api/v2/forceschedulers/force", body, nil); status != 200 {
			t.Errorf("a file of 5 MiB: %d %.200s", status, text)
		}
	}
}

// Errors of the master become what Buildbot's page understands.
func TestControlErrors(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{&sched.FieldErrors{Fields: map[string]string{"jobs": "want a number", "opt_notes": "too <long>"}}, 400,
			`{"error":{"code":-32602,"message":{"jobs":"want a number","opt_notes":"too \u003clong\u003e"}},"id":1,"jsonrpc":"2.0"}`},
		{fmt.Errorf("force: %w", &sched.FieldErrors{Fields: map[string]string{"reason": "x"}}), 400, `"code":-32602,"message":{"reason":"x"}`},
		{fmt.Errorf("stop build 2: it is complete: %w", engine.ErrConflict), 400, `"code":-32600,"message":"stop build 2: it is complete: not possible now"`},
		{fmt.Errorf("stop: %w", state.ErrNotFound), 404, `"code":-32600`},
		{fmt.Errorf("write: %w", state.ErrFull), 503, `"code":-32603,"message":"write: disk full"`},
		{errors.New("secret detail"), 500, `"code":-32603,"message":"internal error; the master's log says more"`},
	} {
		m.err = tt.err
		status, body := post(t, srv.URL+"/api/v2/forceschedulers/force", rpcBody("force", "{}"), nil)
		if status != tt.status || !strings.Contains(body, tt.want) || strings.Contains(body, "secret") {
			t.Errorf("%v: %d %s, want %d %s", tt.err, status, body, tt.status, tt.want)
		}
	}
}

// The problems of a configuration are the message of the error; another error of a
// reload is none of the client's business.
func TestReconfigFails(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	m.err = prop.Problems{
		{Code: "bad-value", Pos: prop.Pos{File: "master.star", Line: 3, Col: 1}, Text: "want at least 1"},
		{Code: "syntax", Pos: prop.Pos{File: "lib/x.star", Line: 4, Col: 2}, Text: "got newline"},
	}
	status, body := post(t, srv.URL+"/api/v2/masters/1", rpcBody("reconfig", "{}"), nil)
	if status != 400 || !strings.Contains(body, "not loaded") || !strings.Contains(body, `master.star:3:1: want at least 1 [bad-value]\nlib/x.star:4:2`) {
		t.Errorf("problems: %d %s", status, body)
	}
	m.err = errors.New("of the database")
	if status, body = post(t, srv.URL+"/api/v2/masters/1", rpcBody("reconfig", "{}"), nil); status != 500 || strings.Contains(body, "database") {
		t.Errorf("another error: %d %s", status, body)
	}
}

// The policy is asked before every route, with what the request is about to do, and
// its no is final (docs/requirements.md D1 pain 28).
func TestPolicyGuardsEveryRoute(t *testing.T) {
	m := newMaster(t)
	var asked []Action
	deny := errors.New("you are not Ann")
	srv, a := serve(t, m, Options{Policy: func(_ *http.Request, act Action) error {
		asked = append(asked, act)
		return deny
	}})
	actions := map[Action]bool{}
	words := strings.NewReplacer("{builder}", "linux", "{number}", "1", "{stepname}", "compile", "{slug}", "stdio", "{scheduler}", "force", "{worker}", "alpha")
	check := func(method, path, body string) {
		t.Helper()
		asked = nil
		r, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, text := do(t, r)
		if resp.StatusCode != http.StatusForbidden || len(asked) != 1 || !strings.Contains(text, "you are not Ann") {
			t.Errorf("%s %s %s: %d %.100s after asking %q", method, path, body, resp.StatusCode, text, asked)
			return
		}
		actions[asked[0]] = true
	}
	for _, rt := range a.Routes() {
		path := words.Replace(rt.Pattern)
		if i := strings.Index(path, "{"); i >= 0 {
			path = path[:i] + "1" + path[strings.Index(path, "}")+1:]
		}
		if rt.Method != http.MethodPost {
			check(rt.Method, path, "")
			continue
		}
		check("POST", path, rpcBody("nosuch", "{}"))
		for _, method := range []string{"force", "stop", "rebuild", "cancel", "set_priority", "pause", "unpause", "kill", "enable", "poll", "reap", "reconfig"} {
			check("POST", path, rpcBody(method, "{}"))
		}
	}
	check("POST", "/api/v2/builders", rpcBody("stop", "{}"))
	if calls := m.take(); calls != nil {
		t.Errorf("the master was asked %q", calls)
	}
	for _, want := range []Action{ActionView, ActionViewLog, ActionExplain, ActionListen, ActionForce, ActionRebuild, ActionStopBuild,
		ActionCancelRequest, ActionSetPriority, ActionPauseWorker, ActionUnpauseWorker, ActionStopWorker, ActionKillWorker, ActionEnableScheduler, ActionPollChanges, ActionReapInstances, ActionReconfig, ActionUnknown} {
		if !actions[want] {
			t.Errorf("no route asked for %q", want)
		}
	}
}

func FuzzCall(f *testing.F) {
	for _, seed := range []string{rpcBody("force", `{"builderid":"1"}`), rpcBody("stop", `{"reason":null}`), `{"id":1e400,"jsonrpc":"2.0","method":"force"}`, `[[[[`, `{"id":"\ud800"}`, "\xff"} {
		f.Add(seed)
	}
	_, a := serve(f, newMaster(f), Options{})
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"forceschedulers/force", "builds/2", "buildrequests/2", "workers/1", "schedulers/1"} {
			r, err := http.NewRequest("POST", "http://x/api/v2/"+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			w := &discard{header: http.Header{}}
			a.ServeHTTP(w, r)
			if w.status == 500 {
				t.Errorf("%s %q: 500", path, body)
			}
		}
	})
}
