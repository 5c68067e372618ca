package engine

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/worker"
)

// workerIn and workerOf make the test binary a worker, of the master at an address, in a
// directory.
const (
	workerIn = "BUILDSTAR_TEST_WORKER_IN"
	workerOf = "BUILDSTAR_TEST_WORKER_OF"
)

func runWorker() int {
	err := worker.Run(context.Background(), worker.Config{
		MasterURL: os.Getenv(workerOf), Name: "w", Password: "pw", Basedir: os.Getenv(workerIn), Logger: quietLog(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// process starts a worker in its own process; it is killed when the test ends.
func (r *running) process(address string) *os.Process {
	r.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerIn+"="+filepath.Join(r.o.Basedir, "there"), workerOf+"=ws://"+address)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return cmd.Process
}

// listening is a configuration whose worker comes over the network, and is watched.
func listening(steps ...config.Step) *config.Snapshot {
	snap := remote([]string{"w"}, steps...)
	snap.Workers[0].Keepalive = time.Hour
	snap.Master.WorkerListen = []config.Listen{{Host: "127.0.0.1"}}
	return config.New(*snap)
}

// watched makes a master ask for signs of life every second.
func watched(o *Options) { o.Ping = time.Second }

// twice hangs in the first build and passes in the second.
const twice = "if [ -e ../again ]; then echo second; else touch ../again; echo first; sleep 600; fi"

// lostAndFound checks that the build on a worker that fell silent ends as RETRY, and that
// its request is built once the worker is back.
func (r *running) lostAndFound(silence, back func()) {
	r.t.Helper()
	id := r.submit("b")
	r.printed("first")
	silence()
	b := r.finished(id)
	if b.Results != config.Retry || !strings.Contains(b.StateString, "no sign of life") {
		r.t.Errorf("the first build: %+v", b)
	}
	back()
	if b := r.finished(id); b.Results != config.Success || b.Number != 2 {
		r.t.Errorf("the second build: %+v", b)
	}
}

// A worker's process that is stopped (SIGSTOP) keeps its connection and answers nothing.
func TestWorkerStopped(t *testing.T) {
	r := newSite(t).start(listening(shell("work", twice)), watched)
	p := r.process(r.WorkerAddrs()[0].String())
	signal := func(s syscall.Signal) func() {
		return func() {
			if err := p.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.lostAndFound(signal(syscall.SIGSTOP), signal(syscall.SIGCONT))
}

// cable is a network between the workers and the master that can be cut: then nothing
// comes through any more, and no end hears of it.
type cable struct {
	ln     net.Listener
	master string
	wg     sync.WaitGroup
	mu     sync.Mutex
	cutoff chan struct{} // closed when it was cut
	plugs  []net.Conn
}

func newCable(t *testing.T, master string) *cable {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{ln: ln, master: master, cutoff: make(chan struct{})}
	c.wg.Go(c.serve)
	t.Cleanup(func() {
		ln.Close()
		c.cut()
		c.mu.Lock()
		for _, p := range c.plugs {
			p.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *cable) serve() {
	for {
		a, err := c.ln.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", c.master)
		if err != nil {
			a.Close()
			continue
		}
		c.mu.Lock()
		c.plugs = append(c.plugs, a, b)
		cutoff := c.cutoff
		c.mu.Unlock()
		c.wg.Go(func() { carry(a, b, cutoff) })
		c.wg.Go(func() { carry(b, a, cutoff) })
	}
}

// carry passes bytes on until the cable is cut; from then on it swallows them.
func carry(to, from net.Conn, cutoff <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if closed(cutoff) {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if n > 0 {
			_, _ = to.Write(buf[:n]) // the other direction finds out
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// cut silences what is connected; new connections work.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.cutoff)
	c.cutoff = make(chan struct{})
}

// The network is cut: nobody hears of it, both ends find out, and the worker comes back.
func TestNetworkCut(t *testing.T) {
	r := newSite(t).start(listening(shell("work", twice)), watched)
	net := newCable(t, r.WorkerAddrs()[0].String())
	r.process(net.ln.Addr().String())
	r.lostAndFound(net.cut, func() {})
}
