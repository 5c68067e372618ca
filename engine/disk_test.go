package engine

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
)

// fullLogs is a LogStore on a disk that a test can fill.
type fullLogs struct {
	state.LogStore
	full *atomic.Bool
}

type fullSegment struct {
	state.LogSegment
	full *atomic.Bool
}

func (f fullLogs) OpenBuild(id int64) (state.LogSegment, error) {
	s, err := f.LogStore.OpenBuild(id)
	return fullSegment{s, f.full}, err
}

func (f fullSegment) Append(log int64, at state.Resume, runs ...state.LogRun) error {
	if f.full.Load() {
		return fmt.Errorf("write: %w", state.ErrFull)
	}
	return f.LogSegment.Append(log, at, runs...)
}

// fullStore is a Store on such a disk.
type fullStore struct {
	state.Store
	full    *atomic.Bool
	refused chan struct{}
}

func (f fullStore) Update(ctx context.Context, fn func(state.Tx) error) error {
	if f.full.Load() {
		select {
		case f.refused <- struct{}{}:
		default:
		}
		return fmt.Errorf("commit: %w", state.ErrFull)
	}
	return f.Store.Update(ctx, fn)
}

func (f fullStore) Defer(fn func(state.Tx) error, done func(error)) {
	if f.full.Load() {
		done(fmt.Errorf("commit: %w", state.ErrFull))
		return
	}
	f.Store.Defer(fn, done)
}

// A log that cannot be written ends its build as EXCEPTION; nothing starts until
// there is room again; the master lives.
func TestDiskFullWhileLogging(t *testing.T) {
	var full atomic.Bool
	s := newSite(t)
	r := s.start(oneBuilder(
		do("fill", func(context.Context, *run.Running) (config.Result, error) {
			full.Store(true)
			return config.Success, nil
		}),
		shell("log", "echo hello"),
		ends("never", config.Success, always),
	), func(o *Options) {
		o.Logs = fullLogs{o.Logs, &full}
		o.Store = fullStore{o.Store, new(atomic.Bool), make(chan struct{}, 1)}
		o.ProbeDisk = time.Hour
	})
	b := r.build("b")
	if b.Results != config.Exception || !strings.Contains(b.StateString, "disk is full") {
		t.Errorf("build: %+v", b)
	}
	if got := r.results(b); got != "fill=success log=exception" {
		t.Errorf("steps: %s", got)
	}
	if !r.Health().DiskFull {
		t.Error("Health does not say that the disk is full")
	}
	id := r.submit("b")
	r.explain(id, "disk-full")
	full.Store(false)
	if err := r.disk.probe(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.disk.clear()
	if b := r.finished(id); b.Results != config.Exception {
		t.Errorf("next build: %+v", b)
	}
}

// The end of a build is kept in memory while it cannot be written, with every row
// that was missed; then the master goes on by itself.
func TestDiskFullAtTheEnd(t *testing.T) {
	var full atomic.Bool
	refused := make(chan struct{}, 1)
	r := newSite(t).start(oneBuilder(
		ends("before", config.Success),
		do("fill", func(_ context.Context, s *run.Running) (config.Result, error) {
			s.Describe("filling", "filled")
			full.Store(true)
			l, err := s.AddLog("lost", "t")
			if err != nil {
				return config.Exception, err
			}
			if err := l.Write('t', "text"); err == nil {
				t.Error("a log without a row was written")
			}
			return config.Success, nil
		}),
		ends("after", config.Success),
	), func(o *Options) {
		o.Store = fullStore{o.Store, &full, refused}
		o.ProbeDisk = time.Millisecond
	})
	id := r.submit("b")
	<-refused
	if !r.Health().DiskFull {
		t.Error("Health does not say that the disk is full")
	}
	full.Store(false)
	b := r.finished(id)
	if b.Results != config.Exception || !strings.Contains(b.StateString, "disk is full") {
		t.Errorf("build: %+v", b)
	}
	for _, s := range r.steps(b) {
		if !s.Complete {
			t.Errorf("step %+v is open", s)
		}
	}
	full.Store(false)
	next := r.submit("b")
	r.started("fill")
	if !full.Load() {
		r.await("the next build", func(state.Event) bool { return full.Load() })
	}
	full.Store(false)
	r.finished(next)
}
