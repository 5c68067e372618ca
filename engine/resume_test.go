package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/conn/wire"
	"buildstar/engine/run"
	"buildstar/state"
	"buildstar/worker"
)

// outpost is a worker of ours that outlives masters.
type outpost struct {
	t    testing.TB
	name string
	dir  string

	mu     sync.Mutex
	master *running
	there  chan struct{} // closed once there is a master
	line   wire.Transport
	stop   context.CancelFunc
	ended  chan error
}

// outpost starts a worker that connects to whatever master serve names.
func (s *site) outpost(name string) *outpost {
	s.t.Helper()
	o := &outpost{t: s.t, name: name, dir: filepath.Join(s.dir, "outpost-"+name), there: make(chan struct{})}
	o.start()
	s.t.Cleanup(func() { o.end() })
	return o
}

// start starts the worker's process.
func (o *outpost) start() {
	ctx, stop := context.WithCancel(context.Background())
	o.stop, o.ended = stop, make(chan error, 1)
	go func() {
		o.ended <- worker.Run(ctx, worker.Config{
			Name: o.name, Basedir: o.dir, Logger: quietLog(), OrphanTimeout: time.Hour, Dial: o.dial,
			Backoff: func(int) time.Duration { return time.Millisecond },
		})
	}()
}

func (o *outpost) end() {
	o.stop()
	if err := <-o.ended; err != nil {
		o.t.Errorf("the worker: %v", err)
	}
	o.ended <- nil
}

func (o *outpost) dial(ctx context.Context) (wire.Transport, error) {
	o.mu.Lock()
	there := o.there
	o.mu.Unlock()
	select {
	case <-there:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.master == nil {
		return nil, context.Canceled
	}
	a, b := wire.Pipe()
	o.line = a
	go o.master.server.ServePipe(context.Background(), a, o.name) // ends with its session
	return b, nil
}

// serve lets the worker connect to a master.
func (o *outpost) serve(r *running) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.master = r
	close(o.there)
}

// part keeps the worker from connecting until serve is called again, and cuts its
// connection.
func (o *outpost) part() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.master, o.there = nil, make(chan struct{})
	if o.line != nil {
		o.line.Close("the wire was cut")
	}
}

func (o *outpost) touch(name string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), nil, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// patient is a configuration whose builds wait for their workers.
func patient(workers []string, steps ...config.Step) *config.Snapshot {
	s := *remote(workers, steps...)
	s.Master.ResumeTimeout = time.Hour
	return config.New(s)
}

// waits is a command that waits for a file in the basedir of its worker.
func waits(file string) string {
	return fmt.Sprintf("while [ ! -e ../../%s ]; do sleep 0.02; done", file)
}

// A cut connection does not end a build: it goes on where it was, and the page says
// meanwhile that it is out of touch.
func TestBuildOutlivesConnection(t *testing.T) {
	s := newSite(t)
	r := s.start(patient([]string{"w"}, shell("work", "echo one; "+waits("go")+"; echo two"), shell("more", "echo three")))
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	r.printed("one")
	o.part()
	away := r.await("that it is out of touch", func(e state.Event) bool {
		b, ok := e.Row.(state.Build)
		return ok && strings.HasPrefix(b.StateString, "out of touch with worker w since ")
	}).Row.(state.Build)
	o.touch("go")
	o.serve(r)
	b := r.finished(id)
	if b.ID != away.ID || b.Results != config.Success || r.results(b) != "work=success more=success" {
		t.Errorf("build: %+v; %s", b, r.results(b))
	}
	if got := r.log(b, "work", "stdio", "o"); got != "one\ntwo\n" {
		t.Errorf("log: %q", got)
	}
	if b.StateString != "build successful" {
		t.Errorf("state string %q", b.StateString)
	}
}

