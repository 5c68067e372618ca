package api

import (
	"context"
	"flag"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

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

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// master is an engine.Control over a real store that only records what it is asked.
type master struct {
	store state.Store
	logs  *memoryLogs
	snap  *config.Snapshot

	mu    sync.Mutex
	calls []string
	err   error // what every action answers
}

func (m *master) Store() state.Store         { return m.store }
func (m *master) Logs() state.LogStore       { return m.logs }
func (m *master) Snapshot() *config.Snapshot { return m.snap }
func (m *master) Health() engine.Health      { return engine.Health{Version: "test"} }

func (m *master) called(format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, fmt.Sprintf(format, args...))
	return m.err
}

func (m *master) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.calls
	m.calls = nil
	return c
}

func (m *master) Force(_ context.Context, s string, b int64, fields map[string]any, who sched.User) (engine.Submitted, error) {
	if m.snap.Scheduler(s) == nil {
		return engine.Submitted{}, fmt.Errorf("force %s: %w", s, state.ErrNotFound)
	}
	return engine.Submitted{BuildsetID: 9, Requests: map[int64]int64{3: 34}}, m.called("force %s %d %v %v", s, b, fields, who)
}
func (m *master) Rebuild(_ context.Context, id int64, who sched.User) (engine.Submitted, error) {
	return engine.Submitted{BuildsetID: 10, Requests: map[int64]int64{2: 35}}, m.called("rebuild %d %v", id, who)
}
func (m *master) StopBuild(_ context.Context, id int64, reason string, who sched.User) error {
	return m.called("stop %d %q %v", id, reason, who)
}
func (m *master) CancelRequest(_ context.Context, id int64, reason string, who sched.User) error {
	return m.called("cancel %d %q %v", id, reason, who)
}
func (m *master) SetPriority(_ context.Context, id, priority int64, who sched.User) error {
	return m.called("priority %d %d %v", id, priority, who)
}
func (m *master) PauseWorker(_ context.Context, id int64, reason string, who sched.User) error {
	return m.called("pause %d %q %v", id, reason, who)
}
func (m *master) UnpauseWorker(_ context.Context, id int64, who sched.User) error {
	return m.called("unpause %d %v", id, who)
}
func (m *master) StopWorker(_ context.Context, id int64, reason string, who sched.User) error {
	return m.called("stop worker %d %q %v", id, reason, who)
}
func (m *master) KillWorker(_ context.Context, id int64, reason string, who sched.User) error {
	return m.called("kill worker %d %q %v", id, reason, who)
}
func (m *master) EnableScheduler(_ context.Context, id int64, enabled bool, who sched.User) error {
	return m.called("enable %d %v %v", id, enabled, who)
}
func (m *master) AddChange(_ context.Context, in change.Input) (state.Change, error) {
	if err := in.Check(); err != nil {
		return state.Change{}, err
	}
	return state.Change{ID: 17}, m.called("add change %s %s %q %v", in.Author, in.Branch, in.Files, in.Properties)
}
func (m *master) InstanceOutlook(string) instance.Outlook { return instance.Outlook{} }

func (m *master) StrayInstances(_ context.Context, stop bool, who sched.User) ([]engine.Stray, error) {
	return []engine.Stray{{Kind: "docker", Handle: "h", Worker: "w", Attempt: 7}}, m.called("strays %v %v", stop, who)
}
func (m *master) PollChanges(_ context.Context, name string, who sched.User) error {
	return m.called("poll %s %v", name, who)
}
func (m *master) Reload(context.Context) (engine.Reloaded, error) {
	return engine.Reloaded{Generation: 2, Diff: config.Diff{Added: []config.Key{{Kind: config.KindBuilder, Name: "new"}}, Master: true}}, m.called("reload")
}
func (m *master) Explain(_ context.Context, id int64) (dist.Explanation, error) {
	if id != 2 {
		return dist.Explanation{}, fmt.Errorf("explain %d: %w", id, state.ErrNotFound)
	}
	return dist.Explanation{RequestID: 2, Builder: "linux", State: "waiting", Summary: "all workers are busy", Position: 1, At: 1_700_000_100_000,
		Reasons: []dist.Reason{{Code: "worker-busy", Text: `worker "alpha" is building linux #2`, Worker: "alpha", BuildID: 2}}}, nil
}

// memoryLogs is a LogStore that holds runs of lines.
type memoryLogs struct {
	state.LogStore
	mu   sync.Mutex
	runs map[int64][]state.LogRun
}

func (l *memoryLogs) add(logID int64, runs ...state.LogRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.count(logID)
	for _, r := range runs {
		r.First = n
		n += int64(strings.Count(string(r.Text), "\n"))
		l.runs[logID] = append(l.runs[logID], r)
	}
}

func (l *memoryLogs) count(logID int64) (n int64) {
	for _, r := range l.runs[logID] {
		n += int64(strings.Count(string(r.Text), "\n"))
	}
	return n
}

func (l *memoryLogs) NumLines(_, logID int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count(logID), nil
}

