package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
	"buildstar/state/logfile"
	"buildstar/state/sqlite"
)

func TestMain(m *testing.M) {
	if os.Getenv(killedIn) != "" {
		os.Exit(runKilled())
	}
	if os.Getenv(killedFollowing) != "" {
		os.Exit(runKilledFollowing())
	}
	if os.Getenv(workerIn) != "" {
		os.Exit(runWorker())
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of a test; reaching it is a failure.
const patience = 20 * time.Second

// site is a master's files, which outlive the master.
type site struct {
	t     testing.TB
	dir   string
	store *sqlite.Store
	logs  state.LogStore
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.open()
	t.Cleanup(s.close)
	return s
}

func (s *site) open() {
	s.t.Helper()
	var err error
	if s.store, err = sqlite.Open(context.Background(), filepath.Join(s.dir, "state.sqlite"), sqlite.Options{Log: quietLog()}); err != nil {
		s.t.Fatal(err)
	}
	if s.logs, err = logfile.Open(filepath.Join(s.dir, "logs"), logfile.Options{Log: quietLog()}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) close() {
	if s.store == nil {
		return
	}
	if err := errors.Join(s.logs.Close(), s.store.Close()); err != nil {
		s.t.Error(err)
	}
	s.store = nil
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// running is a master that runs.
type running struct {
	*Master
	t      testing.TB
	events *state.Subscription
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once
	past   []state.Build // ends of builds that came while waiting for something else
}

// start runs a master with a configuration until the test ends.
func (s *site) start(snap *config.Snapshot, change ...func(*Options)) *running {
	s.t.Helper()
	o := Options{
		Basedir: s.dir, Store: s.store, Logs: s.logs, Logger: quietLog(), Version: "test",
		Load:    func(context.Context) (*config.Snapshot, error) { return snap, nil },
		Backoff: func(int64) time.Duration { return 0 }, Quarantine: func(int64) time.Duration { return 0 },
	}
	for _, c := range change {
		c(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Master: New(o), t: s.t, cancel: cancel, ended: make(chan error, 1)}
	r.events = s.store.Subscribe(ctx, "*/*/*")
	go func() { r.ended <- r.Run(ctx) }()
	s.t.Cleanup(r.stop)
	select {
	case <-r.Ready():
	case err := <-r.ended:
		s.t.Fatalf("the master ended: %v", err)
	case <-time.After(patience):
		s.t.Fatal("the master was not ready in time")
	}
	return r
}

// stop takes the master down and waits for it.
func (r *running) stop() {
	r.once.Do(func() {
		r.cancel()
		select {
		case err := <-r.ended:
			if err != nil {
				r.t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * patience):
			r.t.Error("the master did not end")
		}
	})
}

// await returns the first event for which ok is true.
func (r *running) await(what string, ok func(state.Event) bool) state.Event {
	r.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, more := <-r.events.C:
			if !more {
				r.t.Fatalf("waiting for %s: events ended: %v", what, r.events.Err())
			}
			if ok(e) {
				return e
			}
			if b, is := e.Row.(state.Build); is && b.Complete && strings.HasSuffix(e.Key, "/finished") {
				r.past = append(r.past, b)
			}
		case <-timeout:
			r.t.Fatalf("waiting for %s: it did not come", what)
		}
	}
}

// finished waits for the end of a build of a request.
func (r *running) finished(request int64) state.Build {
	r.t.Helper()
	for i, b := range r.past {
		if b.RequestID == request {
			r.past = slices.Delete(r.past, i, i+1)
			return b
		}
	}
	e := r.await(fmt.Sprintf("the end of a build of request %d", request), func(e state.Event) bool {
		b, ok := e.Row.(state.Build)
		return ok && b.Complete && b.RequestID == request && strings.HasSuffix(e.Key, "/finished")
	})
	return e.Row.(state.Build)
}

// started waits for the begin of a step.
func (r *running) started(name string) state.Step {
	r.t.Helper()
	return r.await("step "+name, func(e state.Event) bool {
		s, ok := e.Row.(state.Step)
		return ok && s.Name == name && strings.HasSuffix(e.Key, "/started")
	}).Row.(state.Step)
}

// printed waits until a log of some build has a line on stdout.
func (r *running) printed(line string) (l state.Log) {
	r.t.Helper()
	r.await("the line "+line, func(e state.Event) bool {
		row, ok := e.Row.(state.Log)
		if !ok || !strings.HasSuffix(e.Key, "/append") {
			return false
		}
		l = row
		found := false
		err := r.Logs().Lines(context.Background(), l.BuildID, l.ID, 0, -1, func(run state.LogRun) error {
			found = found || run.Stream == 'o' && bytes.Contains(run.Text, []byte(line+"\n"))
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
		return found
	})
	return l
}

func (r *running) connected(name string) {
	r.t.Helper()
	r.await("worker "+name, func(e state.Event) bool {
		w, ok := e.Row.(state.Worker)
		return ok && w.Name == name && w.Connected
	})
}

// submit asks for a build and returns the request.
func (r *running) submit(builder string, change ...func(*sched.Buildset)) int64 {
	r.t.Helper()
	set := sched.Buildset{Scheduler: "force", Reason: "test", Builders: []string{builder}}
	for _, c := range change {
		c(&set)
	}
	s, err := r.Submit(context.Background(), set)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, id := range s.Requests {
		return id
	}
	r.t.Fatal("no request")
	return 0
}

// build submits and waits.
func (r *running) build(builder string, change ...func(*sched.Buildset)) state.Build {
	r.t.Helper()
	return r.finished(r.submit(builder, change...))
}

func (r *running) view(fn func(state.ReadTx) error) {
	r.t.Helper()
	if err := r.Store().View(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) steps(b state.Build) (steps []state.Step) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) (err error) {
		steps, err = tx.Steps(state.Where("buildid", b.ID))
		return err
	})
	return steps
}

// results returns "name=result" for each step but the preparation.
func (r *running) results(b state.Build) string {
	r.t.Helper()
	var out []string
	for _, s := range r.steps(b)[1:] {
		out = append(out, s.Name+"="+s.Results.String())
	}
	return strings.Join(out, " ")
}

func (r *running) request(id int64) (row state.BuildRequest) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) (err error) {
		row, err = state.One(tx.BuildRequests(state.Where("buildrequestid", id)))
		return err
	})
	return row
}

