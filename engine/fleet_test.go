package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/state"
)

// slow is a session whose end takes as long as the test wants.
type slow struct {
	conn.Session
	closing, closed, done chan struct{} // Close was called; may return; Done
}

func (s *slow) Held() []conn.Held { return nil }

func newSlow() *slow {
	return &slow{closing: make(chan struct{}), closed: make(chan struct{}), done: make(chan struct{})}
}

func (*slow) Name() string               { return "w" }
func (*slow) Info() conn.WorkerInfo      { return conn.WorkerInfo{Facts: `{"version":"1"}`} }
func (*slow) SetKeepalive(time.Duration) {}
func (s *slow) Done() <-chan struct{}    { return s.done }
func (s *slow) Close(string) {
	close(s.closing)
	<-s.closed
}

// serve is what the master hears of a session; it returns what is closed at the end.
func (r *running) serve(s conn.Session) <-chan struct{} {
	served := make(chan struct{})
	go func() {
		defer close(served)
		r.Attached(s)
		<-s.Done()
		r.Detached(s)
	}()
	return served
}

// A worker that leaves the configuration and comes back while its session still ends:
// nobody waits for the closing, and the new session comes after the old one's end.
func TestWorkerRemovedAndAdded(t *testing.T) {
	with, without := remote([]string{"w"}, ends("a", config.Success)), remote([]string{"x"}, ends("a", config.Success))
	r := newSite(t).start(with)
	old, next := newSlow(), newSlow()
	served := r.serve(old)
	r.connected("w")
	applied := make(chan error)
	go func() { applied <- r.Apply(context.Background(), without) }()
	<-old.closing
	looked := make(chan struct{})
	go func() {
		r.fleet.session("w")
		close(looked)
	}()
	select {
	case <-looked:
	case <-time.After(patience):
		t.Error("the fleet waits for a session to close")
	}
	close(old.closed)
	if err := <-applied; err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(context.Background(), with); err != nil {
		t.Fatal(err)
	}
	servedNext := r.serve(next)
	r.fleet.mu.Lock()
	v := r.fleet.visits["w"]
	r.fleet.mu.Unlock()
	if v == nil || v.session != old {
		t.Error("the old session is forgotten before its end")
	}
	close(old.done)
	var verbs []string
	r.await("the new session", func(e state.Event) bool {
		if w, ok := e.Row.(state.Worker); ok && w.Name == "w" {
			verbs = append(verbs, e.Key[strings.LastIndexByte(e.Key, '/')+1:])
		}
		return len(verbs) > 0 && verbs[len(verbs)-1] == "connected"
	})
	if got := strings.Join(verbs, " "); !strings.HasSuffix(got, "disconnected connected") {
		t.Errorf("events: %s", got)
	}
	close(next.done)
	<-served
	<-servedNext
}

// kept is a session that remembers its keepalives.
type kept struct {
	*slow
	intervals chan time.Duration
}

func (k *kept) SetKeepalive(every time.Duration) { k.intervals <- every }

// A connection has the interval of the configuration, also after a reload.
func TestKeepaliveInterval(t *testing.T) {
	with := func(every time.Duration) *config.Snapshot {
		snap := remote([]string{"w"})
		snap.Workers[0].Keepalive = every
		return config.New(*snap)
	}
	r := newSite(t).start(with(time.Minute))
	s := &kept{newSlow(), make(chan time.Duration, 10)}
	served := r.serve(s)
	r.connected("w")
	if err := r.Apply(context.Background(), with(0)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []time.Duration{time.Minute, 0} {
		if got := <-s.intervals; got != want {
			t.Errorf("keepalives every %v, want %v", got, want)
		}
	}
	close(s.done)
	<-served
}

// counted counts transactions.
type counted struct {
	state.Store
	updates int
}

func (c *counted) Update(ctx context.Context, fn func(state.Tx) error) error {
	c.updates++
	return c.Store.Update(ctx, fn)
}

// The begin of a master is one transaction, so that an open build is always one of the
// epoch before; and what a crash tore off the end of a log is cut off.
func TestBeginMends(t *testing.T) {
	s := newSite(t)
	s.start(remote([]string{"w"}, ends("a", config.Success))).stop()
	var build state.Build
	err := s.store.Update(context.Background(), func(tx state.Tx) (err error) {
		ss, err := tx.AddSourceStamp(state.SourceStamp{})
		if err != nil {
			return err
		}
		bs := state.Buildset{Results: config.Unfinished, SourceStamps: []state.SourceStamp{{ID: ss}}}
		_, requests, err := tx.AddBuildset(bs, []state.BuildRequest{{BuilderID: 1, Results: config.Unfinished}})
		if err != nil {
			return err
		}
		build, err = tx.AddBuild(state.Build{BuilderID: 1, RequestID: requests[0], WorkerID: 1, StartedAt: 1, Results: config.Unfinished})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	segment, err := s.logs.OpenBuild(build.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := segment.Append(1, state.Resume{}, state.LogRun{Stream: 'o', Text: []byte("line\n")}); err != nil {
		t.Fatal(err)
	}
	s.close()
	path := filepath.Join(s.dir, "logs", "0", fmt.Sprint(build.ID, ".log"))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(whole, whole[:len(whole)-1]...), 0o644); err != nil {
		t.Fatal(err)
	}
	s.open()
	c := &counted{Store: s.store}
	m := New(Options{Store: c, Logs: s.logs, Logger: quietLog()})
	if err := m.begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := m.server.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if c.updates != 1 {
		t.Errorf("%d transactions", c.updates)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > int64(len(whole)) {
		t.Errorf("the torn end is still there: %v, %v", info, err)
	}
	if n, err := s.logs.NumLines(build.ID, 1); n != 1 || err != nil {
		t.Errorf("%d lines, %v", n, err)
	}
}

// A build that starts while a reload replaces its configuration gets the new one: what
// a build was started with is always stored.
func TestReplacedGeneration(t *testing.T) {
	snap := oneBuilder(ends("a", config.Success))
	s := newSite(t)
	r := s.start(snap)
	r.apply.Lock() // as Apply does, between its transaction and its commit
	err := s.store.Update(context.Background(), func(tx state.Tx) error {
		_, err := tx.PutGeneration(state.Generation{Digest: []byte("another")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	id := r.submit("b")
	r.apply.Unlock()
	if err := r.Apply(context.Background(), snap); err != nil {
		t.Fatal(err)
	}
	b := r.finished(id)
	if b.Results != config.Success || b.Generation != r.Health().Generation {
		t.Errorf("%+v; in force is %d", b, r.Health().Generation)
	}
	for _, st := range r.steps(b) {
		if st.LocksAcquiredAt != st.StartedAt {
			t.Errorf("step %s started at %d, had no locks to wait for until %d", st.Name, st.StartedAt, st.LocksAcquiredAt)
		}
	}
}
