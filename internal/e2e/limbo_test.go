package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	torments    = flag.Int("torments", 6, "how often TestNoLimbo hurts something")
	tormentSeed = flag.Uint64("torment-seed", 0, "what is hurt and when; 0: chance")
)

// limbo has a builder for each kind of worker. Its commands end themselves within a second;
// one that is interrupted leaves a grandchild, and neither heeds SIGTERM.
const limbo = `
c = {}
c["workers"] = [worker.Worker("own", "p"), worker.Worker("stock", "p"), worker.LocalWorker("here")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
command = "trap '' TERM; sleep 1000 & p=$!; sleep 0.7; echo done >out; kill -9 $p"
work = util.BuildFactory([
    steps.ShellCommand(command = command, env = {"LIMBO": basedir}),
    steps.FileUpload(workersrc = "out", masterdest = util.Interpolate("out-%(prop:buildername)s")),
])
c["builders"] = [util.BuilderConfig(name = n, workernames = [n], factory = work) for n in ["own", "stock", "here"]]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["own", "stock", "here"])]
`

// victim is a worker's process, which is started again and again.
type victim struct {
	t    *testing.T
	args []string
	log  lockedBuffer
	cmd  *exec.Cmd
}

func newVictim(t *testing.T, args ...string) *victim {
	v := &victim{t: t, args: args}
	v.start()
	t.Cleanup(func() {
		v.end(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("log of %s:\n%s", args, v.log.tail(10000))
		}
	})
	return v
}

func (v *victim) start() {
	v.cmd = exec.Command(v.args[0], v.args[1:]...)
	v.cmd.Stdout, v.cmd.Stderr = &v.log, &v.log
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
}

func (v *victim) end(how syscall.Signal) {
	_ = v.cmd.Process.Signal(how)
	_ = v.cmd.Wait() // a signal is an error
}

// wire is the network between the workers and the master.
type wire struct {
	l     net.Listener
	to    string
	wg    sync.WaitGroup
	mu    sync.Mutex
	cut   bool // what is sent is lost, and nobody hears of it
	ended bool
	conns []net.Conn
}

// newWire puts a network before the port of the workers: m.workers is its near end.
func (m *master) newWire() *wire {
	m.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	w := &wire{l: l, to: fmt.Sprintf("127.0.0.1:%d", m.workers)}
	m.workers = l.Addr().(*net.TCPAddr).Port
	w.wg.Go(w.serve)
	m.t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
		w.heal()
		w.wg.Wait()
	})
	return w
}

func (w *wire) serve() {
	for {
		a, err := w.l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", w.to)
		if err != nil {
			a.Close()
			continue
		}
		w.mu.Lock()
		if w.ended {
			a.Close()
			b.Close()
		}
		w.conns = append(w.conns, a, b)
		w.mu.Unlock()
		w.wg.Go(func() { w.carry(a, b) })
		w.wg.Go(func() { w.carry(b, a) })
	}
}

func (w *wire) carry(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if w.isCut() {
			_, _ = io.Copy(io.Discard, from)
			return // heal closes both
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

func (w *wire) isCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
}

// heal mends the network; what was connected over it hears that it no longer is.
func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// torment is who is hurt, and by what.
type torment struct {
	t          *testing.T
	m          *master
	own, stock *victim
	wire       *wire
	chance     *rand.Rand
}

// moment waits until a random moment of the next second and a half.
func (x *torment) moment() {
	<-time.After(time.Duration(x.chance.Int64N(int64(1500 * time.Millisecond))))
}

// hurt does one bad thing, and mends it.
func (x *torment) hurt() (what string) {
	worker, name := x.own, "own"
	if x.chance.IntN(2) == 0 {
		worker, name = x.stock, "stock"
	}
	frozen := func(p *os.Process) {
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			x.t.Fatal(err)
		}
		x.moment()
		if err := p.Signal(syscall.SIGCONT); err != nil {
			x.t.Fatal(err)
		}
	}
	switch x.chance.IntN(8) {
	case 0:
		x.m.kill()
		x.m.start()
		return "kill -9 the master"
	case 1:
		x.m.kill()
		x.stillborn()
		x.m.start()
		return "kill -9 the master, and again while it starts"
	case 2:
		if status := x.m.stop(); status != 0 {
			x.t.Errorf("the master exited with %d on SIGTERM", status)
		}
		x.m.start()
		return "SIGTERM to the master"
	case 3:
		frozen(x.m.cmd.Process)
		return "SIGSTOP to the master"
	case 4:
		worker.end(syscall.SIGKILL)
		worker.start()
		return "kill -9 worker " + name
	case 5:
		worker.end(syscall.SIGTERM)
		worker.start()
		return "SIGTERM to worker " + name
	case 6:
		frozen(worker.cmd.Process)
		return "SIGSTOP to worker " + name
	default:
		x.wire.sever()
		x.moment()
		x.wire.heal()
		return "the network is cut"
	}
}

