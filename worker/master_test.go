package worker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"buildstar/conn/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// master is a scripted master at the other end of a pipe.
type master struct {
	t       testing.TB
	tr      wire.Transport
	basedir string
	stop    context.CancelFunc
	served  chan error // what Serve returned

	mu      sync.Mutex
	changed *sync.Cond
	seq     int64
	answers map[int64]response
	remotes map[string]*remote
	ids     int
	leaves  int // how often the worker asked to leave
	closed  bool
}

type response struct {
	result    any
	exception bool
}

// remote is what the master knows of one command.
type remote struct {
	ops      []string // of the worker's requests, updates left out
	keys     []string // of the entries, adjacent equal ones once
	texts    map[string]string
	lines    map[string]int // lines that had a time
	values   map[string]any
	updates  int
	done     bool
	failure  any // of complete
	upload   []byte
	stamp    [2]any
	source   io.Reader // what download_file reads
	refuse   string    // op that is answered with an exception
	withhold string    // op that is not answered

	countOnly bool // the text is not kept
	bytes     int
}

func startWorker(t testing.TB) *master { return startWorkerIn(t, t.TempDir()) }

func startWorkerIn(t testing.TB, basedir string, change ...func(*Config)) *master {
	t.Helper()
	here, there := wire.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	m := &master{
		t: t, tr: here, basedir: basedir, stop: cancel, served: make(chan error, 1),
		answers: map[int64]response{}, remotes: map[string]*remote{},
	}
	m.changed = sync.NewCond(&m.mu)
	cfg := Config{Name: "w", Basedir: basedir, Logger: discard(), killWait: time.Second, leftoverWait: time.Second}
	for _, c := range change {
		c(&cfg)
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.served <- Serve(ctx, there, cfg) })
	wg.Go(m.read)
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return m
}

func (m *master) read() {
	var msg wire.Message
	for {
		frame, err := m.tr.Read()
		if err != nil {
			m.mu.Lock()
			m.closed = true
			m.changed.Broadcast()
			m.mu.Unlock()
			return
		}
		if err := msg.Parse(frame); err != nil {
			m.t.Errorf("the worker sent what is no message: %v", err)
			continue
		}
		if answer := m.handle(&msg); answer != nil {
			_ = m.tr.Write(answer) // a worker that is gone needs no answer
		}
	}
}

func (m *master) handle(msg *wire.Message) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.changed.Broadcast()
	if msg.Op == wire.OpResponse {
		v, err := msg.Value(wire.KeyResult)
		if err != nil {
			m.t.Errorf("answer %d: %v", msg.Seq, err)
		}
		m.answers[msg.Seq] = response{v, msg.Exception}
		return nil
	}
	if msg.Op == wire.OpLeave {
		m.leaves++
		return wire.AppendResponse(nil, msg.Seq, nil)
	}
	r := m.remotes[msg.CommandID]
	if r == nil {
		return wire.AppendException(nil, msg.Seq, `unknown "command_id"`)
	}
	var result any
	switch msg.Op {
	case wire.OpUpdate:
		if msg.Bad != nil {
			m.t.Errorf("update: %v", msg.Bad)
		}
		r.update(msg.Entries)
	case wire.OpComplete:
		r.done = true
		r.failure, _ = msg.Value(wire.KeyArgs)
	case wire.OpUploadFileWrite, wire.OpUploadDirectoryWrite:
		block, err := msg.Bytes(wire.KeyArgs)
		if err != nil {
			m.t.Errorf("upload: %v", err)
		}
		r.upload = append(r.upload, block...)
	case wire.OpUploadFileUtime:
		r.stamp[0], _ = msg.Value(wire.KeyAccessTime)
		r.stamp[1], _ = msg.Value(wire.KeyModifiedTime)
	case wire.OpReadFile:
		length, err := msg.Int(wire.KeyLength)
		if err != nil {
			m.t.Errorf("read: %v", err)
		}
		block := make([]byte, length)
		n, _ := io.ReadFull(r.source, block)
		result = block[:n]
	}
	if msg.Op != wire.OpUpdate {
		r.ops = append(r.ops, msg.Op)
	}
	switch msg.Op {
	case r.withhold:
		return nil
	case r.refuse:
		return wire.AppendException(nil, msg.Seq, "disk full")
	}
	return wire.AppendResponse(nil, msg.Seq, result)
}

func (r *remote) update(entries []wire.Entry) {
	r.updates++
	for _, e := range entries {
		key := e.Key
		if key == wire.Log {
			key += ":" + e.Log
		}
		if n := len(r.keys); n == 0 || r.keys[n-1] != key {
			r.keys = append(r.keys, key)
		}
		switch e.Key {
		case wire.Stdout, wire.Stderr, wire.Header, wire.Log:
			if r.countOnly && e.Key == wire.Stdout {
				r.bytes += len(e.Text)
				continue
			}
			r.texts[key] += string(e.Text)
			for _, run := range e.Times {
				r.lines[key] += run.Lines
			}
		default:
			r.values[key] = e.Value
		}
	}
}

