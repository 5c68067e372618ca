package steps

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buildstar/builtins/schedulers"
	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/engine"
	"buildstar/engine/sched"
	"buildstar/starlark"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
	"buildstar/state"
	"buildstar/state/logfile"
	"buildstar/state/sqlite"
)

// fullMaster is a master with everything, for steps that need one. Its files outlive it.
type fullMaster struct {
	*engine.Master
	t     *testing.T
	dir   string
	store *sqlite.Store
	logs  *logfile.Store
	stop  func()                 // takes the master down
	put   func(*config.Snapshot) // changes what is loaded
}

// newMaster starts a master with the rest of a configuration whose c has the local
// workers "w" and "v", with room for two builds each.
func newMaster(t *testing.T, src string) *fullMaster {
	t.Helper()
	m := &fullMaster{t: t, dir: t.TempDir()}
	var err error
	if m.store, err = sqlite.Open(t.Context(), filepath.Join(m.dir, "state.sqlite"), sqlite.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.store.Close() })
	if m.logs, err = logfile.Open(filepath.Join(m.dir, "logs"), logfile.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.logs.Close() })
	m.configure(src)
	m.start()
	return m
}

func (m *fullMaster) configure(src string) {
	m.t.Helper()
	const head = `c = {"workers": [worker.LocalWorker("w", max_builds = 2), worker.LocalWorker("v", max_builds = 2)]}
def builder(name, *steps, workernames = ["w", "v"], **kwargs):
    return util.BuilderConfig(name = name, workernames = workernames, factory = util.BuildFactory(list(steps)), **kwargs)
# waits until the file go is below basedir
hold = steps.ShellCommand(name = "hold", command = ["sh", "-c", "echo up; while ! test -e %s/go; do sleep 0.02; done"], logEnviron = False)
`
	if err := os.WriteFile(filepath.Join(m.dir, "master.star"), []byte(strings.ReplaceAll(head, "%s", m.dir)+src), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// start runs a master on the files until the test ends.
func (m *fullMaster) start() {
	m.t.Helper()
	m.Master = engine.New(engine.Options{
		Basedir: m.dir, Store: m.store, Logs: m.logs, Logger: slog.New(slog.DiscardHandler),
		Backoff: func(int64) time.Duration { return 0 },
		Load: func(ctx context.Context) (*config.Snapshot, error) {
			s, _, err := starlark.Load(ctx, filepath.Join(m.dir, "master.star"), starlark.Options{
				Modules: []*spec.Module{worker.Module, util.Module, schedulers.Module, Module}, Function: call.Renderable,
			})
			if err == nil && m.put != nil {
				m.put(s)
			}
			return s, err
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	var down bool
	m.stop = func() {
		if cancel(); down {
			return
		}
		down = true
		if err := <-ended; err != nil {
			m.t.Errorf("Run: %v", err)
		}
	}
	m.t.Cleanup(m.stop)
	select {
	case <-m.Ready():
	case err := <-ended:
		ended <- err
		m.t.FailNow()
	}
}

// submit asks for a build and returns the request.
func (m *fullMaster) submit(builder string, change ...func(*sched.Buildset)) int64 {
	m.t.Helper()
	set := sched.Buildset{Scheduler: "force", Builders: []string{builder}}
	for _, c := range change {
		c(&set)
	}
	s, err := m.Submit(m.t.Context(), set)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, id := range s.Requests {
		return id
	}
	return 0
}

// await returns once ok is true; it asks after each event.
func (m *fullMaster) await(what string, ok func(state.ReadTx) bool) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 30*time.Second)
	defer cancel()
	sub := m.store.Subscribe(ctx, "*/*/*")
	for {
		done := false
		m.view(func(tx state.ReadTx) { done = ok(tx) })
		if done {
			return
		}
		if _, more := <-sub.C; !more {
			m.t.Fatalf("waiting for %s: it did not come: %v", what, sub.Err())
		}
	}
}

func (m *fullMaster) view(fn func(state.ReadTx)) {
	m.t.Helper()
	err := m.store.View(context.Background(), func(tx state.ReadTx) error {
		fn(tx)
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
}

// must returns rows that are read without an error.
func must[T any](rows T, err error) T {
	if err != nil {
		panic(err)
	}
	return rows
}

// finished waits for the end of a request and returns its newest build.
func (m *fullMaster) finished(request int64) (b state.Build) {
	m.t.Helper()
	m.await("the end of a request", func(tx state.ReadTx) bool {
		r := must(state.One(tx.BuildRequests(state.Where("buildrequestid", request))))
		if builds := must(tx.Builds(state.Where("buildrequestid", request))); len(builds) > 0 {
			b = builds[len(builds)-1]
		}
		return r.Complete
	})
	return b
}

func (m *fullMaster) build(builder string, change ...func(*sched.Buildset)) state.Build {
	m.t.Helper()
	return m.finished(m.submit(builder, change...))
}

// step returns a step of a build.
func (m *fullMaster) step(b state.Build, name string) (s state.Step) {
	m.t.Helper()
	m.view(func(tx state.ReadTx) { s = must(state.One(tx.Steps(state.Where("buildid", b.ID, "name", name)))) })
	return s
}

// log returns the text of a log of a build.
func (m *fullMaster) log(b state.Build, name string) string {
	m.t.Helper()
	var out strings.Builder
	m.view(func(tx state.ReadTx) {
		for _, l := range must(tx.Logs(state.Where("buildid", b.ID, "name", name))) {
			err := m.logs.Lines(context.Background(), b.ID, l.ID, 0, -1, func(run state.LogRun) error {
				out.Write(run.Text)
				return nil
			})
			if err != nil {
				m.t.Error(err)
			}
		}
	})
	return out.String()
}

// letGo ends the steps that hold.
func (m *fullMaster) letGo() { put(m.t, filepath.Join(m.dir, "go"), nil) }

// builds returns the builds of a builder, oldest first.
func (m *fullMaster) builds(builder string) (rows []state.Build) {
	m.t.Helper()
	m.view(func(tx state.ReadTx) {
		id := must(state.One(tx.Builders(state.Where("name", builder)))).ID
		rows = must(tx.Builds(state.Where("builderid", id)))
	})
	return rows
}

// holding waits until n builds of a builder have come to their step hold.
func (m *fullMaster) holding(builder string, n int) {
	m.t.Helper()
	m.await(builder+" holds", func(tx state.ReadTx) bool {
		id := must(state.One(tx.Builders(state.Where("name", builder)))).ID
		builds := must(tx.Builds(state.Where("builderid", id, "complete", false)))
		held := 0
		for _, b := range builds {
			steps := must(tx.Steps(state.Where("buildid", b.ID)))
			if slices.ContainsFunc(steps, func(s state.Step) bool { return s.Name == "hold" && !s.Complete }) {
				held++
			}
		}
		return held >= n
	})
}