// A build outlives a master that is stopped: the next one goes on with it.
func TestBuildOutlivesMaster(t *testing.T) {
	s := newSite(t)
	snap := patient([]string{"w"}, shell("before", "echo zero"), shell("work", "echo one; "+waits("go")+"; echo two"), shell("more", "echo three"))
	r := s.start(snap)
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	r.printed("one")
	first := r.builds(id)[0]
	o.part()
	r.stop()
	s.close()
	s.open()
	o.touch("go")
	r = s.start(snap)
	if req := r.request(id); !req.Claimed {
		t.Error("the request was given back")
	}
	o.serve(r)
	b := r.finished(id)
	if b.ID != first.ID || b.Results != config.Success || r.results(b) != "before=success work=success more=success" {
		t.Errorf("build: %+v; %s", b, r.results(b))
	}
	if got := r.log(b, "work", "stdio", "o"); got != "one\ntwo\n" {
		t.Errorf("log: %q", got)
	}
	if len(r.builds(id)) != 1 {
		t.Errorf("builds: %+v", r.builds(id))
	}
}

// A worker that comes back as another process has lost its commands: the build is built
// again at once.
func TestWorkerStartedAnew(t *testing.T) {
	s := newSite(t)
	r := s.start(patient([]string{"w"}, shell("work", "if [ -e ../again ]; then echo second; else touch ../again; echo first; sleep 60; fi")))
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	r.printed("first")
	o.part()
	o.end()
	o.start()
	o.serve(r)
	b := r.finished(id)
	if b.Results != config.Retry || !strings.Contains(b.StateString, "worker w was started anew") {
		t.Errorf("first build: %+v", b)
	}
	if b = r.finished(id); b.Results != config.Success || b.Number != 2 {
		t.Errorf("second build: %+v", b)
	}
}

// A worker that does not come back in time: the build is built again.
func TestResumeTimeout(t *testing.T) {
	s := newSite(t)
	snap := *patient([]string{"w", "v"}, shell("work", "if [ -e ../../again ]; then echo second; else echo first; sleep 60; fi"))
	snap.Master.ResumeTimeout = 50 * time.Millisecond
	r := s.start(config.New(snap))
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	r.printed("first")
	o.part()
	b := r.finished(id)
	if b.Results != config.Retry || !strings.Contains(b.StateString, "worker w did not come back within 50ms") {
		t.Errorf("first build: %+v", b)
	}
	// When it does come back, its command is ended before it gets a build.
	o.touch("again")
	o.serve(r)
	if b = r.finished(id); b.Results != config.Success || b.Number != 2 {
		t.Errorf("second build: %+v", b)
	}
}

// A build that is stopped while its worker is away ends at once, and its command when the
// worker is back, before the steps that always run.
func TestStopWhileAway(t *testing.T) {
	s := newSite(t)
	r := s.start(patient([]string{"w"}, shell("work", "trap 'touch ../ended; exit 1' TERM; echo one; while :; do sleep 0.05; done"),
		shell("no", "echo no"), shell("clean", "ls .. | grep -c build", always)))
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	l := r.printed("one")
	o.part()
	r.await("that it is out of touch", func(e state.Event) bool {
		b, ok := e.Row.(state.Build)
		return ok && strings.HasPrefix(b.StateString, "out of touch with worker w since ")
	})
	if err := r.StopBuild(t.Context(), l.BuildID, "enough", alice); err != nil {
		t.Fatal(err)
	}
	r.await("the end of the step", func(e state.Event) bool {
		s, ok := e.Row.(state.Step)
		return ok && s.Name == "work" && s.Complete
	})
	o.serve(r)
	b := r.finished(id)
	if b.Results != config.Cancelled || r.results(b) != "work=cancelled clean=success" {
		t.Errorf("build: %+v; %s", b, r.results(b))
	}
}

// Locks are taken again before a new build can have them.
func TestLocksOutliveMaster(t *testing.T) {
	lock := &config.Lock{Name: "l", MaxCount: 1}
	locked := func(c *run.Common) { c.Locks = plainLocks(config.LockAccess{Lock: lock, Exclusive: true}) }
	s := newSite(t)
	conf := *patient([]string{"w"}, shell("work", "echo one; "+waits("go")+"; echo two", locked))
	conf.Builders = append(conf.Builders, &config.Builder{
		Name: "other", WorkerBuilddir: "other", Workers: []string{"w"}, Factory: &config.Factory{Steps: []config.Step{shell("work", "echo", locked)}},
	})
	snap := config.New(conf)
	r := s.start(snap)
	o := s.outpost("w")
	o.serve(r)
	first := r.submit("b")
	r.printed("one")
	o.part()
	r.stop()
	s.close()
	s.open()
	r = s.start(snap)
	if held := r.locks.State(); len(held.All()) != 1 || held.All()[0].Lock != "l" {
		t.Errorf("locks: %+v", held.All())
	}
	o.serve(r)
	second := r.submit("other")
	r.await("the second to wait for the lock", func(e state.Event) bool {
		st, ok := e.Row.(state.Step)
		return ok && strings.HasPrefix(st.StateString, `acquiring lock "l" held by b #1`)
	})
	o.touch("go")
	if b := r.finished(first); b.Results != config.Success {
		t.Errorf("first: %+v", b)
	}
	if b := r.finished(second); b.Results != config.Success {
		t.Errorf("second: %+v", b)
	}
}