// wait waits until cond holds; it is called with the lock.
func (m *master) wait(what string, cond func() bool) {
	m.t.Helper()
	late := time.AfterFunc(patience, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.closed = true
		m.changed.Broadcast()
	})
	defer late.Stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	for !cond() {
		if m.closed {
			m.t.Fatalf("%s did not come", what)
		}
		m.changed.Wait()
	}
}

func (m *master) send(op string, fields map[string]any) int64 {
	m.t.Helper()
	m.mu.Lock()
	seq := m.seq
	m.seq++
	m.mu.Unlock()
	b, err := wire.AppendRequest(nil, seq, op, fields)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.tr.Write(b); err != nil {
		m.t.Fatal(err)
	}
	return seq
}

// request sends a request and waits for its answer.
func (m *master) request(op string, fields map[string]any) response {
	m.t.Helper()
	seq := m.send(op, fields)
	m.wait("answer to "+op, func() bool { _, ok := m.answers[seq]; return ok })
	return m.answers[seq]
}

type cmdArgs = map[string]any

// begin starts a command and returns when the worker accepted it.
func (m *master) begin(name string, args cmdArgs, prepare ...func(*remote)) (id string, r *remote) {
	m.t.Helper()
	m.mu.Lock()
	m.ids++
	id = fmt.Sprintf("test-%d", m.ids)
	r = &remote{texts: map[string]string{}, lines: map[string]int{}, values: map[string]any{}}
	for _, p := range prepare {
		p(r)
	}
	m.remotes[id] = r
	m.mu.Unlock()
	got := m.request(wire.OpStartCommand, map[string]any{
		wire.KeyCommandID: id, wire.KeyCommandName: name, wire.KeyArgs: args,
	})
	if got.exception {
		m.t.Fatalf("start %s: %v", name, got.result)
	}
	return id, r
}

// run runs a command to its end.
func (m *master) run(name string, args cmdArgs, prepare ...func(*remote)) *remote {
	m.t.Helper()
	_, r := m.begin(name, args, prepare...)
	m.finish(r)
	return r
}

func (m *master) finish(r *remote) {
	m.t.Helper()
	m.wait("complete", func() bool { return r.done })
}

// shell runs a shell command in the basedir, without the environment in its header.
func (m *master) shell(command any, more cmdArgs, prepare ...func(*remote)) *remote {
	m.t.Helper()
	return m.run(wire.CmdShell, m.shellArgs(command, more), prepare...)
}

func (m *master) shellArgs(command any, more cmdArgs) cmdArgs {
	args := cmdArgs{"workdir": m.basedir, "command": command, "logEnviron": false}
	for k, v := range more {
		args[k] = v
	}
	return args
}

// settings sets the worker's settings.
func (m *master) settings(newline string, maxLine, size int, timeout float64) {
	m.t.Helper()
	got := m.request(wire.OpSetWorkerSettings, map[string]any{wire.KeyArgs: map[string]any{
		wire.SetNewlineRE: newline, wire.SetMaxLineLength: maxLine, wire.SetBufferSize: size, wire.SetBufferTimeout: timeout,
	}})
	if got.exception {
		m.t.Fatalf("set_worker_settings: %v", got.result)
	}
}

// interrupt interrupts a command once its output holds text.
func (m *master) interruptAt(id string, r *remote, key, text string) {
	m.t.Helper()
	m.wait(fmt.Sprintf("%q", text), func() bool { return strings.Contains(r.texts[key], text) })
	m.interrupt(id)
}

func (m *master) interrupt(id string) {
	m.t.Helper()
	if got := m.request(wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: id, wire.KeyWhy: "test"}); got.exception {
		m.t.Fatalf("interrupt: %v", got.result)
	}
}

func (r *remote) rc(t testing.TB, want int64) {
	t.Helper()
	if got := r.values[wire.RC]; got != want {
		t.Errorf("rc = %v, want %d; header %q, stderr %q, complete %v", got, want, r.texts[wire.Header], r.texts[wire.Stderr], r.failure)
	}
}

func (r *remote) stdout(t testing.TB, want string) {
	t.Helper()
	if got := r.texts[wire.Stdout]; got != want {
		t.Errorf("stdout = %.200q (%d bytes), want %.200q (%d bytes)", got, len(got), want, len(want))
	}
}

func contains(t testing.TB, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s = %.400q, want it to contain %q", what, got, want)
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
