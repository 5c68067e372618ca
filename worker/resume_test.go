package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildstar/conn/wire"
)

// lasting is a worker whose connection a test can cut.
type lasting struct {
	t     *testing.T
	dir   string
	dials chan wire.Transport
}

// startLasting runs a worker that keeps what its commands say.
func startLasting(t *testing.T, change ...func(*Config)) *lasting {
	t.Helper()
	l := &lasting{t: t, dir: t.TempDir(), dials: make(chan wire.Transport)}
	ctx, cancel := context.WithCancel(context.Background())
	cfg := Config{Name: "w", Basedir: l.dir, Logger: discard(), OrphanTimeout: time.Hour, killWait: time.Second, leftoverWait: time.Second,
		Backoff: func(int) time.Duration { return 0 }}
	for _, c := range change {
		c(&cfg)
	}
	cfg.Dial = func(ctx context.Context) (wire.Transport, error) {
		select {
		case there := <-l.dials:
			return there, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ended := make(chan error)
	go func() { ended <- Run(ctx, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return l
}

// connect is a new session, as a master of ours begins it; the list is what the worker
// says it has.
func (l *lasting) connect() (m *master, list map[string][]any) {
	l.t.Helper()
	here, there := wire.Pipe()
	m = &master{t: l.t, tr: here, basedir: l.dir, answers: map[int64]response{}, remotes: map[string]*remote{}}
	m.changed = sync.NewCond(&m.mu)
	done := make(chan struct{})
	go func() { defer close(done); m.read() }()
	l.t.Cleanup(func() { here.Close("the test is over"); <-done })
	l.dials <- there
	info, ok := m.request(wire.OpGetWorkerInfo, nil).result.(map[string]any)
	if !ok {
		l.t.Fatal("no information")
	}
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	list = map[string][]any{}
	for _, e := range info[wire.InfoOurs].(map[string]any)[wire.OursRunning].([]any) {
		list[e.([]any)[0].(string)] = e.([]any)
	}
	return m, list
}

// cut ends a session without a word.
func (m *master) cut() {
	m.tr.Close("")
	m.wait("the end of the session", func() bool { return m.closed })
}

func (m *master) beginKept(id, name string, args cmdArgs) *remote {
	m.t.Helper()
	r := m.know(id)
	got := m.request(wire.OpStartCommand, map[string]any{
		wire.KeyCommandID: id, wire.KeyCommandName: name, wire.KeyArgs: args, wire.KeyResume: []byte("token"),
	})
	if got.exception {
		m.t.Fatalf("start %s: %v", name, got.result)
	}
	return r
}

func (m *master) know(id string) *remote {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &remote{texts: map[string]string{}, lines: map[string]int{}, values: map[string]any{}}
	m.remotes[id] = r
	return r
}

func (m *master) resume(id string, from int64) *remote {
	m.t.Helper()
	r := m.know(id)
	if got := m.request(wire.OpResumeCommand, map[string]any{wire.KeyCommandID: id, wire.KeyFrom: from}); got.exception {
		m.t.Fatalf("resume from %d: %v", from, got.result)
	}
	return r
}

func (m *master) acknowledge(id string, through int64) {
	m.t.Helper()
	if got := m.request(wire.OpAcknowledge, map[string]any{wire.KeyArgs: map[string]any{id: through}}); got.exception {
		m.t.Fatalf("acknowledge: %v", got.result)
	}
}

// onceThere is a command line that goes on once the file exists.
func onceThere(file string) string { return "while [ ! -e " + file + " ]; do sleep 0.02; done" }

func (l *lasting) touch(file string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, file), nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// A command goes on without a connection, and every later session can have all of it
// again until it was acknowledged.
func TestResume(t *testing.T) {
	l := startLasting(t)
	m, list := l.connect()
	if len(list) != 0 {
		t.Errorf("a new worker has %v", list)
	}
	r := m.beginKept("a", wire.CmdShell, m.shellArgs("echo one; "+onceThere("go")+"; echo two; exit 3", nil))
	m.wait("one", func() bool { return r.texts[wire.Stdout] == "one\n" })
	seen := int64(r.updates)
	m.cut()

	m, list = l.connect()
	if got := list["a"]; len(got) != 4 || got[1] != seen+1 || got[2] != int64(1) || string(got[3].([]byte)) != "token" {
		t.Errorf("after %d updates the worker has %v", seen, list)
	}
	r = m.resume("a", seen+1)
	l.touch("go")
	m.finish(r)
	r.stdout(t, "two\n")
	r.rc(t, 3)
	m.cut()

	m, _ = l.connect()
	r = m.resume("a", 1)
	m.finish(r)
	r.stdout(t, "one\ntwo\n")
	m.acknowledge("a", seen)
	m.cut()

	m, list = l.connect()
	if got := list["a"]; len(got) != 4 || got[2] != seen+1 {
		t.Errorf("after the acknowledgement of %d updates the worker has %v", seen, list)
	}
	if got := m.request(wire.OpResumeCommand, map[string]any{wire.KeyCommandID: "a", wire.KeyFrom: int64(1)}); !got.exception {
		t.Error("an update that was acknowledged can be had again")
	}
	r = m.resume("a", seen+1)
	m.finish(r)
	r.stdout(t, "two\n")
	m.acknowledge("a", -1)
	m.cut()
	if _, list = l.connect(); len(list) != 0 {
		t.Errorf("after all was acknowledged the worker has %v", list)
	}
}

// Output beyond the bound stops the command and is not lost; files hold what memory does
// not, and have no names.
func TestResumeBound(t *testing.T) {
	const keep = 100 << 10
	l := startLasting(t, func(c *Config) { c.keep = keep })
	m, _ := l.connect()
	line := strings.Repeat("x", 99)
	const lines = 5000
	r := m.beginKept("a", wire.CmdShell, m.shellArgs(fmt.Sprintf("echo pid $$; %s; yes %s | head -n %d; touch done", onceThere("go"), line, lines), nil))
	m.wait("its pid", func() bool { return strings.Contains(r.texts[wire.Stdout], "\n") })
	m.cut()
	l.touch("go")

	m, _ = l.connect()
	var first int64 = 1
	total := 0
	for n := 0; ; n++ {
		// Time passes here: the command does not get beyond the bound.
		r = m.resume("a", first)
		m.wait("a part", func() bool { return r.done || int64(r.updates) > 2 })
		if _, err := os.Stat(filepath.Join(l.dir, "done")); err == nil && n == 0 {
			t.Error("the command was not stopped")
		}
		m.mu.Lock()
		done, updates, got := r.done, int64(r.updates), len(r.texts[wire.Stdout])
		delete(m.remotes, "a")
		m.mu.Unlock()
		if done {
			total += got
			break
		}
		total += got
		first += updates
		m.acknowledge("a", first-1)
		m.cut()
		m, _ = l.connect()
	}
	if want := lines*100 + len("pid \n"); total < want || total > want+10 {
		t.Errorf("%d bytes came, want about %d", total, want)
	}
	files, err := filepath.Glob(filepath.Join(l.dir, ".output-*"))
	if err != nil || len(files) > 0 {
		t.Errorf("files %v, %v", files, err)
	}
}

// A command that no master asks for is ended after the time that was given, and the next
// master hears that it was.
func TestOrphanTimeout(t *testing.T) {
	l := startLasting(t, func(c *Config) { c.OrphanTimeout = 10 * time.Millisecond })
	m, _ := l.connect()
	r := m.beginKept("a", wire.CmdShell, m.shellArgs("echo pid $$; sleep 600", nil))
	m.wait("its pid", func() bool { return strings.Contains(r.texts[wire.Stdout], "\n") })
	pid := pidIn(t, r.texts[wire.Stdout])
	m.cut()
	gone(t, pid)
	m, list := l.connect()
	if got := list["a"]; len(got) != 4 || got[1] != int64(0) {
		t.Errorf("the worker has %v", list)
	}
	m.interrupt("a")
	m.cut()
	if _, list = l.connect(); len(list) != 0 {
		t.Errorf("the worker has %v", list)
	}
}

// The end of a command that was not resumed is answered when nothing of it is left.
func TestInterruptOrphan(t *testing.T) {
	l := startLasting(t)
	m, _ := l.connect()
	r := m.beginKept("a", wire.CmdShell, m.shellArgs(`trap "" TERM; echo pid $$; while :; do sleep 0.1; done`, cmdArgs{"sigtermTime": 0.3}))
	m.wait("its pid", func() bool { return strings.Contains(r.texts[wire.Stdout], "\n") })
	pid := pidIn(t, r.texts[wire.Stdout])
	m.cut()
	m, _ = l.connect()
	m.interrupt("a")
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the process was still there")
	}
	m.cut()
	if _, list := l.connect(); len(list) != 0 {
		t.Errorf("the worker has %v", list)
	}
}

// A transfer is done anew, one that was cut and one that had ended.
func TestResumeTransfer(t *testing.T) {
	l := startLasting(t)
	text := strings.Repeat("0123456789", 100)
	if err := os.WriteFile(filepath.Join(l.dir, "f"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := cmdArgs{"path": filepath.Join(l.dir, "f"), "maxsize": nil, "blocksize": 100, "keepstamp": true}
	m, _ := l.connect()
	m.mu.Lock()
	r := &remote{texts: map[string]string{}, lines: map[string]int{}, values: map[string]any{}, withhold: wire.OpUploadFileWrite}
	m.remotes["a"] = r
	m.mu.Unlock()
	if got := m.request(wire.OpStartCommand, map[string]any{wire.KeyCommandID: "a", wire.KeyCommandName: wire.CmdUploadFile,
		wire.KeyArgs: args, wire.KeyResume: []byte{}}); got.exception {
		t.Fatal(got.result)
	}
	m.wait("a block", func() bool { return len(r.upload) > 0 })
	for range 2 {
		m.cut()
		m, _ = l.connect()
		r = m.resume("a", 1)
		m.finish(r)
		r.rc(t, 0)
		if string(r.upload) != text || r.texts[wire.Header] == "" || r.stamp[1] == nil {
			t.Errorf("%d bytes came, header %q", len(r.upload), r.texts[wire.Header])
		}
	}
	m.acknowledge("a", -1)
	m.know("b").source = strings.NewReader(text[:250])
	m.mu.Lock()
	m.remotes["b"].withhold = wire.OpReadFileClose
	m.mu.Unlock()
	m.request(wire.OpStartCommand, map[string]any{wire.KeyCommandID: "b", wire.KeyCommandName: wire.CmdDownloadFile,
		wire.KeyArgs:   cmdArgs{"path": filepath.Join(l.dir, "g"), "maxsize": nil, "blocksize": 100, "mode": nil},
		wire.KeyResume: []byte{}})
	m.cut()
	m, _ = l.connect()
	m.mu.Lock()
	r = &remote{texts: map[string]string{}, lines: map[string]int{}, values: map[string]any{}, source: strings.NewReader(text)}
	m.remotes["b"] = r
	m.mu.Unlock()
	if got := m.request(wire.OpResumeCommand, map[string]any{wire.KeyCommandID: "b", wire.KeyFrom: int64(1)}); got.exception {
		t.Fatal(got.result)
	}
	m.finish(r)
	r.rc(t, 0)
	if got, err := os.ReadFile(filepath.Join(l.dir, "g")); err != nil || string(got) != text {
		t.Errorf("%d bytes were written, %v", len(got), err)
	}
}
