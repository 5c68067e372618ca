package api

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"buildstar/state"
)

// listener is a client of /ws.
type listener struct {
	t    testing.TB
	conn *websocket.Conn
}

func dial(t testing.TB, url, query string) *listener {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/ws"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	return &listener{t, conn}
}

func (l *listener) send(format string, args ...any) {
	l.t.Helper()
	if err := l.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)); err != nil {
		l.t.Fatal(err)
	}
}

func (l *listener) next() string {
	l.t.Helper()
	_, data, err := l.conn.ReadMessage()
	if err != nil {
		l.t.Fatal(err)
	}
	if !json.Valid(data) {
		l.t.Fatalf("not JSON: %s", data)
	}
	return string(data)
}

// want checks the next frames, each by what it contains.
func (l *listener) want(parts ...string) {
	l.t.Helper()
	for _, part := range parts {
		if got := l.next(); !strings.Contains(got, part) {
			l.t.Fatalf("got %s, want %s", got, part)
		}
	}
}

// consume starts consuming a path and waits for the acknowledgement.
func (l *listener) consume(path string, id int) {
	l.t.Helper()
	l.send(`{"cmd":"startConsuming","path":%q,"_id":%d}`, path, id)
	l.want(fmt.Sprintf(`{"msg":"OK","code":200,"_id":%d}`, id))
}

// setState changes the state string of the running build 2.
func (m *master) setState(t testing.TB, text string) {
	t.Helper()
	m.update(t, func(tx state.Tx) {
		b := got(state.One(tx.Builds(state.Where("buildid", int64(2)))))
		b.StateString = text
		ok(tx.PutBuild(b, "update"))
	})
}

// A stock client: ids in any order, overlapping paths, an event once, errors that
// say what is wrong (docs/ui-contract.md section 4).
func TestStockClient(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	l := dial(t, srv.URL, "")
	for i, path := range []string{"builds/*/*", "builders/1/builds/*/*", "builds/2/*", "builds/2/*"} {
		l.consume(path, 9-i) // last first, as its queue is flushed
	}
	m.setState(t, "one")
	l.want(`{"k":"builds/2/update","m":{"buildid":2,"number":2,`)
	m.setState(t, "two")
	if f := l.next(); !strings.Contains(f, `"state_string":"two"`) || strings.Contains(f, `"s":`) {
		t.Errorf("second event: %s", f)
	}
	for _, path := range []string{"builds/*/*", "builds/2/*"} {
		l.send(`{"cmd":"stopConsuming","path":%q,"_id":"x"}`, path)
		l.want(`{"msg":"OK","code":200,"_id":"x"}`)
	}
	m.setState(t, "three")
	l.want(`{"k":"builders/1/builds/2/update","m":`)
	for _, tt := range []struct{ send, want string }{
		{`{"cmd":"ping","_id":7}`, `{"msg":"pong","code":200,"_id":7}`},
		{`{"cmd":"stopConsuming","path":"builds/2/*","_id":1}`, `{"error":"path was not consumed","code":400,"_id":1}`},
		{`{"cmd":"startConsuming","path":"builds","_id":1}`, `"code":400,"_id":1}`},
		{`{"cmd":"startConsuming","path":"builds//x","_id":1}`, `"code":400,"_id":1}`},
		{`{"cmd":"startConsuming","path":"bui*/1/x","_id":1}`, `"code":400,"_id":1}`},
		{`{"cmd":"startConsuming","_id":1}`, `{"error":"path is missing","code":400,"_id":1}`},
		{`{"cmd":"startconsuming","path":"a/b","_id":1}`, `did you mean \"startConsuming\"?)","code":404,"_id":1}`},
		{`{"path":"builds/*/*","_id":1}`, `{"error":"cmd is missing","code":400,"_id":1}`},
		{`{"cmd":"ping"}`, `"code":400,"_id":null}`},
		{`{"cmd":"ping","_id":{"a":1}}`, `"code":400,"_id":null}`},
		{`[1,2`, `"code":400,"_id":null}`},
		{`7`, `"code":400,"_id":null}`},
	} {
		l.send("%s", tt.send)
		l.want(tt.want)
	}
}

// Whoever got the acknowledgement misses nothing that is committed later, and a GET
// after it is at least as new.
func TestAckThenEverything(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	for i := range 20 {
		l := dial(t, srv.URL, "")
		l.consume("builds/*/*", 1)
		m.setState(t, fmt.Sprint("round ", i))
		l.want(fmt.Sprintf(`"state_string":"round %d"`, i))
		l.conn.Close()
	}
}

