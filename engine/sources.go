package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
)

// maxSourcePause is the longest pause of a change source that ended by itself.
const maxSourcePause = 5 * time.Minute

// memory is the name under which a change source remembers.
const memory = "memory"

// sources are the change sources that run: one goroutine each (docs/requirements.md C7).
type sources struct {
	m       *Master
	mu      sync.Mutex
	running map[string]*source
	closed  bool
}

// source is one of them: the [change.Host] of its node.
type source struct {
	m      *Master
	node   change.Watcher
	digest config.Digest
	log    *slog.Logger
	asked  chan struct{}
	stop   context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	told   bool   // something was reported
	report string // what
}

var _ change.Host = (*source)(nil)

func newSources(m *Master) *sources { return &sources{m: m, running: map[string]*source{}} }

// configure stops the sources that a snapshot lacks or has with another content, then
// starts those that are new. The others notice nothing.
func (ss *sources) configure(s *config.Snapshot) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var old []*source
	for name, r := range ss.running {
		if d, ok := s.Digest(r.node.Key()); !ok || d != r.digest {
			delete(ss.running, name)
			old = append(old, r)
		}
	}
	end(old)
	for _, c := range s.ChangeSources {
		w, ok := c.(change.Watcher)
		if name := c.Key().Name; ok && !ss.closed && ss.running[name] == nil {
			ss.running[name] = ss.start(s, w)
		}
	}
}

// end stops sources and waits for them.
func end(old []*source) {
	for _, r := range old {
		r.stop()
	}
	for _, r := range old {
		<-r.done
	}
}

func (ss *sources) start(s *config.Snapshot, w change.Watcher) *source {
	ctx, stop := context.WithCancel(context.Background())
	r := &source{m: ss.m, node: w, asked: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	r.digest, _ = s.Digest(w.Key())
	r.log = ss.m.log.With("change source", w.Key().Name)
	go func() {
		defer close(r.done)
		r.supervise(ctx)
	}()
	return r
}

// close stops every source and lets none start any more.
func (ss *sources) close() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.closed = true
	var all []*source
	for _, r := range ss.running {
		all = append(all, r)
	}
	clear(ss.running)
	end(all)
}

// supervise runs the source again whenever it ends before ctx does.
func (r *source) supervise(ctx context.Context) {
	for pause := r.m.o.SourcePause; ; pause = min(2*pause, maxSourcePause) {
		err := r.run(ctx)
		if ctx.Err() != nil {
			return
		}
		r.Report(ctx, err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// run is one life of the source. It always ends with an error.
func (r *source) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("a change source panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("run the change source: panic: %v", p)
		}
	}()
	if err := r.node.Run(ctx, r); err != nil {
		return err
	}
	return errors.New("run the change source: it ended by itself")
}

func (r *source) Basedir() string        { return r.m.o.Basedir }
func (r *source) Logger() *slog.Logger   { return r.log }
func (r *source) Props() prop.Props      { return &prop.Map{URL: r.m.Snapshot().Master.BuildbotURL} }
func (r *source) Asked() <-chan struct{} { return r.asked }

func (r *source) Recall(ctx context.Context, into any) (found bool, err error) {
	err = r.m.o.Store.View(ctx, func(tx state.ReadTx) error {
		found, err = tx.Recall(r.node.Key(), memory, into)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("recall what change source %q has seen: %w", r.node.Key().Name, err)
	}
	return found, nil
}

func (r *source) Add(ctx context.Context, remember any, changes ...change.Input) error {
	_, err := r.m.AddChanges(ctx, changes, func(tx state.Tx) error {
		return tx.Remember(r.node.Key(), memory, remember)
	})
	return err
}

func (r *source) Report(ctx context.Context, problem error) {
	text := ""
	if problem != nil {
		text = problem.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told && text == r.report {
		return
	}
	switch {
	case problem != nil:
		r.log.Warn("changes cannot be found", "error", problem)
	case r.told:
		r.log.Info("changes can be found again")
	}
	err := r.m.o.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.ChangeSources(state.Where("name", r.node.Key().Name)))
		if err == nil {
			row.Error = text
			_, err = tx.PutChangeSource(row)
		}
		return err
	})
	if err != nil {
		r.m.disk.note(err)
		r.log.Debug("write the state of the change source", "error", err)
		return // and try again with the next report
	}
	r.told, r.report = true, text
}

// PollChanges implements Control.
func (m *Master) PollChanges(_ context.Context, name string, who sched.User) error {
	m.sources.mu.Lock()
	defer m.sources.mu.Unlock()
	r := m.sources.running[name]
	if r == nil {
		return fmt.Errorf("poll change source %q: %w", name, state.ErrNotFound)
	}
	select {
	case r.asked <- struct{}{}:
		m.log.Info("change source is asked to look for changes", "change source", name, "by", who.String())
	default: // it is asked already
	}
	return nil
}
