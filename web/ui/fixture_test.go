package ui

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine"
	"buildstar/engine/change"
	"buildstar/engine/dist"
	"buildstar/engine/instance"
	"buildstar/engine/sched"
	"buildstar/state"
	"buildstar/state/sqlite"
)

// evil is what a worker or a user may put into anything that is free text.
const evil = `<script>alert(1)</script><img src=x onerror=alert(2)>"'&`

// fixture is a master made of a real store and of rows as builds leave them.
type fixture struct {
	strays  []engine.Stray
	outlook instance.Outlook
	*memoryLogs
	store state.Store
	snap  *config.Snapshot

	mu     sync.Mutex
	health engine.Health
	asked  []string // the actions that were asked for
	refuse error    // what the next action returns
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "state.sqlite"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f := &fixture{store: store, memoryLogs: &memoryLogs{logs: map[int64][]state.LogRun{}}, health: engine.Health{Version: "1.2.3", Started: state.Now(), Generation: 7}}
	f.snap = config.New(config.Snapshot{Master: config.Master{Title: "Demo CI", WorkerListen: []config.Listen{{Port: 9990}}}})
	return f
}

func (f *fixture) Store() state.Store         { return f.store }
func (f *fixture) Logs() state.LogStore       { return f.memoryLogs }
func (f *fixture) Snapshot() *config.Snapshot { return f.snap }
func (f *fixture) Health() engine.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.health
}

func (f *fixture) did(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	err := f.refuse
	f.refuse = nil
	return err
}

func (f *fixture) Force(_ context.Context, name string, builder int64, fields map[string]any, _ sched.User) (engine.Submitted, error) {
	return engine.Submitted{Requests: map[int64]int64{builder: 1}}, f.did("force %s %d %v", name, builder, fields)
}

func (f *fixture) Rebuild(_ context.Context, id int64, _ sched.User) (engine.Submitted, error) {
	return engine.Submitted{Requests: map[int64]int64{1: 2}}, f.did("rebuild %d", id)
}

func (f *fixture) StopBuild(_ context.Context, id int64, reason string, _ sched.User) error {
	return f.did("stop %d %s", id, reason)
}

func (f *fixture) CancelRequest(_ context.Context, id int64, reason string, _ sched.User) error {
	return f.did("cancel %d %s", id, reason)
}

func (f *fixture) SetPriority(_ context.Context, id, priority int64, _ sched.User) error {
	return f.did("priority %d %d", id, priority)
}

func (f *fixture) PauseWorker(_ context.Context, id int64, reason string, who sched.User) error {
	return f.did("pause %d %s by %v", id, reason, who)
}

func (f *fixture) UnpauseWorker(_ context.Context, id int64, _ sched.User) error {
	return f.did("unpause %d", id)
}

func (f *fixture) StopWorker(_ context.Context, id int64, reason string, _ sched.User) error {
	return f.did("stop worker %d %s", id, reason)
}

func (f *fixture) KillWorker(_ context.Context, id int64, reason string, _ sched.User) error {
	return f.did("kill worker %d %s", id, reason)
}

func (f *fixture) EnableScheduler(_ context.Context, id int64, on bool, _ sched.User) error {
	return f.did("enable %d %v", id, on)
}

func (f *fixture) AddChange(context.Context, change.Input) (state.Change, error) {
	return state.Change{}, f.did("add change")
}

func (f *fixture) StrayInstances(_ context.Context, stop bool, _ sched.User) ([]engine.Stray, error) {
	return f.strays, f.did("strays %v", stop)
}

func (f *fixture) InstanceOutlook(string) instance.Outlook               { return f.outlook }
func (f *fixture) PollChanges(context.Context, string, sched.User) error { return f.did("poll") }
func (f *fixture) Reload(context.Context) (engine.Reloaded, error)       { return engine.Reloaded{}, nil }
func (f *fixture) Explain(_ context.Context, id int64) (dist.Explanation, error) {
	return dist.Explanation{RequestID: id, State: "waiting", Summary: `worker "gone" is offline`, Position: 1,
		Reasons: []dist.Reason{{Code: "no-worker-connected", Text: `worker "gone" is offline`, Worker: "gone"}}}, nil
}

// memoryLogs is a LogStore that only reads.
type memoryLogs struct {
	mu   sync.Mutex
	logs map[int64][]state.LogRun
}