func (l *memoryLogs) Lines(ctx context.Context, _, logID, from, limit int64, fn func(state.LogRun) error) error {
	l.mu.Lock()
	runs := l.runs[logID]
	l.mu.Unlock()
	for _, r := range runs {
		n := r.First
		for line := range strings.Lines(string(r.Text)) {
			if n >= from && (limit < 0 || n-from < limit) {
				one := state.LogRun{Stream: r.Stream, Text: []byte(line), First: n}
				if r.Times != nil {
					one.Times = []state.Time{r.Times[min(int(n-r.First), len(r.Times)-1)]}
				}
				if err := fn(one); err != nil {
					return err
				}
			}
			n++
		}
	}
	return ctx.Err()
}

// forcer is a force scheduler with a fixed form.
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
	full := "reason"
	return sched.Form{Name: f.name, Label: "Force " + f.name, ButtonName: "Go", BuilderNames: f.builders, Enabled: true,
		Fields: []sched.Field{{Name: "reason", FullName: &full, Label: "reason:", Type: "text", Default: "because"}}}
}
func (f *forcer) Force(context.Context, string, map[string]any, sched.User) (sched.Buildset, error) {
	return sched.Buildset{}, nil
}

// poller is a change source.
type poller struct{ config.At }

func (*poller) Key() config.Key                     { return config.Key{Kind: config.KindChangeSource, Name: "poll"} }
func (*poller) Refs() iter.Seq2[string, config.Key] { return func(func(string, config.Key) bool) {} }
func (*poller) Type() string                        { return "GitPoller" }

// t0 is when everything of the fixture happened.
const t0 state.Time = 1_700_000_000_000