func (r *running) builds(request int64) (rows []state.Build) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) (err error) {
		rows, err = tx.Builds(state.Where("buildrequestid", request))
		return err
	})
	return rows
}

func (r *running) properties(b state.Build) (p state.Properties) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) (err error) {
		p, err = tx.BuildProperties(b.ID)
		return err
	})
	return p
}

// log returns the text of a step's log; streams keeps only those.
func (r *running) log(b state.Build, step, name, streams string) string {
	r.t.Helper()
	var l state.Log
	r.view(func(tx state.ReadTx) error {
		s, err := state.One(tx.Steps(state.Where("buildid", b.ID, "name", step)))
		if err != nil {
			return err
		}
		l, err = state.One(tx.Logs(state.Where("stepid", s.ID, "name", name)))
		return err
	})
	var out bytes.Buffer
	err := r.Logs().Lines(context.Background(), b.ID, l.ID, 0, -1, func(run state.LogRun) error {
		if strings.IndexByte(streams, run.Stream) >= 0 {
			out.Write(run.Text)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.String()
}

// step is a step made of Go.
type step struct {
	run.Common
	Do func(context.Context, *run.Running) (config.Result, error)
}

type testStep struct {
	Base run.Common
	do   func(context.Context, *run.Running) (config.Result, error)
}

func (s *testStep) Type() string        { return "Test" }
func (s *testStep) Pos() prop.Pos       { return prop.Pos{} }
func (s *testStep) Common() *run.Common { return &s.Base }
func (s *testStep) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	return s.do(ctx, r)
}

func (s step) make() config.Step { return &testStep{s.Common, s.Do} }

// shell is a step that runs a shell command on the worker.
func shell(name, command string, change ...func(*run.Common)) config.Step {
	c := run.Common{Name: prop.Of(name), FlunkOnFailure: true}
	for _, f := range change {
		f(&c)
	}
	return step{c, func(ctx context.Context, r *run.Running) (config.Result, error) {
		dir, err := r.Workdir(ctx)
		if err != nil {
			return config.Exception, err
		}
		r.Describe(run.CommandText(command), "")
		l, err := r.AddLog("stdio", "s")
		if err != nil {
			return config.Exception, err
		}
		res, err := r.Command(ctx, run.Command{Name: "shell", Log: l, Args: map[string]any{
			"workdir": dir, "command": command, "logEnviron": false, "usePTY": false,
		}})
		return res.Result(), err
	}}.make()
}

// ends is a step that ends with a result at once.
func ends(name string, result config.Result, change ...func(*run.Common)) config.Step {
	c := run.Common{Name: prop.Of(name), FlunkOnFailure: true}
	for _, f := range change {
		f(&c)
	}
	return step{c, func(context.Context, *run.Running) (config.Result, error) { return result, nil }}.make()
}

// oneBuilder is a configuration with one builder "b" on the local worker "w".
func oneBuilder(steps ...config.Step) *config.Snapshot {
	return config.New(config.Snapshot{
		Workers: []*config.Worker{{Name: "w", Local: true, Class: "LocalWorker"}},
		Builders: []*config.Builder{{
			Name: "b", Builddir: "b", WorkerBuilddir: "b", Workers: []string{"w"}, Factory: &config.Factory{Steps: steps},
		}},
	})
}

type locksTemplate = prop.Template[config.LockAccesses]

func propOf(l config.LockAccesses) locksTemplate { return prop.Of(l) }