func (m *memoryLogs) add(id int64, stream byte, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logs[id] = append(m.logs[id], state.LogRun{Stream: stream, Text: []byte(text)})
}

func (m *memoryLogs) NumLines(_, id int64) (n int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.logs[id] {
		n += int64(strings.Count(string(r.Text), "\n"))
	}
	return n, nil
}

func (m *memoryLogs) Lines(_ context.Context, _, id, from, limit int64, fn func(state.LogRun) error) error {
	m.mu.Lock()
	runs := m.logs[id]
	m.mu.Unlock()
	n := int64(0)
	for _, r := range runs {
		for line := range strings.Lines(string(r.Text)) {
			if n >= from && (limit < 0 || n < from+limit) {
				if err := fn(state.LogRun{Stream: r.Stream, Text: []byte(line), First: n}); err != nil {
					return err
				}
			}
			n++
		}
	}
	return nil
}

func (m *memoryLogs) OpenBuild(int64) (state.LogSegment, error) { return nil, state.ErrNotFound }
func (m *memoryLogs) ReopenBuild(int64, []int64) (state.LogSegment, error) {
	return nil, state.ErrNotFound
}
func (m *memoryLogs) Delete(int64) error { return nil }
func (m *memoryLogs) Close() error       { return nil }

// forcer is a force scheduler with a field of each kind.
type forcer struct {
	config.At
	name     string
	builders []string
}

func (f *forcer) Key() config.Key                     { return config.Key{Kind: config.KindScheduler, Name: f.name} }
func (f *forcer) Refs() iter.Seq2[string, config.Key] { return func(func(string, config.Key) bool) {} }
func (f *forcer) Type() string                        { return "ForceScheduler" }
func (f *forcer) Builders() []string                  { return f.builders }

func (f *forcer) Form() sched.Form {
	name := func(s string) *string { return &s }
	no := false
	return sched.Form{Name: f.name, Label: "Force " + f.name, ButtonName: "Start", BuilderNames: f.builders, Enabled: true, Fields: []sched.Field{
		{Name: "username", FullName: name("username"), Label: "Your name", Type: "username"},
		{Name: "reason", FullName: name("reason"), Label: "Reason", Type: "text", Default: "force build", Required: true, Tooltip: "said on the build"},
		{Name: "", Type: "nested", Label: "Options " + evil, Layout: "vertical", Fields: []sched.Field{
			{Name: "jobs", FullName: name("jobs"), Label: "Jobs", Type: "int", Default: int64(2)},
			{Name: "notes", FullName: name("opt_notes"), Label: "Notes", Type: "textarea", Default: "a\nb"},
			{Name: "clean", FullName: name("clean"), Label: "Clean first", Type: "bool", Default: true},
			{Name: "kind", FullName: name("kind"), Label: "Kind", Type: "list", Choices: []string{"debug", evil}, Default: "debug"},
			{Name: "many", FullName: name("many"), Label: "Many", Type: "list", Multiple: true, Choices: []string{"a", "b"}, Default: []any{"b"}},
			{Name: "free", FullName: name("free"), Label: "Free choice", Type: "list", Strict: &no, Choices: []string{"a", "b"}, Default: "a"},
			{Name: "arch", FullName: name("arch"), Label: "Architecture", Type: "fixed", Default: "amd64"},
		}},
		{Name: "secret", FullName: name("secret"), Label: "Hidden", Type: "text", Default: "x", Hide: true},
	}}
}

func (f *forcer) Force(context.Context, string, map[string]any, sched.User) (sched.Buildset, error) {
	return sched.Buildset{}, nil
}

