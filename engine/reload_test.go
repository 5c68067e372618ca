package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

// file is a configuration that a test changes while the master runs.
type file struct {
	mu    sync.Mutex
	snap  *config.Snapshot
	err   error
	loads int
}

func (f *file) load(context.Context) (*config.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loads++
	return f.snap, f.err
}

func (f *file) write(s config.Snapshot, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snap, f.err = config.New(s), err
}

// startFile runs a master that loads f.
func (s *site) startFile(f *file, change ...func(*Options)) *running {
	return s.start(nil, append(change, func(o *Options) { o.Load = f.load })...)
}

func (r *running) reload() Reloaded {
	r.t.Helper()
	done, err := r.Reload(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

// gated is a step that says when it runs, and waits.
func gated(name string) (s config.Step, entered chan struct{}, open chan struct{}) {
	entered, open = make(chan struct{}, 100), make(chan struct{})
	return do(name, func(ctx context.Context, _ *run.Running) (config.Result, error) {
		entered <- struct{}{}
		select {
		case <-open:
			return config.Success, nil
		case <-ctx.Done():
			return config.Cancelled, ctx.Err()
		}
	}), entered, open
}

func (r *running) enters(entered chan struct{}) {
	r.t.Helper()
	select {
	case <-entered:
	case <-time.After(patience):
		r.t.Fatal("the step did not begin")
	}
}

// Those who ask during a reload wait for one more, which they share.
func TestReloadsAreOneAtATime(t *testing.T) {
	snap := oneBuilder(ends("a", config.Success))
	begun, goOn := make(chan struct{}), make(chan struct{})
	var loads, at atomic.Int32
	r := newSite(t).start(snap, func(o *Options) {
		o.Load = func(context.Context) (*config.Snapshot, error) {
			if at.Add(1) > 1 {
				t.Error("two evaluations at once")
			}
			defer at.Add(-1)
			if loads.Add(1) > 1 {
				begun <- struct{}{}
				<-goOn
			}
			return snap, nil
		}
	})
	var wg sync.WaitGroup
	wg.Go(func() { r.reload() })
	<-begun
	var asked []*reload
	for range 5 {
		asked = append(asked, r.reloads.ask(r.Master))
	}
	for _, a := range asked {
		if a != asked[0] {
			t.Error("those who asked during a reload do not share the next one")
		}
	}
	goOn <- struct{}{}
	wg.Wait()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who gave up: %v", err)
	}
	goOn <- struct{}{}
	<-asked[0].done
	<-begun // of the caller who gave up
	goOn <- struct{}{}
	r.reload2(begun, goOn)
	if n := loads.Load(); n != 5 {
		t.Errorf("%d evaluations, want 5", n)
	}
}

// reload2 reloads with a Load that waits.
func (r *running) reload2(begun, goOn chan struct{}) {
	a := r.reloads.ask(r.Master)
	<-begun
	goOn <- struct{}{}
	<-a.done
}

// An evaluation that fails leaves everything as it was; its problems are in Health,
// without source lines, until a reload works.
func TestReloadFails(t *testing.T) {
	f := &file{snap: oneBuilder(ends("a", config.Success))}
	var told []error
	r := newSite(t).startFile(f, func(o *Options) { o.Reloaded = func(_ Reloaded, err error) { told = append(told, err) } })
	before := r.Snapshot()
	ps := prop.Problems{{Code: "bad-value", Pos: prop.Pos{File: "master.star", Line: 3, Col: 7}, Text: "bad", Source: `worker.Worker("w", "secret")`}}
	for _, broken := range []error{ps, errors.New("read master.star: permission denied")} {
		f.write(config.Snapshot{}, broken)
		_, err := r.Reload(t.Context())
		if err == nil || strings.Contains(fmt.Sprintf("%+v %#v", err, err), "secret") {
			t.Errorf("the answer: %#v", err)
		}
		h := r.Health()
		if len(h.ConfigProblems) != 1 || h.ConfigProblems[0].Source != "" || !strings.Contains(broken.Error(), h.ConfigProblems[0].Text) {
			t.Errorf("health: %+v", h.ConfigProblems)
		}
		if r.Snapshot() != before || h.Generation != 1 {
			t.Error("the broken configuration had an effect")
		}
		r.await("an event for pages that are open", func(e state.Event) bool { return strings.HasPrefix(e.Key, "masters/") })
	}
	if ps[0].Source == "" {
		t.Error("the problems of the caller were changed")
	}
	f.write(*oneBuilder(ends("b", config.Success)), nil)
	if done := r.reload(); done.Generation != 1 || len(done.Diff.Changed) != 0 && done.Diff.Changed[0].Name != "b" {
		t.Errorf("%+v", done)
	}
	if r.Health().ConfigProblems != nil {
		t.Error("the problems stay after a reload that worked")
	}
	if len(told) != 3 || told[0] == nil || told[2] != nil {
		t.Errorf("told %v", told)
	}
}

// A reload that a shutdown finds evaluating ends, and none begins any more.
func TestReloadDuringShutdown(t *testing.T) {
	snap := oneBuilder(ends("a", config.Success))
	begun := make(chan struct{})
	first := true
	r := newSite(t).start(snap, func(o *Options) {
		o.Load = func(ctx context.Context) (*config.Snapshot, error) {
			if first {
				first = false
				return snap, nil
			}
			close(begun)
			<-ctx.Done()
			return snap, nil // evaluated just in time
		}
	})
	a := r.reloads.ask(r.Master)
	<-begun
	r.stop()
	<-a.done
	if !errors.Is(a.err, ErrConflict) {
		t.Errorf("the reload that ran: %v", a.err)
	}
	if _, err := r.Reload(t.Context()); !errors.Is(err, ErrConflict) {
		t.Errorf("a reload afterwards: %v", err)
	}
}

// part is a Part that fails on demand and remembers.
type part struct {
	fail                        error
	prepared, committed, undone int
}

func (p *part) Prepare(context.Context, *config.Snapshot) (Change, error) {
	if p.fail != nil {
		return Change{}, p.fail
	}
	p.prepared++
	return Change{Commit: func() { p.committed++ }, Discard: func() { p.undone++ }}, nil
}

// Wherever the preparation fails, nothing has changed and nothing stays open.
func TestPrepareFails(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	listen := func(port int) config.Listen { return config.Listen{Host: "127.0.0.1", Port: port} }

	f := &file{snap: oneBuilder(ends("a", config.Success))}
	var full atomic.Bool
	r := newSite(t).startFile(f, func(o *Options) { o.Store = fullStore{o.Store, &full, make(chan struct{}, 1)} })
	one, two := &part{}, &part{}
	var leave []func()
	for _, p := range []*part{one, two} {
		l, err := r.Follow(t.Context(), p)
		if err != nil || p.committed != 1 {
			t.Fatalf("follow: %v %+v", err, p)
		}
		leave = append(leave, l)
	}
	before := r.Snapshot()
	next := *oneBuilder(ends("b", config.Success))
	next.Builders[0].Name = "b2"
	next.Workers = append(next.Workers, &config.Worker{Name: "new", Password: "p"})
	next.Master.Title = "new"
	for _, tt := range []struct {
		name    string
		listen  []config.Listen
		fails   *part
		full    bool
		discard int // how often the first part was prepared for nothing
	}{
		{name: "second port in use", listen: []config.Listen{listen(port), listen(busy.Addr().(*net.TCPAddr).Port)}},
		{name: "first part", listen: []config.Listen{listen(port)}, fails: one},
		{name: "second part", listen: []config.Listen{listen(port)}, fails: two, discard: 1},
		{name: "disk full", listen: []config.Listen{listen(port)}, full: true, discard: 1},
	} {
		next.Master.WorkerListen = tt.listen
		f.write(next, nil)
		if tt.fails != nil {
			tt.fails.fail = errors.New("cannot")
		}
		full.Store(tt.full)
		was := *one
		if _, err := r.Reload(t.Context()); err == nil {
			t.Errorf("%s: no error", tt.name)
		}
		full.Store(false)
		if tt.fails != nil {
			tt.fails.fail = nil
		}
		if one.committed != was.committed || two.committed != 1 || one.undone-was.undone != tt.discard {
			t.Errorf("%s: parts %+v %+v", tt.name, one, two)
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
			t.Errorf("%s: the new port stayed open: %v", tt.name, err)
		} else {
			l.Close()
		}
		if r.Snapshot() != before || r.Health().Generation != 1 || len(r.WorkerAddrs()) != 0 || len(r.Health().ConfigProblems) != 1 {
			t.Errorf("%s: it had an effect", tt.name)
		}
		r.view(func(tx state.ReadTx) error {
			if n, err := tx.Count("builders", state.Where("name", "b2")); n != 0 || err != nil {
				t.Errorf("%s: %d rows of the new builder, %v", tt.name, n, err)
			}
			return nil
		})
		if err := r.Login("new", "p"); err == nil {
			t.Errorf("%s: the new worker may log in", tt.name)
		}
		if b := r.build("b"); b.Results != config.Success {
			t.Errorf("%s: %+v", tt.name, b)
		}
	}
	next.Master.WorkerListen = []config.Listen{listen(port)}
	f.write(next, nil)
	r.reload()
	if one.committed != 2 || two.committed != 2 || len(r.WorkerAddrs()) != 1 || r.Login("new", "p") != nil {
		t.Errorf("the good one: %+v %+v", one, two)
	}
	leave[0]()
	r.reload()
	if one.committed != 2 || two.committed != 3 {
		t.Errorf("after one left: %+v %+v", one, two)
	}
}

// Builds and sessions whose lines did not change notice nothing; the holder of a lock
// keeps it while its maxCount changes.
func TestReloadKeepsWhatRuns(t *testing.T) {
	wait, entered, open := gated("wait")
	lock := func(n int) *config.Lock { return &config.Lock{Name: "l", MaxCount: n} }
	base := func(n int) config.Snapshot {
		s := *remote([]string{"w", "w2"}, wait, ends("after", config.Success))
		l := lock(n)
		s.Locks = []*config.Lock{l}
		s.Builders[0].Locks = propOf(config.LockAccesses{{Lock: l, Count: 1}})
		return s
	}
	f := &file{}
	f.write(base(1), nil)
	r := newSite(t).startFile(f)
	r.attach("w")
	r.attach("w2")
	session := r.fleet.session("w")
	first := r.submit("b")
	r.enters(entered)
	second := r.submit("b")
	for i := range 20 {
		s := base(1)
		s.Master.Title = fmt.Sprint(i)
		s.Workers = append(s.Workers, &config.Worker{Name: fmt.Sprint("x", i), Password: "p"})
		s.Builders[0].Description = fmt.Sprint(i)
		f.write(s, nil)
		r.reload()
		if held := r.holds(); len(held) != 1 || held[0].By.Name != "b #1" {
			t.Fatalf("reload %d: locks are held by %+v", i, held)
		}
	}
	if r.fleet.session("w") != session || session.Err() != nil {
		t.Error("the worker has another session")
	}
	select {
	case <-entered:
		t.Fatal("the second build did not wait for the lock")
	default:
	}
	f.write(base(2), nil)
	r.reload()
	r.enters(entered) // a lock that became bigger lets it in at once
	close(open)
	for _, id := range []int64{first, second} {
		if b := r.finished(id); b.Results != config.Success || r.results(b) != "wait=success after=success" {
			t.Errorf("%+v: %s", b, r.results(b))
		}
	}
	if held := r.holds(); len(held) != 0 {
		t.Errorf("locks held at the end: %+v", held)
	}
}

func (r *running) holds() []run.Held {
	s := r.locks.State()
	return s.All()
}

// A removed builder drains: its build ends, its requests wait and say why; when it is
// configured again they are built.
func TestRemovedBuilderDrains(t *testing.T) {
	wait, entered, open := gated("wait")
	with := *remote([]string{"w"}, wait)
	without := with
	without.Builders = nil
	f := &file{}
	f.write(with, nil)
	r := newSite(t).startFile(f)
	r.attach("w")
	first := r.submit("b")
	r.enters(entered)
	f.write(without, nil)
	if d := r.reload().Diff; len(d.Removed) != 1 || d.Removed[0].Name != "b" {
		t.Errorf("%+v", d)
	}
	f.write(with, nil)
	r.reload()
	second := r.submit("b", func(s *sched.Buildset) { s.Reason = "second" })
	f.write(without, nil)
	r.reload()
	close(open)
	if b := r.finished(first); b.Results != config.Success {
		t.Errorf("the build that ran: %+v", b)
	}
	if x, err := r.Explain(t.Context(), second); err != nil || !strings.Contains(x.Summary, "no longer configured") {
		t.Errorf("explain: %+v, %v", x, err)
	}
	if q := r.request(second); q.Claimed || q.Complete {
		t.Errorf("the request that waits: %+v", q)
	}
	f.write(with, nil)
	r.reload()
	if b := r.finished(second); b.Results != config.Success || b.Number != 2 {
		t.Errorf("after it came back: %+v", b)
	}
}

// A worker that left is disconnected, its build is tried again; one that comes back
// is as before, paused if it was.
func TestRemovedWorker(t *testing.T) {
	with := *remote([]string{"w"}, shell("work", "echo begun; if [ ! -e ../again ]; then touch ../again; sleep 60; fi"))
	without := with
	without.Workers = []*config.Worker{{Name: "other", Password: "pw"}}
	without.Builders = slices.Clone(with.Builders)
	b := *with.Builders[0]
	b.Workers = []string{"other"}
	without.Builders[0] = &b
	f := &file{}
	f.write(with, nil)
	r := newSite(t).startFile(f)
	r.attach("w")
	id := r.submit("b")
	r.printed("begun")
	session := r.fleet.session("w")
	f.write(without, nil)
	r.reload()
	<-session.Done()
	if b := r.finished(id); b.Results != config.Retry {
		t.Errorf("its build: %+v", b)
	}
	f.write(with, nil)
	r.reload()
	r.attach("w")
	if b := r.finished(id); b.Results != config.Success {
		t.Errorf("after it came back: %+v", b)
	}
	if err := r.PauseWorker(t.Context(), r.current.Load().workers["w"].ID, "because", alice); err != nil {
		t.Fatal(err)
	}
	r.reload()
	second := r.submit("b")
	if x, err := r.Explain(t.Context(), second); err != nil || !strings.Contains(fmt.Sprint(x.Reasons), "paused") {
		t.Errorf("the paused worker: %+v, %v", x, err)
	}
}

// A hundred reloads of any kind while requests come in: each is built to its end,
// once, or waits for a builder that is gone.
func TestReloadsUnderLoad(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const builders, requests = 6, 120
	random := func() config.Snapshot {
		s := config.Snapshot{Workers: []*config.Worker{{Name: "stays", Password: "pw", MaxBuilds: rng.IntN(3)}}}
		s.Workers = append(s.Workers, &config.Worker{Name: "local", Local: true, Workdir: []string{"", "elsewhere"}[rng.IntN(2)]})
		if rng.IntN(2) == 0 {
			s.Workers = append(s.Workers, &config.Worker{Name: "comes", Local: true})
		}
		lock := &config.Lock{Name: "l", MaxCount: 1 + rng.IntN(3)}
		s.Locks = []*config.Lock{lock}
		s.Master.CollapseRequests = false
		for i := range builders {
			if i > 0 && rng.IntN(3) == 0 {
				continue
			}
			b := &config.Builder{
				Name: fmt.Sprint("b", i), Builddir: fmt.Sprint("b", i), WorkerBuilddir: fmt.Sprint("b", i),
				Description: fmt.Sprint(rng.IntN(3)),
				Factory:     &config.Factory{Steps: []config.Step{shell("work", "echo x"), ends("end", config.Success)}},
			}
			for _, w := range s.Workers {
				b.Workers = append(b.Workers, w.Name)
			}
			if rng.IntN(2) == 0 {
				b.Locks = propOf(config.LockAccesses{{Lock: lock, Exclusive: rng.IntN(4) == 0, Count: 1}})
			}
			s.Builders = append(s.Builders, b)
		}
		s.Inputs = []config.Input{{Path: "master.star", Data: fmt.Append(nil, rng.Int())}}
		return s
	}
	all := random()
	for len(all.Builders) < builders {
		all = random()
	}
	f := &file{}
	f.write(all, nil)
	r := newSite(t).startFile(f)
	r.attach("stays")
	session := r.fleet.session("stays")

	var ids []int64
	submitted := make(chan struct{})
	go func() {
		defer close(submitted)
		for i := range requests {
			ids = append(ids, r.submitAny(fmt.Sprint("b", i%builders)))
		}
	}()
	for i := range 100 {
		if i%7 == 3 {
			f.write(config.Snapshot{}, prop.Problems{{Text: "broken"}})
			if _, err := r.Reload(t.Context()); err == nil {
				t.Error("a broken configuration was loaded")
			}
			continue
		}
		f.write(random(), nil)
		r.reload()
	}
	<-submitted
	f.write(all, nil)
	r.reload()
	if r.fleet.session("stays") != session || session.Err() != nil {
		t.Error("the worker whose password stayed was disconnected")
	}
	count := 0
	for _, id := range ids {
		if id == 0 {
			continue // its builder was not configured just then
		}
		count++
		for !r.request(id).Complete {
			r.await(fmt.Sprintf("the end of request %d", id), func(e state.Event) bool {
				q, ok := e.Row.(state.BuildRequest)
				return ok && q.ID == id && q.Complete
			})
		}
		good := 0
		for _, b := range r.builds(id) {
			if b.Results == config.Success {
				good++
			} else if b.Results != config.Retry {
				t.Errorf("request %d: build %+v", id, b)
			}
		}
		if q := r.request(id); q.Results != config.Success || good != 1 {
			t.Errorf("request %d: %d good builds, %+v", id, good, q)
		}
	}
	if count < requests/2 {
		t.Errorf("only %d of %d requests were accepted", count, requests)
	}
	for deadline := time.Now().Add(patience); len(r.holds()) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("locks held at the end: %+v", r.holds())
		}
		if _, err := r.Explain(t.Context(), ids[0]); err != nil && !errors.Is(err, state.ErrNotFound) {
			t.Fatal(err) // it waits for the distributor, which gives locks back
		}
	}
}