// Workers' events carry what only the configuration knows, under its paths too.
func TestDerivedEvents(t *testing.T) {
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	l := dial(t, srv.URL, "")
	l.consume("builders/2/workers/*/*", 1)
	m.update(t, func(tx state.Tx) {
		w := got(state.One(tx.Workers(state.Where("name", "alpha"))))
		w.Connected = false
		got(tx.PutWorker(w, "disconnected"))
	})
	f := l.next()
	if !strings.HasPrefix(f, `{"k":"builders/2/workers/1/disconnected","m":{"workerid":1,`) || !strings.Contains(f, `"connected_to":[]`) ||
		!strings.Contains(f, `"configured_on":[{"masterid":1,"builderid":1},{"masterid":1,"builderid":2}]`) {
		t.Errorf("got %s", f)
	}
	l.consume("workers/2/builders/*/*", 2)
	m.update(t, func(tx state.Tx) {
		b := got(state.One(tx.Builders(state.Where("name", "linux"))))
		b.Description = "new"
		got(tx.PutBuilder(b))
	})
	l.want(`{"k":"workers/2/builders/1/`)
}

var position = regexp.MustCompile(`"s":(\d+)\}$`)

// A client of ours that comes back gets exactly what it missed, in order, whether it
// names its paths at once or one by one; after a gap it is told to read again.
func TestResume(t *testing.T) {
	m := newMaster(t)
	srv, a := serve(t, m, Options{})
	l := dial(t, srv.URL, "?buildstar=1&path=builds/*/*")
	at := m.store.Position()
	l.want(fmt.Sprintf(`{"hello":{"epoch":%d,"seq":%d,"version":"test"}}`, at.Epoch, at.Seq))
	m.setState(t, "seen")
	pos := position.FindStringSubmatch(l.next())
	if pos == nil {
		t.Fatal("an event without its position")
	}
	l.conn.Close()

	m.update(t, func(tx state.Tx) {
		for i := range 3 {
			s := state.Step{BuildID: 2, Number: int64(i + 1), Name: fmt.Sprint("step", i), Results: -1}
			s.ID = got(tx.AddStep(s))
			ok(tx.PutStep(s, "started"))
		}
	})
	m.setState(t, "missed")
	resume := fmt.Sprintf("?resume=%d.%s", at.Epoch, pos[1])
	missed := []string{`"k":"builds/2/steps/5/new"`, `"k":"builds/2/steps/5/started"`, `"k":"builds/2/steps/6/new"`, `"k":"builds/2/steps/6/started"`,
		`"k":"builds/2/steps/7/new"`, `"k":"builds/2/steps/7/started"`}

	once := dial(t, srv.URL, resume+"&path=builds/*/*&path=builds/2/steps/*/*&path=builds/2/*")
	once.want(`{"hello":{`)
	once.want(missed...)
	once.want(`"state_string":"missed"`)

	byOne := dial(t, srv.URL, resume)
	byOne.want(`{"hello":{`)
	byOne.consume("builds/2/steps/*/*", 1)
	byOne.want(missed...)
	byOne.consume("builds/2/*", 2)
	byOne.want(`"state_string":"missed"`)
	byOne.consume("builds/*/*", 3) // nothing twice
	m.setState(t, "live")
	byOne.want(`"state_string":"live"`)
	once.want(`"state_string":"live"`)

	for _, old := range []string{fmt.Sprintf("%d.%s", at.Epoch+1, pos[1]), fmt.Sprintf("%d.%d", at.Epoch, at.Seq+1000), fmt.Sprintf("%d.0", at.Epoch)} {
		gap := dial(t, srv.URL, "?resume="+old+"&path=builds/*/*")
		gap.want(`{"hello":{`, `{"resync":true}`)
		m.setState(t, "after "+old)
		gap.want("after " + old)
	}

	// Far behind: the ring has moved on.
	for i := range 2*maxRing + 10 {
		m.store.Publish(state.Log{ID: 3, StepID: 4, Slug: "notes", NumLines: int64(i)}.Event("append"))
	}
	waitFor(t, func() bool { return a.hub.position() == m.store.Position() })
	behind := dial(t, srv.URL, resume+"&path=builds/*/*")
	behind.want(`{"hello":{`, `{"resync":true}`)
	for _, bad := range []string{"?resume=x", "?resume=1", "?resume=1.-1", "?path=x", "?%zz"} {
		if resp, _ := get(t, srv.URL+"/ws"+bad, nil); resp.StatusCode != 400 {
			t.Errorf("%s: %d", bad, resp.StatusCode)
		}
	}
}