// fill makes builders, workers, builds in every state, and requests that wait.
func (f *fixture) fill(t testing.TB) {
	t.Helper()
	now := state.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	builders := []string{"docs", "linux-clang", "linux-gcc", "tests-flaky", "win64", "größe"}
	f.snap = config.New(config.Snapshot{
		Master: f.snap.Master,
		Workers: []*config.Worker{
			{Class: "Worker", Name: "alpha", MaxBuilds: 2}, {Class: "LocalWorker", Name: "here", Local: true, MaxBuilds: 1},
			{Class: "Worker", Name: "gone"}, {Class: "Worker", Name: "fresh"}, {Class: "Worker", Name: "lazy"},
			{Class: "Worker", Name: "sick"}, {Class: "Worker", Name: "leaving"},
		},
		Builders: func() (bs []*config.Builder) {
			for _, n := range builders {
				bs = append(bs, &config.Builder{Name: n, Workers: []string{"alpha", "here"}, Tags: []string{"nightly", n[:2]}})
			}
			return bs
		}(),
		Schedulers: []config.Scheduler{&forcer{name: "force", builders: builders}},
	})
	f.update(t, func(tx state.Tx) error {
		for _, w := range []state.Worker{
			{Name: "alpha", Active: true, Connected: true, ChangedAt: now, Info: prop.FactsOf(map[string]any{"version": "3.7.0", "os_id": "debian", "os_version_id": "12", "admin": evil, "numcpus": int64(8)})},
			{Name: "here", Active: true, Connected: true, ChangedAt: now},
			{Name: "gone", Active: true, ChangedAt: now - 86400_000},
			{Name: "fresh", Active: true},
			{Name: "lazy", Active: true, Connected: true, Paused: true, PauseReason: "disk " + evil, PausedBy: "Ann", PausedAt: now, ChangedAt: now},
			{Name: "sick", Active: true, Connected: true, ChangedAt: now,
				Quarantine: state.Quarantine{Since: now, Until: now + 40_000, Count: 3, Cause: "docs #1: lost " + evil, BuildID: 1}},
			{Name: "leaving", Active: true, Connected: true, ChangedAt: now,
				Graceful: true, GracefulReason: "new disk " + evil, GracefulBy: "Bob", GracefulAt: now},
		} {
			if _, err := tx.PutWorker(w, "configured"); err != nil {
				return err
			}
		}
		link, main := "https://example.org/"+evil, "main"
		for _, c := range []state.Change{
			{Author: "ann " + evil, Comments: "begin " + evil + "\n\nat last", Branch: &main, Revision: &link, RevLink: &link, When: now, ReceivedAt: now, Files: []string{"a.c", evil}},
			{Author: "bob", When: now, ReceivedAt: now},
		} {
			if _, err := tx.AddChange(c); err != nil {
				return err
			}
		}
		if _, err := tx.PutScheduler(state.Scheduler{Name: "force", Enabled: true, Active: true}); err != nil {
			return err
		}
		for _, n := range builders {
			if _, err := tx.PutBuilder(state.Builder{Name: n, Active: true, Tags: []string{"nightly", n[:2], "<b>" + n + "</b>"}, Description: "Builds " + evil}); err != nil {
				return err
			}
		}
		return nil
	})
	for i := range 18 {
		r := []config.Result{config.Success, config.Success, config.Warnings, config.Success, config.Cancelled, config.Retry}[i%6]
		f.addBuild(t, 3, now+state.Time(i)*60_000, r)
	}
	for i := range 4 {
		f.addBuild(t, 4, now+state.Time(i)*70_000, []config.Result{config.Success, config.Failure, config.Failure, config.Failure}[i])
	}
	f.addBuild(t, 1, now, config.Exception)
	f.addBuild(t, 2, state.Now()-42_000, config.Unfinished)
	f.addBuild(t, 3, state.Now()-12_000, config.Unfinished)
	for range 3 {
		f.addRequest(t, 5, now)
	}
}

func (f *fixture) update(t testing.TB, fn func(state.Tx) error) {
	t.Helper()
	if err := f.store.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) addRequest(t testing.TB, builder int64, at state.Time) (id int64) {
	t.Helper()
	branch, rev := "main", "9f3c0ddc3aa34d2c8b81f0f0f7c61b2f9c3b9a11"
	f.update(t, func(tx state.Tx) error {
		ss, err := tx.AddSourceStamp(state.SourceStamp{Branch: &branch, Revision: &rev, Repository: "https://example.org/" + evil, CreatedAt: at})
		if err != nil {
			return err
		}
		_, ids, err := tx.AddBuildset(state.Buildset{Reason: "A build was forced by 'ann': " + evil, Scheduler: "force", SubmittedAt: at,
			SourceStamps: []state.SourceStamp{{ID: ss}}}, []state.BuildRequest{{BuilderID: builder, SubmittedAt: at}})
		if err == nil {
			id = ids[0]
		}
		return err
	})
	return id
}

