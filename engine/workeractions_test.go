package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/engine/sched"
	"buildstar/state"
)

// row returns the row of worker w.
func (r *running) row() (row state.Worker) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) (err error) {
		row, err = state.One(tx.Workers(state.Where("name", "w")))
		return err
	})
	return row
}

// touch makes an empty file below the basedir.
func (r *running) touch(name string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.o.Basedir, name), nil, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) gone() {
	r.t.Helper()
	r.await("the end of the worker", func(e state.Event) bool {
		w, ok := e.Row.(state.Worker)
		return ok && w.Name == "w" && !w.Connected
	})
}

// docs/requirements.md A5.5: a graceful stop takes no new build, lets those that run
// finish, and then tells the worker's process to exit; A5.11: it is forgotten when the
// worker connects again.
func TestStopWorker(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}, shell("work", "echo up; while [ ! -e ../go ]; do sleep 0.1; done")))
	g, _ := r.attach("w")
	first := r.submit("b")
	build := r.printed("up")
	if err := r.StopWorker(context.Background(), 1, "new disk", alice); err != nil {
		t.Fatal(err)
	}
	if err := r.StopWorker(context.Background(), 1, "again", sched.User{}); err != nil {
		t.Errorf("a second time: %v", err)
	}
	row := r.row()
	if !row.Graceful || row.GracefulReason != "new disk" || row.GracefulBy != "alice" || row.GracefulAt == 0 || !row.Connected {
		t.Errorf("while it builds: %+v", row)
	}
	second := r.submit("b", func(s *sched.Buildset) { s.Reason = "another" })
	x, err := r.Explain(context.Background(), second)
	if err != nil || len(x.Reasons) == 0 || g.has("shutdown") {
		t.Errorf("explained as %+v, %v", x, err)
	}
	r.touch("remote-w/b/go")
	if b := r.finished(first); b.ID != build.BuildID || b.Results != config.Success {
		t.Errorf("the build: %+v", b)
	}
	r.gone()
	if !g.has("shutdown") {
		t.Error("its process was not told to exit")
	}
	if err := r.StopWorker(context.Background(), 1, "", alice); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), `worker "w" is not connected`) {
		t.Errorf("stopping it again: %v", err)
	}
	r.attach("w")
	if row := r.row(); row.Graceful || row.GracefulBy != "" || row.GracefulAt != 0 {
		t.Errorf("connected again: %+v", row)
	}
	if b := r.finished(second); b.Results != config.Success {
		t.Errorf("the second build: %+v", b)
	}
}

// An idle worker that shall stop is told at once; a local one cannot stop.
func TestStopIdleWorker(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}))
	g, _ := r.attach("w")
	if err := r.StopWorker(context.Background(), 1, "", alice); err != nil {
		t.Fatal(err)
	}
	r.gone()
	if !g.has("shutdown") {
		t.Error("its process was not told to exit")
	}
	if err := r.StopWorker(context.Background(), 99, "", alice); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("no such worker: %v", err)
	}
	r.stop()
	r = newSite(t).start(oneBuilder())
	if err := r.StopWorker(context.Background(), 1, "", alice); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "pause it") {
		t.Errorf("a local worker: %v", err)
	}
}

// docs/requirements.md A5.6: a killed worker's builds are built again, which counts
// neither as a try nor against the worker; its commands are dead before it exits.
func TestKillWorker(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}, shell("work", twice)), hours)
	g, _ := r.attach("w")
	id := r.submit("b")
	r.printed("first")
	if err := r.KillWorker(context.Background(), 1, "it smokes", alice); err != nil {
		t.Fatal(err)
	}
	b := r.finished(id)
	if b.Results != config.Retry || !strings.Contains(b.StateString, "the worker was killed by alice: it smokes") {
		t.Errorf("its build: %+v", b)
	}
	r.gone()
	if !g.has("interrupt_command") || !g.has("shutdown") {
		t.Error("its commands were not interrupted, or its process not told to exit")
	}
	if err := r.KillWorker(context.Background(), 1, "", alice); !errors.Is(err, ErrConflict) {
		t.Errorf("killing it again: %v", err)
	}
	if err := r.KillWorker(context.Background(), 99, "", alice); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("no such worker: %v", err)
	}
	r.attach("w")
	if b := r.finished(id); b.Results != config.Success || b.Number != 2 {
		t.Errorf("built again: %+v", b)
	}
	if q, req := r.quarantined(), r.request(id); q != (state.Quarantine{}) || req.Retries != 0 {
		t.Errorf("the kill counts: %+v, %+v", q, req)
	}
}

// A worker that answers nothing is killed all the same: its connection ends.
func TestKillSilentWorker(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}, shell("work", twice)))
	g, _ := r.attach("w")
	id := r.submit("b")
	r.printed("first")
	g.silence()
	if err := r.KillWorker(context.Background(), 1, "", sched.User{}); err != nil {
		t.Fatal(err)
	}
	if b := r.finished(id); b.Results != config.Retry {
		t.Errorf("its build: %+v", b)
	}
	r.gone()
}

// A local worker that is killed comes back by itself.
func TestKillLocalWorker(t *testing.T) {
	r := newSite(t).start(oneBuilder(shell("work", twice)))
	id := r.submit("b")
	r.printed("first")
	if err := r.KillWorker(context.Background(), 1, "", alice); err != nil {
		t.Fatal(err)
	}
	if b := r.finished(id); b.Results != config.Retry {
		t.Errorf("its build: %+v", b)
	}
	if b := r.finished(id); b.Results != config.Success {
		t.Errorf("built again: %+v", b)
	}
}

// leaver is a session of a process that may ask to leave.
type leaver struct {
	*slow
	life string
	shut chan struct{} // Shutdown was called
}

func (l *leaver) Info() conn.WorkerInfo {
	return conn.WorkerInfo{Facts: `{"version":"1"}`, Life: l.life}
}
func (l *leaver) Shutdown(context.Context) error {
	l.shut <- struct{}{}
	return nil
}

// A worker of ours may ask itself for a graceful stop. That it shall exit is kept while
// the same process comes and goes, also over a restart of the master, and no longer.
func TestWorkerLeaves(t *testing.T) {
	s := newSite(t)
	r := s.start(remote([]string{"w"}))
	visit := func(life string, asks, told bool) {
		t.Helper()
		l := &leaver{newSlow(), life, make(chan struct{}, 1)}
		served := make(chan struct{})
		go func() {
			defer close(served)
			r.Attached(l)
			if asks {
				r.Leaves(l)
			}
			<-l.done
			r.Detached(l)
		}()
		r.connected("w")
		if told {
			<-l.shut
		}
		if row := r.row(); row.Graceful != told || told && row.GracefulBy != "the worker itself" {
			t.Errorf("process %s: %+v", life, row)
		}
		close(l.done) // its connection is lost
		<-served
		r.gone()
		if len(l.shut) > 0 {
			t.Errorf("process %s was told to exit", life)
		}
	}
	visit("one", false, false)
	visit("one", true, true)
	visit("one", false, true)
	r.stop()
	s.close()
	s.open()
	r = s.start(remote([]string{"w"}))
	visit("one", false, true)
	visit("two", false, false)
	visit("two", true, true)
	visit("", false, false)
}
