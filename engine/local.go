package engine

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/conn/wire"
	"buildstar/worker"
)

// localPause is how long a local worker that ended waits before it starts again.
const localPause = time.Second

// localPatience is how long a shutdown waits for the local workers: a command that is
// killed takes 5 s.
const localPatience = 10 * time.Second

// locals are the workers that run inside the master (docs/requirements.md A7).
type locals struct {
	m       *Master
	mu      sync.Mutex
	running map[string]*localWorker
	closed  bool
	wg      sync.WaitGroup
}

type localWorker struct {
	dir  string
	stop context.CancelFunc
	done chan struct{}
}

func newLocals(m *Master) *locals { return &locals{m: m, running: map[string]*localWorker{}} }

// configure starts the local workers of a snapshot and stops those that left it or
// moved.
func (l *locals) configure(s *config.Snapshot) {
	for _, r := range l.stale(s) {
		r.stop()
		<-r.done
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range s.Workers {
		if w.Local && l.running[w.Name] == nil && !l.closed {
			l.start(w)
		}
	}
}

// stale forgets and returns the workers that shall not go on as they are.
func (l *locals) stale(s *config.Snapshot) (old []*localWorker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, r := range l.running {
		if w := s.Worker(name); !local(w) || l.dir(w) != r.dir {
			delete(l.running, name)
			old = append(old, r)
		}
	}
	return old
}

func (l *locals) dir(w *config.Worker) string {
	switch {
	case filepath.IsAbs(w.Workdir):
		return w.Workdir
	case w.Workdir != "":
		return filepath.Join(l.m.o.Basedir, w.Workdir)
	}
	return filepath.Join(l.m.o.Basedir, "workers", w.Name)
}

func (l *locals) start(w *config.Worker) {
	ctx, stop := context.WithCancel(context.Background())
	r := &localWorker{dir: l.dir(w), stop: stop, done: make(chan struct{})}
	l.running[w.Name] = r
	l.wg.Go(func() {
		defer close(r.done)
		for ctx.Err() == nil {
			err := l.serve(ctx, w.Name, r.dir)
			if ctx.Err() != nil {
				return
			}
			l.m.log.Warn("local worker ended, starting it again", "worker", w.Name, "error", err)
			timer := time.NewTimer(localPause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
			}
		}
	})
}

// serve runs one life of a local worker: both ends of a pipe.
func (l *locals) serve(ctx context.Context, name, dir string) error {
	ours, its := wire.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { l.m.server.ServePipe(ctx, ours, name) })
	err := worker.Serve(ctx, its, worker.Config{Name: name, Basedir: dir, Version: l.m.o.Version, Logger: l.m.log})
	its.Close("the worker ended")
	wg.Wait()
	return err
}

// close stops every local worker and lets none start any more. It waits for them
// until ctx ends and returns those that are left.
func (l *locals) close(ctx context.Context) (left []string) {
	l.mu.Lock()
	l.closed = true
	running := maps.Clone(l.running)
	l.mu.Unlock()
	for _, r := range running {
		r.stop()
	}
	done := make(chan struct{})
	go func() { // ends with the last worker
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for name, r := range running {
		if !closed(r.done) {
			left = append(left, name)
		}
	}
	slices.Sort(left)
	return left
}
