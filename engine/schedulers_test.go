package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/change"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
	"buildstar/state/sqlite"
)

// following is a configuration whose scheduler "s" builds changes.
func following(change ...func(*sched.Stable)) *config.Snapshot {
	s := &sched.Stable{Base: sched.Base{Class: "AnyBranchScheduler", Name: "s", BuilderNames: prop.Of([]string{"b"}), Codebases: sched.Codebases{{}}}}
	for _, f := range change {
		f(s)
	}
	return withSchedulers(s)
}

func withSchedulers(s ...config.Scheduler) *config.Snapshot {
	snap := *oneBuilder(ends("x", config.Success))
	snap.Schedulers = s
	return config.New(snap)
}

// commit adds a change.
func (r *running) commit(branch string) (id int64) {
	r.t.Helper()
	err := r.Store().Update(context.Background(), func(tx state.Tx) (err error) {
		id, err = tx.AddChange(state.Change{Author: "me", Branch: &branch})
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// asked waits for the next buildset of a scheduler.
func (r *running) asked(scheduler string) state.Buildset {
	r.t.Helper()
	return r.await("a buildset of "+scheduler, func(e state.Event) bool {
		b, ok := e.Row.(state.Buildset)
		return ok && b.Scheduler == scheduler && !b.Complete
	}).Row.(state.Buildset)
}

// branches returns the branches of all buildsets, in order.
func (r *running) branches() string {
	r.t.Helper()
	var out []string
	r.view(func(tx state.ReadTx) error {
		sets, err := tx.Buildsets(state.Query{})
		for _, b := range sets {
			out = append(out, *b.SourceStamps[0].Branch)
		}
		return err
	})
	return fmt.Sprint(out)
}

func (r *running) schedulerID(name string) int64 { return r.current.Load().schedulers[name] }

// A change is built, with its properties and the scheduler's, which win.
func TestSchedulerFollowsChanges(t *testing.T) {
	s := newSite(t)
	var changes []any
	snap := *oneBuilder(step{Do: func(_ context.Context, b *run.Running) (config.Result, error) {
		s, _ := b.SourceStamp("")
		changes = s.Changes
		return config.Success, nil
	}}.make())
	snap.Schedulers = following(func(s *sched.Stable) { s.Properties = map[string]prop.Template[any]{"both": prop.Of[any]("scheduler")} }).Schedulers
	r := s.start(config.New(snap))
	_, err := r.AddChange(t.Context(), change.Input{Author: "me", Branch: "main", Properties: map[string]any{
		"own": "change", "both": "change", "scheduler": "change",
	}})
	if err != nil {
		t.Fatal(err)
	}
	set := r.asked("s")
	var request state.BuildRequest
	r.view(func(tx state.ReadTx) (err error) {
		request, err = state.One(tx.BuildRequests(state.Where("buildsetid", set.ID)))
		return err
	})
	b := r.finished(request.ID)
	if len(changes) != 1 || changes[0].(map[string]any)["author"] != "me" {
		t.Errorf("the changes of the source stamp: %v", changes)
	}
	p := r.properties(b)
	for name, want := range map[string]state.Property{
		"scheduler": {Value: "s", Source: "Scheduler"}, "branch": {Value: "main", Source: "Build"},
		"both": {Value: "scheduler", Source: "Scheduler"}, "own": {Value: "change", Source: "Change"},
	} {
		if !reflect.DeepEqual(p[name], want) {
			t.Errorf("property %s: %v", name, p[name])
		}
	}
}

// What comes while a scheduler is disabled is lost to it, also over a restart; what
// came before it was in the configuration is none of its business.
func TestSchedulerDisabled(t *testing.T) {
	s := newSite(t)
	r := s.start(withSchedulers())
	r.commit("before")
	if err := r.Apply(t.Context(), following()); err != nil {
		t.Fatal(err)
	}
	r.commit("one")
	r.asked("s")
	id := r.schedulerID("s")
	if err := r.EnableScheduler(t.Context(), id, false, sched.User{}); err != nil {
		t.Fatal(err)
	}
	r.commit("lost")
	r.stop()
	r = s.start(following())
	r.commit("lost too")
	for range 2 { // the second time it is enabled already
		if err := r.EnableScheduler(t.Context(), id, true, sched.User{}); err != nil {
			t.Fatal(err)
		}
	}
	r.commit("two")
	r.asked("s")
	if got := r.branches(); got != "[one two]" {
		t.Error(got)
	}
}

// A scheduler that left the configuration and comes back follows what comes then.
func TestSchedulerComesBack(t *testing.T) {
	s := newSite(t)
	r := s.start(following())
	r.commit("one")
	r.asked("s")
	for _, snap := range []*config.Snapshot{withSchedulers(), following()} {
		if err := r.Apply(t.Context(), snap); err != nil {
			t.Fatal(err)
		}
		r.commit("while it is " + fmt.Sprint(len(snap.Schedulers)))
	}
	r.asked("s")
	if got := r.branches(); got != "[one while it is 1]" {
		t.Error(got)
	}
}

// Reloads that change the scheduler, while changes come, lose nothing and build nothing
// twice.
func TestSchedulerReloadUnderLoad(t *testing.T) {
	const changes = 60
	s := newSite(t)
	r := s.start(following())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range changes {
			r.commit(fmt.Sprint("b", i))
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for n := 0; ; n++ {
		if err := r.Apply(t.Context(), following(func(s *sched.Stable) { s.Reason = fmt.Sprint(n) })); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
		default:
			continue
		}
		break
	}
	want := make([]string, changes)
	for i := range want {
		want[i] = fmt.Sprint("b", i)
	}
	for r.branches() != fmt.Sprint(want) {
		r.asked("s") // fails when there is nothing more to come
	}
}

// fragile is a scheduler that does what a test says.
type fragile struct {
	sched.Base
	Runs *runs
}

type runs struct {
	n  atomic.Int64
	do func(ctx context.Context, n int64) error
}

// AppendCanonical makes it no content.
func (r *runs) AppendCanonical(dst []byte) []byte { return dst }

func (f *fragile) Run(ctx context.Context, _ sched.Host) error {
	return f.Runs.do(ctx, f.Runs.n.Add(1))
}

// A scheduler that fails, or panics, runs again, after a rest that doubles.
func TestSchedulerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fragile{Runs: &runs{do: func(ctx context.Context, n int64) error {
			switch n {
			case 1:
				return errors.New("it broke")
			case 2:
				panic("it broke worse")
			}
			<-ctx.Done()
			return ctx.Err()
		}}}
		store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "state.sqlite"), sqlite.Options{Log: quietLog()})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if err := store.Update(context.Background(), func(tx state.Tx) error {
			_, err := tx.PutScheduler(state.Scheduler{Name: "f", Enabled: true, Active: true})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		s := &scheduler{m: New(Options{Logger: quietLog()}), runner: f, host: sched.Host{ID: 1, Store: store, Log: quietLog()}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.supervise(ctx)
		}()
		for i, rest := range []time.Duration{leastRest / 2, leastRest, 2 * leastRest, time.Hour} {
			time.Sleep(rest)
			synctest.Wait()
			if n := f.Runs.n.Load(); n != int64(min(i+1, 3)) {
				t.Errorf("%d runs after rest %d", n, i)
			}
		}
		cancel()
		<-ended
		if err := store.View(context.Background(), func(tx state.ReadTx) error {
			row, err := state.One(tx.Schedulers(state.Query{}))
			if want := "it failed and runs again: panic: it broke worse"; row.Error != want || row.ErrorAt == 0 {
				t.Errorf("its row: %+v, want %q", row, want)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// A reload stops a scheduler that changed before it starts the new one, and does not
// touch one that is the same.
func TestSchedulerReload(t *testing.T) {
	var running, most atomic.Int64
	started := make(chan struct{}, 10)
	all := &runs{do: func(ctx context.Context, n int64) error {
		if now := running.Add(1); now > most.Load() {
			most.Store(now)
		}
		started <- struct{}{}
		<-ctx.Done()
		running.Add(-1)
		return ctx.Err()
	}}
	config := func(reason string) *fragile {
		return &fragile{Base: sched.Base{Class: "Fragile", Name: "f", Reason: reason}, Runs: all}
	}
	r := newSite(t).start(withSchedulers(config("a")))
	<-started
	for _, reason := range []string{"a", "b", "b"} {
		if err := r.Apply(t.Context(), withSchedulers(config(reason))); err != nil {
			t.Fatal(err)
		}
	}
	<-started
	r.stop()
	if n := all.n.Load(); n != 2 || most.Load() != 1 || running.Load() != 0 {
		t.Errorf("%d runs, %d at once, %d left", n, most.Load(), running.Load())
	}
}
