package engine

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/conn/wire"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
	"buildstar/worker"
)

// gate is a transport that a test can close to traffic and look into.
type gate struct {
	wire.Transport
	mu   sync.Mutex
	mute bool
	sent bytes.Buffer
}

func (g *gate) Write(p []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent.Write(p)
	if g.mute {
		return nil
	}
	return g.Transport.Write(p)
}

func (g *gate) silence() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mute = true
}

func (g *gate) has(text string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return bytes.Contains(g.sent.Bytes(), []byte(text))
}

// attach connects a worker of ours that is not local, and returns its gate and what
// makes it go away.
func (r *running) attach(name string) (*gate, func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a, b := wire.Pipe()
	g := &gate{Transport: a}
	var wg sync.WaitGroup
	served := make(chan struct{})
	wg.Go(func() {
		r.server.ServePipe(ctx, g, name)
		close(served)
	})
	dir := r.o.Basedir + "/remote-" + name
	wg.Go(func() {
		worker.Serve(ctx, b, worker.Config{Name: name, Basedir: dir, Logger: quietLog()})
		b.Close("gone")
	})
	var once sync.Once
	leave := func() {
		once.Do(func() {
			a.Close("the wire was cut")
			<-served // so that it is not the master that ends it
			cancel()
			wg.Wait()
		})
	}
	r.t.Cleanup(leave)
	r.connected(name)
	return g, leave
}

// remote is a configuration with a builder on workers that connect from outside.
func remote(workers []string, steps ...config.Step) *config.Snapshot {
	s := config.Snapshot{Builders: []*config.Builder{{
		Name: "b", WorkerBuilddir: "b", Workers: workers, Factory: &config.Factory{Steps: steps},
	}}}
	for _, w := range workers {
		s.Workers = append(s.Workers, &config.Worker{Name: w, Password: "pw"})
	}
	return config.New(s)
}

var alice = sched.User{Name: "alice"}

func TestWorkerLost(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"},
		shell("work", "if [ -e ../again ]; then echo second; else touch ../again; echo first; sleep 60; fi"),
		ends("always", config.Success, always)))
	_, leave := r.attach("w")
	id := r.submit("b")
	r.printed("first")
	leave()
	b := r.finished(id)
	if b.Results != config.Retry || !strings.Contains(b.StateString, "worker w was lost") || r.results(b) != "work=retry" {
		t.Errorf("first build: %+v; %s", b, r.results(b))
	}
	r.attach("w")
	b = r.finished(id)
	if b.Results != config.Success || b.Number != 2 {
		t.Errorf("second build: %+v", b)
	}
	if req := r.request(id); req.Retries != 1 || req.Results != config.Success {
		t.Errorf("request: %+v", req)
	}
}

// After a lost build another worker is preferred.
func TestRetryPrefersAnotherWorker(t *testing.T) {
	var drop func()
	var first string
	snap := remote([]string{"w1", "w2"}, do("drop", func(ctx context.Context, s *run.Running) (config.Result, error) {
		name, _ := s.Property("workername")
		if first == "" {
			first = name.(string)
			drop()
			<-ctx.Done()
			return config.Exception, ctx.Err()
		}
		s.SetProperty("second", name, "test")
		return config.Success, nil
	}))
	r := newSite(t).start(snap)
	for _, w := range []string{"w1", "w2"} {
		r.attach(w)
	}
	drop = func() { r.fleet.session(first).Close("test") }
	id := r.submit("b")
	if b := r.finished(id); b.Results != config.Retry {
		t.Fatalf("first build: %+v", b)
	}
	b := r.finished(id)
	if second := r.properties(b)["second"].Value; second == first || second == nil {
		t.Errorf("built on %q, then on %q", first, second)
	}
}

// After five retries the request ends as EXCEPTION that names the builds.
func TestRetryLimit(t *testing.T) {
	var r *running
	r = newSite(t).start(remote([]string{"w"}, do("drop", func(ctx context.Context, s *run.Running) (config.Result, error) {
		r.fleet.session("w").Close("test")
		<-ctx.Done()
		return config.Exception, ctx.Err()
	})))
	id := int64(0)
	var b state.Build
	for range maxRetries + 1 {
		_, leave := r.attach("w")
		if id == 0 {
			id = r.submit("b")
		}
		b = r.finished(id)
		leave()
	}
	if b.Results != config.Exception || !strings.Contains(b.StateString, "gave up after 5 retries (builds #1, #2, #3, #4, #5, #6)") {
		t.Errorf("last build: %+v", b)
	}
	if req := r.request(id); !req.Complete || req.Results != config.Exception {
		t.Errorf("request: %+v", req)
	}
}

