package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"buildstar/config"
	"buildstar/worker"
)

// A worker that comes over the network builds.
func TestWorkerOverWebSocket(t *testing.T) {
	snap := remote([]string{"w"}, shell("hello", "echo hello"))
	snap.Master.WorkerListen = []config.Listen{{Host: "127.0.0.1"}}
	s := newSite(t)
	r := s.start(config.New(*snap))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	port := r.WorkerAddrs()[0].(*net.TCPAddr).Port
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			MasterURL: fmt.Sprintf("ws://127.0.0.1:%d", port), Name: "w", Password: "pw", Basedir: filepath.Join(s.dir, "there"), Logger: quietLog(),
		})
	}()
	b := r.build("b")
	if got := r.log(b, "hello", "stdio", "o"); b.Results != config.Success || got != "hello\n" {
		t.Errorf("%+v: %q", b, got)
	}
	cancel()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A master whose configuration cannot be put in force says why and ends; one that is
// told to end, for whatever cause, ends without an error.
func TestRunEnds(t *testing.T) {
	s := newSite(t)
	broken := errors.New("the file is broken")
	m := New(Options{Basedir: s.dir, Store: s.store, Logs: s.logs, Logger: quietLog(),
		Load: func(context.Context) (*config.Snapshot, error) { return nil, broken }})
	if err := m.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	m = New(Options{Basedir: s.dir, Store: s.store, Logs: s.logs, Logger: quietLog(),
		Load: func(context.Context) (*config.Snapshot, error) { return oneBuilder(), nil }})
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	<-m.Ready()
	cancel(errors.New("signal"))
	if err := <-ended; err != nil || !m.Health().Stopping {
		t.Errorf("Run: %v", err)
	}
}