// waitFor waits until other goroutines have made something true.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatal("it did not come true")
		case <-tick.C:
		}
	}
}

// What is on the wire has the keys and types that were recorded from Buildbot
// (testdata/events.json).
func TestEventShapes(t *testing.T) {
	data, err := os.ReadFile("testdata/events.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded []struct {
		K string
		M map[string]any
	}
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	m := newMaster(t)
	srv, _ := serve(t, m, Options{})
	l := dial(t, srv.URL, "")
	id := 0
	for _, p := range []string{"buildrequests/*/*", "builds/*/*", "builds/*/properties/*", "builds/*/steps/*/*", "steps/*/logs/*/*", "buildsets/*/*"} {
		id++
		l.consume(p, id)
	}
	number := regexp.MustCompile(`/\d+`)
	kind := func(k string) string { return strings.Replace(number.ReplaceAllString(k, "/*"), "/stdio/", "/*/", 1) }
	ours := map[string]map[string]any{}
	m.oneBuild(t, func(last string) { // read on, so that no update is replaced
		for {
			var f struct {
				K string
				M map[string]any
			}
			if err := json.Unmarshal([]byte(l.next()), &f); err != nil {
				t.Fatal(err)
			}
			ours[kind(f.K)] = f.M
			if kind(f.K) == last {
				return
			}
		}
	})
	for _, r := range recorded {
		k := kind(r.K)
		row, ok := ours[k]
		if !ok {
			t.Errorf("%s: never came; we have %d kinds", k, len(ours))
			continue
		}
		if strings.HasSuffix(k, "/properties/update") {
			continue // names are the user's; the value is checked by the golden answers
		}
		for name, v := range r.M {
			have, ok := row[name]
			if name == "scheduler" {
				continue // only in one recorded event, in no row
			}
			if !ok {
				t.Errorf("%s: %s is missing", k, name)
			} else if v != nil && have != nil && fmt.Sprintf("%T", v) != fmt.Sprintf("%T", have) {
				t.Errorf("%s: %s is %T, recorded %T", k, name, have, v)
			}
		}
		for name := range row {
			if _, ok := r.M[name]; !ok && name != "parent_relationship" { // missing in that event only
				t.Errorf("%s: %s was not recorded", k, name)
			}
		}
	}
}

// oneBuild makes every event of a forced build, a few at a time; after each few it
// calls seen with the last of them.
func (m *master) oneBuild(t testing.TB, seen func(last string)) {
	t.Helper()
	var req int64
	var b state.Build
	var s state.Step
	var l state.Log
	for _, part := range []struct {
		last string
		do   func(tx state.Tx)
	}{
		{"buildrequests/*/new", func(tx state.Tx) {
			_, reqs, err := tx.AddBuildset(state.Buildset{Reason: "forced", SubmittedAt: t0, Results: -1, SourceStamps: []state.SourceStamp{{ID: 1}}},
				[]state.BuildRequest{{BuilderID: 2, SubmittedAt: t0, Results: -1}})
			ok(err)
			req = reqs[0]
			ok(tx.Claim(t0, req))
			b = got(tx.AddBuild(state.Build{BuilderID: 2, RequestID: req, WorkerID: 1, StartedAt: t0, Results: -1}))
		}},
		{"builds/*/update", func(tx state.Tx) { ok(tx.PutBuild(b, "update")) }},
		{"builds/*/steps/*/new", func(tx state.Tx) {
			ok(tx.SetProperties(b.ID, state.Properties{"a": {Value: "b", Source: "c"}}))
			s = state.Step{BuildID: b.ID, Name: "test", Results: -1}
			s.ID = got(tx.AddStep(s))
			ok(tx.PutStep(s, "started"))
		}},
		{"builds/*/steps/*/updated", func(tx state.Tx) { ok(tx.PutStep(s, "updated")) }},
		{"steps/*/logs/*/new", func(tx state.Tx) {
			l = state.Log{Name: "stdio", Slug: "stdio", StepID: s.ID, BuildID: b.ID, Type: "s"}
			l.ID = got(tx.AddLog(l))
		}},
		{"steps/*/logs/*/append", func(state.Tx) { m.store.Publish(l.Event("append")) }},
		{"buildsets/*/complete", func(tx state.Tx) {
			l.Complete, s.Complete, b.Complete = true, true, true
			s.Results, b.Results = 0, 0
			ok(tx.PutLog(l))
			ok(tx.PutStep(s, "finished"))
			ok(tx.PutBuild(b, "finished"))
			ok(tx.CompleteRequest(req, 0, t0))
		}},
	} {
		m.update(t, part.do)
		seen(part.last)
	}
}