func TestStopBuild(t *testing.T) {
	lock := &config.Lock{Name: "l", MaxCount: 1}
	locked := func(c *run.Common) { c.Locks = plainLocks(config.LockAccess{Lock: lock, Exclusive: true}) }
	phases := map[string]struct {
		steps []config.Step
		when  func(*running, *gate)
		ran   string
	}{
		"in a command": {
			[]config.Step{shell("sleep", "echo up; sleep 60"), ends("no", config.Success), ends("yes", config.Success, always)},
			func(r *running, _ *gate) { r.printed("up") },
			"sleep=cancelled yes=success",
		},
		"while it waits for a lock": {
			[]config.Step{ends("wait", config.Success, locked), ends("yes", config.Success, always)},
			func(r *running, _ *gate) {
				s := r.started("wait")
				if !strings.Contains(s.StateString, `acquiring lock "l" held by someone`) {
					r.t.Errorf("state string %q", s.StateString)
				}
			},
			"wait=cancelled yes=success",
		},
		"in an alwaysRun step, again": {
			[]config.Step{shell("sleep", "echo up; sleep 60"), shell("clean", "echo cleaning; sleep 60", always)},
			func(r *running, _ *gate) {
				first := r.printed("up")
				if err := r.StopBuild(context.Background(), first.BuildID, "", alice); err != nil {
					r.t.Fatal(err)
				}
				r.started("clean")
				r.printed("cleaning")
			},
			"sleep=cancelled clean=cancelled",
		},
	}
	for name, tt := range phases {
		t.Run(name, func(t *testing.T) {
			r := newSite(t).start(remote([]string{"w"}, tt.steps...))
			g, _ := r.attach("w")
			r.locks.Try(1<<40, "someone", config.LockAccesses{{Lock: lock, Exclusive: true}}, "")
			id := r.submit("b")
			tt.when(r, g)
			open := r.builds(id)
			if err := r.StopBuild(context.Background(), open[0].ID, "enough", alice); err != nil {
				t.Fatal(err)
			}
			b := r.finished(id)
			if got := r.results(b); b.Results != config.Cancelled || got != tt.ran {
				t.Errorf("got %v: %s", b.Results, got)
			}
			if !strings.Contains(b.StateString, "by alice") || !strings.Contains(b.StopReason, "alice") {
				t.Errorf("texts: %q, %q", b.StateString, b.StopReason)
			}
			if err := r.StopBuild(context.Background(), b.ID, "", alice); err == nil || !strings.Contains(err.Error(), "complete") {
				t.Errorf("stop again: %v", err)
			}
		})
	}
}

func plainLocks(accs ...config.LockAccess) (t locksTemplate) {
	return propOf(config.LockAccesses(accs))
}

// Stop reaches a build whose worker does not answer (docs/requirements.md D1 pain 1).
func TestStopWhilePreparing(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}, ends("a", config.Success)))
	g, _ := r.attach("w")
	g.silence()
	id := r.submit("b")
	r.started("worker_preparation")
	start := time.Now()
	if err := r.StopBuild(context.Background(), r.builds(id)[0].ID, "", alice); err != nil {
		t.Fatal(err)
	}
	b := r.finished(id)
	if b.Results != config.Cancelled || time.Since(start) > 2*time.Second {
		t.Errorf("after %v: %+v", time.Since(start), b)
	}
}

// A cancelled request completes as CANCELLED, waiting or building.
func TestCancelRequest(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}, shell("sleep", "echo up; sleep 60")))
	ctx := context.Background()
	waiting := r.submit("b")
	if err := r.CancelRequest(ctx, waiting, "", alice); err != nil {
		t.Fatal(err)
	}
	if req := r.request(waiting); !req.Complete || req.Results != config.Cancelled {
		t.Errorf("waiting request: %+v", req)
	}
	r.attach("w")
	building := r.submit("b")
	r.printed("up")
	if err := r.CancelRequest(ctx, building, "no need", alice); err != nil {
		t.Fatal(err)
	}
	if b := r.finished(building); b.Results != config.Cancelled || !strings.Contains(b.StateString, "cancelled by alice: no need") {
		t.Errorf("build: %+v", b)
	}
	if err := r.CancelRequest(ctx, building, "", alice); err == nil {
		t.Error("a complete request was cancelled")
	}
	if builds := r.builds(waiting); len(builds) != 0 {
		t.Errorf("the cancelled request was built: %v", builds)
	}
}