// stillborn is a master that is killed while it starts.
func (x *torment) stillborn() {
	cmd := exec.Command(binary, "start", x.m.dir)
	cmd.Stderr = x.m.log
	if err := cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.moment()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// work sees to it that each worker has something to do.
func (x *torment) work() {
	x.pardon()
	for _, id := range x.m.builders() {
		if len(get[request](x.m, fmt.Sprintf("builders/%d/buildrequests?complete=false", id), "buildrequests")) < 2 {
			x.m.force(id, nil)
		}
	}
}

// pardon ends the quarantine of workers, which is rightful but long.
func (x *torment) pardon() {
	type row struct {
		Name  string
		Until *int64 `json:"quarantine_until"`
	}
	for _, w := range get[row](x.m, "workers", "workers") {
		if w.Until != nil {
			x.m.post("workers/"+w.Name, "unpause", nil, nil)
		}
	}
}

// quiet checks that nothing is in limbo once nothing is hurt any more: each worker is
// connected and builds, every request and every build is over, and no process is left.
func (x *torment) quiet() {
	began := time.Now()
	var requests []int64
	for name, id := range x.m.builders() {
		x.m.connected(name)
		requests = append(requests, x.m.force(id, nil))
	}
	x.m.waitFor("no request is open", func() bool {
		x.pardon()
		return len(get[request](x.m, "buildrequests?complete=false", "buildrequests")) == 0
	})
	for _, id := range requests {
		checkResult(x.t, x.m.finished(id), 0)
	}
	if open := get[build](x.m, "builds?complete=false", "builds"); len(open) != 0 {
		x.t.Errorf("without requests, but open: %+v", open)
	}
	x.m.waitFor("no process is left", func() bool { return strays(x.m.dir) == nil })
	x.t.Logf("quiet after %v", time.Since(began).Round(time.Second))
}

// strays returns the processes of builds of the master in dir.
func strays(dir string) (all []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range names {
		env, _ := os.ReadFile(name) // it may have ended
		if bytes.Contains(env, []byte("LIMBO="+dir+"\x00")) {
			all = append(all, strings.Split(name, "/")[2])
		}
	}
	return all
}

// Masters, workers of each kind and the network fail at random moments: nothing is in limbo
// afterwards.
func TestNoLimbo(t *testing.T) {
	seed := *tormentSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-torment-seed=%d", seed)
	m := newMaster(t, limbo)
	x := &torment{t: t, m: m, wire: m.newWire(), chance: rand.New(rand.NewPCG(seed, 0))}
	m.start()
	address, dir := fmt.Sprintf("127.0.0.1:%d", m.workers), t.TempDir()
	stock, own, password := filepath.Join(dir, "stock"), filepath.Join(dir, "own"), filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("buildbot-worker", "create-worker", "--protocol=msgpack_experimental_v7", stock, address, "stock", "p").CombinedOutput(); err != nil {
		t.Fatalf("buildbot-worker create-worker: %v\n%s", err, out)
	}
	x.stock = newVictim(t, "buildbot-worker", "start", "--nodaemon", stock)
	x.own = newVictim(t, binary, "worker", "--master", address, "--name", "own", "--basedir", own, "--password-file", password)
	done := map[string]int{}
	for i := range *torments {
		x.work()
		x.moment()
		what := x.hurt()
		done[what]++
		t.Logf("%d: %s", i, what)
		if i%10 == 9 {
			x.quiet()
		}
		if t.Failed() {
			break
		}
	}
	x.quiet()
	t.Logf("no limbo after %v", done)
}