// revived stops the master while a build runs and starts the next one with another
// configuration, and returns the end of that build.
func (s *site) revived(first *config.Snapshot, line string, then func(), second *config.Snapshot, change ...func(*Options)) (*running, state.Build) {
	s.t.Helper()
	r := s.start(first)
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	r.printed(line)
	o.part()
	r.stop()
	s.close()
	s.open()
	then()
	r = s.start(second, change...)
	o.serve(r)
	return r, r.finished(id)
}

// withInputs makes a configuration differ from others, as files do.
func withInputs(s *config.Snapshot, text string, env map[string]*string) *config.Snapshot {
	c := *s
	c.Inputs = []config.Input{{Path: "master.star", Data: []byte(text)}}
	c.Env = env
	return config.New(c)
}

// A build goes on with the configuration it started with, or is built again.
func TestReviveConfiguration(t *testing.T) {
	work := func(last string) *config.Snapshot {
		return patient([]string{"w"}, shell("work", "echo one; sleep 0.2"), shell("last", "echo "+last))
	}
	old := func(ctx context.Context, inputs []config.Input, env map[string]*string) (*config.Snapshot, error) {
		if string(inputs[0].Data) != "old" || inputs[0].Path != "master.star" {
			return nil, fmt.Errorf("inputs %q", inputs)
		}
		return withInputs(work("old"), "old", env), nil
	}
	value := "1"
	for name, tt := range map[string]struct {
		replay func(context.Context, []config.Input, map[string]*string) (*config.Snapshot, error)
		env    string
		want   string
	}{
		"it goes on with the old one": {replay: old, env: "1"},
		"the old one cannot be evaluated": {replay: func(context.Context, []config.Input, map[string]*string) (*config.Snapshot, error) {
			return nil, errBroken
		}, env: "1", want: "evaluate the configuration it started with: broken"},
		"a variable of the environment changed": {replay: old, env: "2", want: "the environment variable BUILDSTAR_TEST_X changed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("BUILDSTAR_TEST_X", tt.env)
			s := newSite(t)
			r, b := s.revived(withInputs(work("old"), "old", map[string]*string{"BUILDSTAR_TEST_X": &value}), "one", func() {},
				withInputs(work("new"), "new", nil), func(o *Options) { o.Replay = tt.replay })
			if tt.want != "" {
				if b.Results != config.Retry || !strings.Contains(b.StateString, tt.want) {
					t.Errorf("build: %+v", b)
				}
				b = r.finished(b.RequestID)
				if got := r.log(b, "last", "stdio", "o"); b.Results != config.Success || got != "new\n" {
					t.Errorf("built again: %+v: %q", b, got)
				}
				return
			}
			if got := r.log(b, "last", "stdio", "o"); b.Results != config.Success || got != "old\n" || b.Number != 1 {
				t.Errorf("build: %+v: %q", b, got)
			}
		})
	}
}

var errBroken = fmt.Errorf("broken")

