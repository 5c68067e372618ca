package engine

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
	"buildstar/worker"
)

// weather is a network between the workers and the master, and what it does to them.
type weather struct {
	t      *testing.T
	ln     net.Listener
	master string
	wg     sync.WaitGroup

	mu    sync.Mutex
	lines map[*line]bool
	lives func() int64  // how many bytes a new connection carries before it is cut; nil: all
	pace  time.Duration // what a KiB takes
}

// line is one connection through the weather.
type line struct {
	near, far net.Conn
	mu        sync.Mutex
	left      int64 // bytes until it is cut; <0: it is not
	stalled   bool  // nothing comes through any more, and no end hears of it
}

func newWeather(t *testing.T, master string) *weather {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &weather{t: t, ln: ln, master: master, lines: map[*line]bool{}}
	w.wg.Go(w.serve)
	t.Cleanup(func() {
		ln.Close()
		w.each((*line).cut)
		w.wg.Wait()
	})
	return w
}

func (w *weather) serve() {
	for {
		near, err := w.ln.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.master)
		if err != nil {
			near.Close()
			continue
		}
		l := &line{near: near, far: far, left: -1}
		w.mu.Lock()
		if w.lives != nil {
			l.left = w.lives()
		}
		w.lines[l] = true
		w.mu.Unlock()
		var both sync.WaitGroup
		both.Go(func() { w.carry(l, near, far) })
		both.Go(func() { w.carry(l, far, near) })
		w.wg.Go(func() {
			both.Wait()
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.lines, l)
		})
	}
}

func (w *weather) carry(l *line, to, from net.Conn) {
	defer l.cut()
	buf := make([]byte, 1024)
	for {
		n, err := from.Read(buf)
		n, ok := l.takes(n)
		if n > 0 {
			w.mu.Lock()
			pace := w.pace
			w.mu.Unlock()
			<-time.After(pace) // this is what is slow
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		switch {
		case err != nil || !ok:
			return
		case n == 0: // it is stalled, until an end gives up
			_, _ = io.Copy(io.Discard, from)
			return
		}
	}
}

// takes returns how many of n bytes come through, and whether the line still holds.
func (l *line) takes(n int) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stalled:
		return 0, true
	case l.left < 0:
		return n, true
	}
	n = int(min(int64(n), l.left))
	l.left -= int64(n)
	return n, l.left > 0
}

// cut resets both ends.
func (l *line) cut() {
	for _, c := range []net.Conn{l.near, l.far} {
		_ = c.(*net.TCPConn).SetLinger(0) // it may be closed
		c.Close()
	}
}

func (l *line) stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = true
}

// each does something to the lines there are.
func (w *weather) each(do func(*line)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.lines {
		do(l)
	}
}

// change makes the weather another one for what is said from now on.
func (w *weather) change(lives func() int64, pace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lives, w.pace = lives, pace
}

// abroad starts a worker of ours behind the weather.
func (w *weather) abroad(dir string) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			MasterURL: "ws://" + w.ln.Addr().String(), Name: "w", Password: "pw", Basedir: dir, Logger: quietLog(), OrphanTimeout: time.Hour,
			Backoff: func(int) time.Duration { return time.Millisecond },
		})
	}()
	w.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Errorf("the worker: %v", err)
		}
	})
}

// numbers is a command that prints so many lines and ends once the file is there; it also
// says much on stderr and into a file.
const (
	numbers   = 8_000
	talkative = "seq 1 8000; while [ ! -e ../../%s ]; do sleep 0.02; done; seq 1 8000 >&2; seq 1 8000 > numbers; sleep 0.1; echo end"
)