// submitAny submits, and returns 0 if the builder is not configured just now.
func (r *running) submitAny(builder string) int64 {
	set, err := r.Submit(context.Background(), sched.Buildset{Scheduler: "force", Reason: "load", Builders: []string{builder}})
	if errors.Is(err, state.ErrNotFound) {
		return 0
	} else if err != nil {
		r.t.Error(err)
	}
	for _, id := range set.Requests {
		return id
	}
	return 0
}

// BenchmarkReload measures what a reload of 1,000 builders costs once it is
// evaluated.
func BenchmarkReload(b *testing.B) {
	snapshot := func(changed int) config.Snapshot {
		s := config.Snapshot{}
		for i := range 100 {
			s.Workers = append(s.Workers, &config.Worker{Name: fmt.Sprint("w", i), Password: "p"})
		}
		for i := range 1000 {
			s.Builders = append(s.Builders, &config.Builder{
				Name: fmt.Sprint("b", i), Builddir: fmt.Sprint("b", i), Workers: []string{fmt.Sprint("w", i%100)},
				Factory: &config.Factory{Steps: []config.Step{shell("one", "true"), shell("two", "true")}},
			})
		}
		s.Builders[0].Description = fmt.Sprint(changed)
		s.Inputs = []config.Input{{Path: "master.star", Data: fmt.Append(nil, changed)}}
		return s
	}
	for _, tt := range []struct {
		name    string
		changes bool
	}{{"nothing changed", false}, {"one builder changed", true}} {
		b.Run(tt.name, func(b *testing.B) {
			f := &file{}
			f.write(snapshot(0), nil)
			s := &site{t: b, dir: b.TempDir()}
			s.open()
			defer s.close()
			r := s.startFile(f)
			defer r.stop()
			two := []config.Snapshot{snapshot(0), snapshot(1)}
			i := 0
			for b.Loop() {
				if i++; tt.changes {
					f.write(two[i%2], nil)
				} else {
					f.write(two[0], nil)
				}
				if _, err := r.Reload(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
