package engine

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"buildstar/state"
)

// A shutdown does not wait for ever for a local worker that does not stop, and says
// which one it is.
func TestLocalWorkerDoesNotStop(t *testing.T) {
	l := newLocals(nil)
	stuck := make(chan struct{})
	defer close(stuck)
	over := make(chan struct{})
	close(over)
	l.running["stuck"] = &localWorker{stop: func() {}, done: stuck}
	l.running["fine"] = &localWorker{stop: func() {}, done: over}
	l.wg.Go(func() { <-stuck })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if left := l.close(ctx); !slices.Equal(left, []string{"stuck"}) {
		t.Errorf("left: %v", left)
	}
}

// Whatever ends a build of a local worker, nothing of it is left: not a grandchild in the
// background that ignores SIGTERM (docs/requirements.md A7).
func TestLocalBuildLeavesNothing(t *testing.T) {
	ends := map[string]func(*running, state.Log) error{
		"a stop": func(r *running, l state.Log) error {
			return r.StopBuild(context.Background(), l.BuildID, "", alice)
		},
		"a kill of the worker": func(r *running, _ state.Log) error {
			return r.KillWorker(context.Background(), 1, "", alice)
		},
		"a reload without the worker": func(r *running, _ state.Log) error {
			return r.Apply(context.Background(), remote([]string{"x"}))
		},
		"the end of the master": func(r *running, _ state.Log) error {
			r.stop()
			return nil
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "alive")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			dead := make(chan error, 1)
			go func() { // reads to its end when nobody has the FIFO open any more
				f, err := os.Open(fifo)
				if err == nil {
					_, err = io.Copy(io.Discard, f)
					f.Close()
				}
				dead <- err
			}()
			r := newSite(t).start(oneBuilder(shell("work", "trap '' TERM; exec 3>"+fifo+"; (sleep 600 & wait) & echo up; sleep 600")))
			r.submit("b")
			if err := end(r, r.printed("up")); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-dead:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Error("a process is left")
			}
		})
	}
}