// addBuild makes a build of four steps; a result of Unfinished leaves its third one
// running.
func (f *fixture) addBuild(t testing.TB, builder int64, at state.Time, result config.Result) state.Build {
	t.Helper()
	request := f.addRequest(t, builder, at-5_000)
	var b state.Build
	f.update(t, func(tx state.Tx) (err error) {
		if err := tx.Claim(at, request); err != nil {
			return err
		}
		b, err = tx.AddBuild(state.Build{BuilderID: builder, RequestID: request, WorkerID: 1, StartedAt: at, StateString: "building", Results: config.Unfinished})
		if err != nil {
			return err
		}
		return tx.SetProperties(b.ID, state.Properties{"branch": {Value: "main", Source: "Build"}, "jobs": {Value: int64(4), Source: "Force"},
			"evil": {Value: map[string]any{evil: []any{evil, true}}, Source: evil}})
	})
	names := []string{"worker_preparation", "compile", "test", "upload " + evil}
	for i, name := range names {
		f.addStep(t, b, int64(i), name, result)
	}
	if result == config.Unfinished {
		return b
	}
	f.update(t, func(tx state.Tx) error {
		b.Complete, b.CompleteAt, b.Results, b.StateString = true, at+21_300, result, "build successful"
		if result == config.Failure {
			b.StateString = "failed test " + evil
		}
		if err := tx.PutBuild(b, "finished"); err != nil {
			return err
		}
		return tx.CompleteRequest(request, result, b.CompleteAt)
	})
	return b
}

func (f *fixture) addStep(t testing.TB, b state.Build, n int64, name string, result config.Result) {
	t.Helper()
	at := b.StartedAt + state.Time(n)*7_000
	s := state.Step{Number: n, Name: name, BuildID: b.ID, Results: config.Unfinished, URLs: []state.URL{}}
	running := result == config.Unfinished && n == 2
	switch {
	case running:
		s.StartedAt, s.StateString = at, "testing"
	case n == 3 && result != config.Success:
		s.StateString = "pending"
	default:
		s.StartedAt, s.Complete, s.CompleteAt, s.Results, s.StateString = at, true, at+6_900, config.Success, "'make "+name+"'"
		if n == 2 && result != config.Unfinished {
			s.Results = result
		}
		s.URLs = []state.URL{{Name: "report", URL: "javascript:alert(3)"}, {Name: "coverage", URL: "https://example.org/c"}}
	}
	f.update(t, func(tx state.Tx) error {
		id, err := tx.AddStep(s)
		if err != nil || s.StartedAt == 0 || n == 0 {
			return err
		}
		l := state.Log{Name: "stdio", Slug: "stdio", StepID: id, BuildID: b.ID, Type: "s"}
		logID, err := tx.AddLog(l)
		if err != nil {
			return err
		}
		f.add(logID, 'h', "make "+name+"\n in dir /home/ci/build (timeout 1200 secs)\n environment:\n  PATH=/usr/bin\n  HOME=/home/ci\n\n")
		for i := range 60 {
			f.add(logID, 'o', fmt.Sprintf("\x1b[32mok\x1b[0m %d compiling %s\n", i, "a/b/c.go"))
		}
		f.add(logID, 'o', "10%\r50%\r100% "+evil+"\n")
		if s.Results == config.Failure {
			f.add(logID, 'e', "E   assert 1 == 2 "+evil+"\n")
			f.add(logID, 'o', "FAILED test_a\n"+strings.Repeat("x", 5000)+"\n")
		}
		if running {
			return nil
		}
		f.add(logID, 'h', "program finished with exit code 2\nelapsedTime=6.9\n")
		l.ID, l.Complete = logID, true
		l.NumLines, _ = f.NumLines(b.ID, logID)
		return tx.PutLog(l)
	})
}

func (f *fixture) handler(t testing.TB) http.Handler {
	t.Helper()
	h, err := New(f, Options{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

var _ engine.Control = (*fixture)(nil)

func problems() prop.Problems {
	return prop.Problems{
		{Code: "unknown-parameter", Pos: prop.Pos{File: "master.star", Line: 12, Col: 3}, Subject: `worker.Worker "a"`, Param: "pasword", Text: "no such parameter " + evil, Hint: `did you mean "password"?`, Source: `worker.Worker("a", pasword="x")`},
		{Code: "duplicate-name", Pos: prop.Pos{File: "lib/b.star", Line: 3, Col: 1}, Text: "two builders are called docs"},
	}
}