// A step that would now send another command than the one that runs.
func TestReviveUnlike(t *testing.T) {
	n := 0
	s := newSite(t)
	snap := patient([]string{"w"}, do("work", func(ctx context.Context, r *run.Running) (config.Result, error) {
		n++
		l, err := r.AddLog("stdio", "s")
		if err != nil {
			return config.Exception, err
		}
		res, err := r.Command(ctx, run.Command{Name: "shell", Log: l, Args: map[string]any{
			"workdir": r.Builddir(), "command": fmt.Sprintf("echo one; [ -e ../again ] || sleep 60; echo %d", n), "logEnviron": false, "usePTY": false,
		}})
		return res.Result(), err
	}))
	r, b := s.revived(snap, "one", func() {
		if err := os.WriteFile(filepath.Join(s.dir, "outpost-w", "again"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}, snap)
	if b.Results != config.Retry || !strings.Contains(b.StateString, `step "work" would now send another command`) {
		t.Errorf("build: %+v", b)
	}
	if b = r.finished(b.RequestID); b.Results != config.Success || b.Number != 2 {
		t.Errorf("built again: %+v", b)
	}
}

// A stop that was asked for before the master ended has its effect after.
func TestReviveStopped(t *testing.T) {
	s := newSite(t)
	snap := patient([]string{"w"}, shell("work", "echo one; sleep 60"), shell("no", "true"), shell("clean", "echo cleaned", always))
	r, b := s.revived(snap, "one", func() {
		err := s.store.Update(context.Background(), func(tx state.Tx) error {
			b, err := state.One(tx.Builds(state.Where("buildid", 1)))
			if err != nil {
				return err
			}
			b.StopReason = "stopped by alice"
			return tx.PutBuild(b, "update")
		})
		if err != nil {
			t.Fatal(err)
		}
	}, snap)
	if b.Results != config.Cancelled || r.results(b) != "work=cancelled clean=success" || !strings.Contains(b.StateString, "stopped by alice") {
		t.Errorf("build: %+v; %s", b, r.results(b))
	}
	if got := r.log(b, "work", "stdio", "h"); !strings.Contains(got, "command interrupted") {
		t.Errorf("the command was not interrupted: %q", got)
	}
}

// What a step does on the master and cannot be done twice is not done twice.
func TestReviveNotAgain(t *testing.T) {
	ran := 0
	s := newSite(t)
	snap := patient([]string{"w"}, do("work", func(ctx context.Context, r *run.Running) (config.Result, error) {
		if err := r.NotAgain(ctx); err != nil {
			return config.Exception, err
		}
		l, err := r.AddLog("stdio", "s")
		if err != nil {
			return config.Exception, err
		}
		if ran++; ran == 2 {
			return config.Success, nil
		}
		if err := l.Write('o', "one"); err != nil {
			return config.Exception, err
		}
		<-ctx.Done()
		return config.Exception, ctx.Err()
	}))
	r, b := s.revived(snap, "one", func() {}, snap)
	if b.Results != config.Retry || !strings.Contains(b.StateString, `the master ended while step "work" ran a program on it`) || ran != 1 {
		t.Errorf("build: %+v; it ran %d times", b, ran)
	}
	if b = r.finished(b.RequestID); b.Results != config.Success || b.Number != 2 {
		t.Errorf("built again: %+v", b)
	}
}

// A step that wants the output of its command gets all of it again from the worker, also when
// that is more than is kept of other commands.
func TestReviveCaptured(t *testing.T) {
	const size = 33 << 20
	s := newSite(t)
	snap := patient([]string{"w"}, do("work", func(ctx context.Context, r *run.Running) (config.Result, error) {
		l, err := r.AddLog("stdio", "s")
		if err != nil {
			return config.Exception, err
		}
		dir, err := r.Workdir(ctx)
		if err != nil {
			return config.Exception, err
		}
		var out, other int
		res, err := r.Command(ctx, run.Command{Name: "shell", Output: func(stream byte, text []byte) {
			if stream == 'e' {
				other += len(text)
			} else {
				out += len(text)
			}
			if other == size && out == 0 {
				_ = l.Write('o', "all of it") // the test would miss it
			}
		}, Args: map[string]any{
			"workdir": dir, "logEnviron": false, "usePTY": false,
			"command": fmt.Sprintf(`yes "$(printf %%01023d 0)" | head -n %d >&2; %s; echo out`, size/1024, waits("go")),
		}})
		r.SetProperty("sizes", fmt.Sprint(out, other), "work")
		return res.Result(), err
	}))
	r, b := s.revived(snap, "all of it", func() {
		if err := os.WriteFile(filepath.Join(s.dir, "outpost-w", "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}, snap)
	if got := r.properties(b)["sizes"].Value; b.Results != config.Success || b.Number != 1 || got != fmt.Sprint(len("out\n"), size) {
		t.Errorf("build: %+v; %v", b, got)
	}
}
