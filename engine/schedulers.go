package engine

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

const (
	leastRest = time.Second // before a scheduler that failed runs again; it doubles each time
	mostRest  = time.Minute
)

// schedulers run those of the configuration in force that act by themselves, each in a
// goroutine. A reload stops those that changed or left before it swaps the
// configuration, and starts what is new after it; the others notice nothing. All
// methods are called while Master.apply is held.
type schedulers struct {
	m       *Master
	running map[string]*scheduler
}

// scheduler is one that runs.
type scheduler struct {
	m      *Master
	runner sched.Runner
	host   sched.Host
	cancel context.CancelFunc
	done   chan struct{}
}

func newSchedulers(m *Master) *schedulers {
	return &schedulers{m: m, running: map[string]*scheduler{}}
}

// stop ends those that are not kept, and waits for them.
func (ss *schedulers) stop(kept []config.Key) {
	var ending []*scheduler
	for name, s := range ss.running {
		if !slices.Contains(kept, s.runner.Key()) {
			delete(ss.running, name)
			s.cancel()
			ending = append(ending, s)
		}
	}
	for _, s := range ending {
		<-s.done
	}
}

// start begins those of the configuration in force that do not run.
func (ss *schedulers) start(now *applied) {
	for _, c := range now.snapshot.Schedulers {
		r, ok := c.(sched.Runner)
		name := c.Key().Name
		if _, runs := ss.running[name]; !ok || runs {
			continue
		}
		ctx, cancel := context.WithCancel(ss.m.living)
		s := &scheduler{m: ss.m, runner: r, host: ss.m.host(now.schedulers[name]), cancel: cancel, done: make(chan struct{})}
		ss.running[name] = s
		go func() {
			defer close(s.done)
			defer cancel()
			s.live(ctx)
		}()
	}
}

// wait returns when none runs; it is called after Master.living ended.
func (ss *schedulers) wait() {
	for _, s := range ss.running {
		<-s.done
	}
}

// host is what a scheduler acts on.
func (m *Master) host(id int64) sched.Host {
	return sched.Host{
		ID: id, Store: m.o.Store, Log: m.log,
		Submit: func(tx state.Tx, b sched.Buildset) error {
			_, err := m.SubmitIn(tx, b)
			return err
		},
		Builders: func() []string {
			var names []string
			for _, b := range m.Snapshot().Builders {
				names = append(names, b.Name)
			}
			return names
		},
	}
}

// live runs the scheduler while its row says that it is enabled, until ctx ends.
func (s *scheduler) live(ctx context.Context) {
	for ctx.Err() == nil {
		events := s.host.Store.Subscribe(ctx, state.Pattern(fmt.Sprintf("schedulers/%d/updated", s.host.ID)))
		var run context.CancelFunc // nil: disabled
		var over chan struct{}
		halt := func() {
			if run != nil {
				run()
				<-over
				run = nil
			}
		}
		turn := func(enabled bool) {
			switch {
			case !enabled:
				halt()
			case run == nil:
				var running context.Context
				running, run = context.WithCancel(ctx)
				over = make(chan struct{})
				go func() {
					defer close(over)
					s.supervise(running)
				}()
			}
		}
		enabled, err := s.enabled(ctx)
		if err != nil {
			s.failed(ctx, err, leastRest)
			continue
		}
		turn(enabled)
		for e := range events.C {
			if row, ok := e.Row.(state.Scheduler); ok {
				turn(row.Enabled)
			}
		}
		halt()
	}
}

func (s *scheduler) enabled(ctx context.Context) (enabled bool, err error) {
	err = s.host.Store.View(ctx, func(tx state.ReadTx) error {
		row, err := state.One(tx.Schedulers(state.Where("schedulerid", s.host.ID)))
		enabled = row.Enabled
		return err
	})
	return enabled, err
}

// supervise runs the scheduler again and again, until ctx ends.
func (s *scheduler) supervise(ctx context.Context) {
	rest := leastRest
	for ctx.Err() == nil {
		began := time.Now()
		err := s.run(ctx)
		if time.Since(began) > mostRest {
			rest = leastRest
		}
		s.failed(ctx, err, rest)
		rest = min(2*rest, mostRest)
	}
}

// failed says what went wrong and waits before the next try.
func (s *scheduler) failed(ctx context.Context, err error, rest time.Duration) {
	if ctx.Err() != nil {
		return
	}
	s.m.disk.note(err)
	s.m.log.Error("a scheduler failed; it runs again", "scheduler", s.runner.Key().Name, "in", rest, "error", err)
	s.host.Problem(ctx, fmt.Errorf("it failed and runs again: %w", err))
	select {
	case <-ctx.Done():
	case <-time.After(rest):
	}
}

// run is the scheduler's Run; a panic is an error.
func (s *scheduler) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			s.m.log.Error("panic in a scheduler", "scheduler", s.runner.Key().Name, "panic", p, slog.String("stack", string(debug.Stack())))
		}
	}()
	return s.runner.Run(ctx, s.host)
}