// talks is a step with two logs.
func talks(name, file string) config.Step {
	return do(name, func(ctx context.Context, r *run.Running) (config.Result, error) {
		l, err := r.AddLog("stdio", "s")
		if err != nil {
			return config.Exception, err
		}
		dir, err := r.Workdir(ctx)
		if err != nil {
			return config.Exception, err
		}
		res, err := r.Command(ctx, run.Command{Name: "shell", Log: l, Files: map[string]*run.Log{"numbers": nil}, Args: map[string]any{
			"workdir": dir, "command": fmt.Sprintf(talkative, file), "logEnviron": false, "usePTY": false,
			"logfiles": map[string]any{"numbers": "numbers"},
		}})
		return res.Result(), err
	})
}

// captures is a step that wants the output of its command.
func captures(name string) config.Step {
	return do(name, func(ctx context.Context, r *run.Running) (config.Result, error) {
		dir, err := r.Workdir(ctx)
		if err != nil {
			return config.Exception, err
		}
		var out strings.Builder
		res, err := r.Command(ctx, run.Command{Name: "shell", Output: func(_ byte, text []byte) { out.Write(text) }, Args: map[string]any{
			"workdir": dir, "command": "seq 1 500; sleep 0.2; echo end", "logEnviron": false, "usePTY": false,
		}})
		if err == nil {
			r.SetProperty("captured", out.String(), name)
		}
		return res.Result(), err
	})
}

// A build on our worker goes on whatever the network does, and nothing of what it printed is
// lost or there twice.
func TestNetworks(t *testing.T) {
	var all strings.Builder
	for i := range numbers {
		fmt.Fprintln(&all, i+1)
	}
	chance := rand.New(rand.NewPCG(1, 2))
	for name, tt := range map[string]struct {
		during func(*weather) // the command runs
		cuts   bool           // somebody hears of it
	}{
		"cut": {func(w *weather) { w.each((*line).cut) }, true},
		"cut between what belongs together": {func(w *weather) {
			left := []int64{100, 3_000, 30_000, 60_000, 150_000}
			w.change(func() int64 {
				if len(left) == 0 {
					return -1
				}
				next := left[0]
				left = left[1:]
				return next
			}, 0)
			w.each((*line).cut)
		}, true},
		"half-open": {func(w *weather) { w.each((*line).stall) }, true},
		"slow":      {func(w *weather) { w.change(nil, time.Millisecond) }, false},
		"flapping": {func(w *weather) {
			w.change(func() int64 { return 40_000 + chance.Int64N(160_000) }, 0)
			w.each((*line).cut)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			snap := *patient([]string{"w"}, talks("one", "go"), captures("two"), talks("three", "go"))
			snap.Workers[0].Keepalive = time.Hour
			snap.Master.WorkerListen = []config.Listen{{Host: "127.0.0.1"}}
			r := s.start(config.New(snap), watched)
			w := newWeather(t, r.WorkerAddrs()[0].String())
			dir := filepath.Join(s.dir, "abroad")
			w.abroad(dir)
			id := r.submit("b")
			r.printed("8000")
			tt.during(w)
			if tt.cuts {
				r.await("that it is out of touch", func(e state.Event) bool {
					i, ok := e.Row.(state.Interruption)
					return ok && i.Cause == state.WorkerAway
				})
			}
			(&outpost{t: t, dir: dir}).touch("go")
			b := r.finished(id)
			if b.Results != config.Success || b.Number != 1 || r.results(b) != "one=success two=success three=success" {
				t.Fatalf("build: %+v; %s", b, r.results(b))
			}
			r.interruptions(b) // are in order and over
			for _, step := range []string{"one", "three"} {
				for stream, want := range map[string]string{"o": all.String() + "end\n", "e": all.String()} {
					if got := r.log(b, step, "stdio", stream); got != want {
						t.Errorf("step %s, stream %s: %d bytes, want %d", step, stream, len(got), len(want))
					}
				}
				if got := r.log(b, step, "numbers", "t"); got != all.String() {
					t.Errorf("step %s, the file: %d bytes, want %d", step, len(got), all.Len())
				}
			}
			if got := r.properties(b)["captured"].Value; got != all.String()[:strings.Index(all.String(), "501\n")]+"end\n" {
				t.Errorf("captured: %.100q", got)
			}
		})
	}
}