// A shutdown interrupts builds; the next start builds their requests again, and it
// counts as no retry.
func TestShutdownRequeues(t *testing.T) {
	s := newSite(t)
	r := s.start(oneBuilder(shell("work", "if [ -e ../again ]; then echo second; else touch ../again; echo first; sleep 60; fi")))
	id := r.submit("b")
	r.printed("first")
	r.stop()
	s.close()
	s.open()
	r = s.start(oneBuilder(shell("work", "echo second")))
	b := r.finished(id)
	builds := r.builds(id)
	if b.Results != config.Success || len(builds) != 2 || builds[0].Results != config.Retry {
		t.Errorf("builds: %+v", builds)
	}
	if !strings.Contains(builds[0].StateString, "shutting down") {
		t.Errorf("state string %q", builds[0].StateString)
	}
	if req := r.request(id); req.Retries != 0 {
		t.Errorf("it counted %d retries", req.Retries)
	}
}

// What a killed master left open is closed as RETRY and built again; the orphaned
// command is ended before the worker gets work.
func TestRestartReconciles(t *testing.T) {
	s := newSite(t)
	snap := remote([]string{"w"}, shell("work", "echo hello"))
	r := s.start(snap)
	r.stop()
	var build state.Build
	var request int64
	err := s.store.Update(context.Background(), func(tx state.Tx) error {
		ss, err := tx.AddSourceStamp(state.SourceStamp{})
		if err != nil {
			return err
		}
		bs := state.Buildset{Results: config.Unfinished, SourceStamps: []state.SourceStamp{{ID: ss}}}
		_, ids, err := tx.AddBuildset(bs, []state.BuildRequest{{BuilderID: 1, Results: config.Unfinished}})
		if err != nil {
			return err
		}
		request = ids[0]
		if err := tx.Claim(1, request); err != nil {
			return err
		}
		if build, err = tx.AddBuild(state.Build{BuilderID: 1, RequestID: request, WorkerID: 1, StartedAt: 1, Results: config.Unfinished}); err != nil {
			return err
		}
		step, err := tx.AddStep(state.Step{BuildID: build.ID, Name: "work", StartedAt: 1, Results: config.Unfinished})
		if err != nil {
			return err
		}
		if _, err := tx.AddLog(state.Log{StepID: step, BuildID: build.ID, Name: "stdio", Slug: "stdio", Type: "s"}); err != nil {
			return err
		}
		return tx.AddCommand(state.Command{ID: fmt.Sprintf("1-%d.1", build.ID), BuildID: build.ID, StepID: step, Worker: "w", ArgsHash: []byte{1}})
	})
	if err != nil {
		t.Fatal(err)
	}
	s.close()
	s.open()
	r = s.start(snap)
	g, _ := r.attach("w")
	if b := r.finished(request); b.ID != build.ID {
		t.Errorf("first build: %+v", b)
	}
	b := r.finished(request)
	if b.Results != config.Success || b.ID == build.ID {
		t.Errorf("second build: %+v", b)
	}
	first := r.builds(request)[0]
	if first.Results != config.Retry || !strings.Contains(first.StateString, "restart of the master") {
		t.Errorf("first build: %+v", first)
	}
	steps := r.steps(first)
	if len(steps) != 1 || !steps[0].Complete || steps[0].Results != config.Retry {
		t.Errorf("steps of the first build: %+v", steps)
	}
	for _, id := range []string{fmt.Sprintf("1-%d.1", build.ID), fmt.Sprintf("1-%d.2", build.ID)} {
		if !g.has(id) {
			t.Errorf("command %s was not interrupted", id)
		}
	}
	r.view(func(tx state.ReadTx) error {
		cmds, err := tx.Commands(build.ID)
		if err != nil {
			return err
		}
		if len(cmds) != 1 || !cmds[0].Done {
			t.Errorf("journal: %+v", cmds)
		}
		open, err := tx.Logs(state.Where("complete", false))
		if len(open) != 0 {
			t.Errorf("open logs: %+v", open)
		}
		return err
	})
}