// newMaster returns a master with a small history:
// builders linux (1), lint (2) and old (3, no longer configured); workers alpha (1,
// connected) and beta (2, paused); build 1 failed, build 2 runs, request 2 waits.
func newMaster(t testing.TB) *master {
	t.Helper()
	store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "state.sqlite"), sqlite.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	m := &master{store: store, logs: &memoryLogs{runs: map[int64][]state.LogRun{}}}
	m.snap = config.New(config.Snapshot{
		Workers: []*config.Worker{{Name: "alpha"}, {Name: "beta"}},
		Builders: []*config.Builder{
			{Name: "linux", Workers: []string{"beta", "alpha"}},
			{Name: "lint", Workers: []string{"alpha"}},
		},
		Schedulers: []config.Scheduler{
			&forcer{name: "force", builders: []string{"linux", "lint"}},
			&forcer{name: "only-lint", builders: []string{"lint"}},
		},
		ChangeSources: []config.ChangeSource{&poller{}},
	})
	m.update(t, func(tx state.Tx) {
		_, err := tx.PutMaster(state.Master{Name: "host:/srv", Active: true, LastActive: t0})
		ok(err)
		project := got(tx.PutProject(state.Project{Name: "demo", Slug: "demo", Active: true}))
		got(tx.PutBuilder(state.Builder{Name: "linux", Tags: []string{"c", "fast"}, Active: true, ProjectID: project}))
		got(tx.PutBuilder(state.Builder{Name: "lint", Description: "checks <style>", Active: true}))
		got(tx.PutBuilder(state.Builder{Name: "old"}))
		got(tx.PutWorker(state.Worker{Name: "alpha", Active: true, Connected: true, Info: prop.FactsOf(map[string]any{"admin": "Ann", "numcpus": int64(8)})}, "configured"))
		got(tx.PutWorker(state.Worker{Name: "beta", Active: true, Paused: true, PauseReason: "disk"}, "configured"))
		got(tx.PutScheduler(state.Scheduler{Name: "force", Enabled: true, Active: true}))
		got(tx.PutScheduler(state.Scheduler{Name: "only-lint", Enabled: false, Active: true}))
		got(tx.PutChangeSource(state.ChangeSource{Name: "poll", Error: "fetch: no network", Active: true}))
		got(tx.PutChangeSource(state.ChangeSource{Name: "old"}))
		main := "main"
		ss := got(tx.AddSourceStamp(state.SourceStamp{Branch: &main, Repository: "https://example.org/r.git", CreatedAt: t0}))
		stamps := []state.SourceStamp{{ID: ss}}
		link := "https://example.org/r/abc"
		got(tx.AddChange(state.Change{Author: "Ann <ann@example.org>", Comments: "begin", Branch: &main, Repository: "https://example.org/r.git",
			Revision: &link, RevLink: &link, When: t0 - 5000, ReceivedAt: t0, Files: []string{"a.c", "b <c>"}}))
		got(tx.AddChange(state.Change{Author: "bob", Branch: &main, Repository: "https://example.org/r.git", When: t0 - 2000, ReceivedAt: t0,
			Properties: state.Properties{"risk": {Value: int64(3), Source: "Change"}}}))
		_, ids, err := tx.AddBuildset(state.Buildset{Reason: "first", SubmittedAt: t0, Results: -1, SourceStamps: stamps,
			Properties: state.Properties{"owner": {Value: "ann", Source: "Force"}, "jobs": {Value: int64(4), Source: "Force"}}},
			[]state.BuildRequest{{BuilderID: 1, SubmittedAt: t0, Results: -1}, {BuilderID: 2, SubmittedAt: t0, Results: -1, Priority: 5}})
		ok(err)
		_, more, err := tx.AddBuildset(state.Buildset{Reason: "second", SubmittedAt: t0 + 1000, Results: -1, SourceStamps: stamps},
			[]state.BuildRequest{{BuilderID: 1, SubmittedAt: t0 + 1000, Results: -1}})
		ok(err)
		ok(tx.Claim(t0+2000, ids[0], more[0]))
		b1 := got(tx.AddBuild(state.Build{BuilderID: 1, RequestID: ids[0], WorkerID: 1, StartedAt: t0 + 2000, StateString: "starting", Results: -1}))
		ok(tx.SetProperties(b1.ID, state.Properties{"branch": {Value: "main", Source: "Build"}, "list": {Value: []any{int64(1), "x"}, Source: "Build"}}))
		for i, name := range []string{"worker_preparation", "compile", "test"} {
			s := state.Step{Number: int64(i), Name: name, BuildID: b1.ID, StartedAt: t0 + 2000, LocksAcquiredAt: t0 + 2000, Complete: true,
				CompleteAt: t0 + 9000, StateString: "done", URLs: []state.URL{{Name: "docs", URL: "https://example.org/?a&b"}}}
			if name == "test" {
				s.Results, s.URLs = config.Failure, nil
			}
			s.ID = got(tx.AddStep(s))
			if i > 0 {
				id := got(tx.AddLog(state.Log{Name: "stdio", Slug: "stdio", StepID: s.ID, BuildID: b1.ID, Type: "s"}))
				ok(tx.PutLog(state.Log{ID: id, Name: "stdio", Slug: "stdio", StepID: s.ID, BuildID: b1.ID, Type: "s", Complete: true, NumLines: 4}))
			}
		}
		ok(tx.AddInterruption(state.Interruption{BuildID: b1.ID, Cause: state.MasterAway, StartedAt: t0 + 3500, Lines: map[int64]int64{1: 2}}))
		b1.Complete, b1.CompleteAt, b1.Results, b1.StateString = true, t0+9000, config.Failure, "failed test"
		ok(tx.PutBuild(b1, "finished"))
		ok(tx.CompleteRequest(ids[0], config.Failure, t0+9000))
		b2 := got(tx.AddBuild(state.Build{BuilderID: 1, RequestID: more[0], WorkerID: 1, StartedAt: t0 + 9500, StateString: "building", Results: -1}))
		s := got(tx.AddStep(state.Step{Name: "worker_preparation", BuildID: b2.ID, StartedAt: t0 + 9500, StateString: "waiting", Results: -1}))
		got(tx.AddLog(state.Log{Name: "notes", Slug: "notes", StepID: s, BuildID: b2.ID, Type: "t"}))
		ok(tx.AddInterruption(state.Interruption{BuildID: b2.ID, Cause: state.WorkerAway, StartedAt: t0 + 9600}))
	})
	m.logs.add(1,
		state.LogRun{Stream: 'h', Text: []byte("make all\n"), Times: []state.Time{t0 + 3000}},
		state.LogRun{Stream: 'o', Text: []byte("cc <a.c> \"x\"\nümlaut\n"), Times: []state.Time{t0 + 3100, t0 + 3200}},
		state.LogRun{Stream: 'e', Text: []byte("warning: \x1b[1mbold\x1b[0m \\ \xff\n")})
	m.logs.add(2, state.LogRun{Stream: 'o', Text: []byte("FAILED\n")})
	m.logs.add(3, state.LogRun{Stream: 't', Text: []byte("one\ntwo\n")})
	return m
}

// ok and got end the test binary if preparing a test fails: they run on the store's
// goroutine, where a test cannot fail.
func ok(err error) {
	if err != nil {
		panic(err)
	}
}

func got[T any](v T, err error) T {
	ok(err)
	return v
}

func (m *master) update(t testing.TB, fn func(tx state.Tx)) {
	t.Helper()
	err := m.store.Update(context.Background(), func(tx state.Tx) error {
		fn(tx)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// serve returns a test server of a master's API, and the API.
func serve(t testing.TB, m *master, opts Options) (*httptest.Server, *API) {
	t.Helper()
	if opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	a := New(m, opts)
	srv := httptest.NewServer(a)
	t.Cleanup(func() {
		a.Close()
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv, a
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// get returns the status, headers and body of a GET.
func get(t testing.TB, url string, header map[string]string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range maps.All(header) {
		r.Header.Set(k, v)
	}
	return do(t, r)
}

func do(t testing.TB, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := (&http.Transport{DisableKeepAlives: true, DisableCompression: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

var asJSON = map[string]string{"Accept": "application/json, text/plain, */*"}
