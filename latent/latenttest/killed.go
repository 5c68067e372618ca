package latenttest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/engine/instance"
	"buildstar/state"
)

// killed is a life whose master is killed at a point. The next one leaves nothing with the
// provider, and no row open.
func (x *exercise) killed(at point) {
	dir := x.t.TempDir()
	if x.Seed != "" {
		x.process(at, dir)
	}
	store := x.openStore(dir)
	defer store.Close()
	if x.Seed == "" {
		defer x.thread(at, store)()
	}
	next := x.live(store, func(context.Context, point) error { return nil })
	for _, row := range next.left() {
		next.watch.open = row.ID
		next.ledger.Adopt(row, next.config, nil, nil)
	}
	next.configure(func(*instance.Config, *config.Latent) {})
	bound, end := context.WithTimeout(x.ctx, patience)
	defer end()
	if left := next.ledger.Close(bound); len(left) > 0 {
		x.t.Errorf("the next master leaves %v", left)
	}
	if rows := next.left(); len(rows) > 0 {
		x.t.Errorf("the ledger still has %+v", rows)
	}
	for _, f := range next.faults() {
		x.t.Error(f)
	}
	// What was asked for just before the end may come later than the next master looked.
	x.wait("the provider has nothing left", func() bool {
		if x.Alive(x.t) == 0 {
			return true
		}
		if _, err := next.ledger.Reap(x.ctx); err != nil {
			x.t.Error(err)
		}
		return false
	})
}

// doom leads a master to the point where it is killed, by fate. It returns the build that it
// had.
func (l *life) doom(at point, fate func()) *use {
	l.configure(func(*instance.Config, *config.Latent) {})
	u := l.want()
	go func() {
		<-u.done
		if u.err == nil {
			if at == afterAttach {
				fate()
			}
			u.release()
		}
	}()
	if at >= afterHandle {
		l.started(u)
		if at == afterHandle {
			fate()
		}
		l.ledger.Attached("w")
	}
	return u
}

// variable says to a test binary that it is a master that will be killed, and where.
const variable = "BUILDSTAR_LATENTTEST_MASTER"

// legacy is what such a master gets.
type legacy struct {
	Point     point
	Dir, Seed string
}

var inherited = sync.OnceValue(func() (l legacy) {
	if text := os.Getenv(variable); text != "" {
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			panic(err)
		}
	}
	return l
})

// process runs a master, this test binary, until it killed itself.
func (x *exercise) process(at point, dir string) {
	x.t.Helper()
	text, err := json.Marshal(legacy{at, dir, x.Seed})
	if err != nil {
		x.t.Fatal(err)
	}
	suite := x.t.Name()[:strings.LastIndex(x.t.Name(), "/")]
	cmd := exec.CommandContext(x.ctx, os.Args[0], "-test.run=^"+strings.ReplaceAll(suite, "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+string(text), "TMPDIR="+x.t.TempDir())
	out, err := cmd.CombinedOutput()
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGKILL {
		x.t.Fatalf("the master was not killed: %v\n%s", err, out)
	}
}

// die is the life of that process.
func die(t *testing.T, s Subject) {
	x, l := prepare(t, s), inherited()
	fate := func() {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	life := x.live(x.openStore(l.Dir), func(_ context.Context, p point) error {
		if p == l.Point {
			if p == duringCreate || p == duringStop {
				time.Sleep(10 * time.Millisecond) // into the call
			}
			fate()
		}
		return nil
	})
	u := life.doom(l.Point, fate)
	<-u.done
	if u.err == nil {
		<-x.ctx.Done()
	}
	t.Fatalf("the point was not reached: %v", u.err)
}

var errKilled = errors.New("the master was killed")

// thread is a master that stops in its tracks at a point; its calls fail, and it writes
// nothing any more. The function that it returns buries it.
func (x *exercise) thread(at point, store state.Store) (bury func()) {
	dead := make(chan struct{})
	fate := sync.OnceFunc(func() { close(dead) })
	l := x.live(grave{store, dead}, func(ctx context.Context, p point) error {
		if p == at {
			fate()
		}
		if !closed(dead) {
			return nil
		}
		<-ctx.Done()
		return errKilled
	})
	u := l.doom(at, fate)
	x.wait("the master is killed "+at.String(), func() bool {
		if u.over() && u.err != nil && !closed(dead) {
			x.t.Fatalf("refused: %v", u.err)
		}
		return closed(dead)
	})
	return func() {
		gone, throw := context.WithCancel(x.ctx)
		throw() // nobody waits for a dead master
		l.ledger.Close(gone)
	}
}

// grave is the store of a master that was killed.
type grave struct {
	state.Store
	dead <-chan struct{}
}

func (g grave) Update(ctx context.Context, fn func(state.Tx) error) error {
	if closed(g.dead) {
		return errKilled
	}
	return g.Store.Update(ctx, fn)
}
