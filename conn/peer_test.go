package conn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"buildstar/conn/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// yard is a Host for tests: one password for all, and attached sessions come out of a
// channel.
type yard struct {
	attached chan Session
	leaves   chan Session
	detached chan Session
	failed   chan string
	log      *logBuffer
}

func (y *yard) Login(name, password string) error {
	switch {
	case strings.HasPrefix(name, "nobody"):
		return ErrUnknownWorker
	case password != "pa:ss":
		return ErrBadPassword
	}
	return nil
}

func (y *yard) Attached(s Session) { y.attached <- s }
func (y *yard) Leaves(s Session)   { y.leaves <- s }
func (y *yard) Detached(s Session) { y.detached <- s }

func (y *yard) AttachFailed(name string, why error) { y.failed <- fmt.Sprint(name, ": ", why) }

// logBuffer is what a server logs.
type logBuffer struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	also io.Writer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.also != nil {
		if _, err := l.also.Write(p); err != nil {
			return 0, err
		}
	}
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newYard(opt Options) (*Server, *yard) {
	y := &yard{attached: make(chan Session, 100), leaves: make(chan Session, 100), detached: make(chan Session, 2000), failed: make(chan string, 100), log: &logBuffer{}}
	opt.Logger = slog.New(slog.NewTextHandler(y.log, nil))
	return NewServer(y, opt), y
}

// bubble runs a test with its own server in a bubble of fake time, and shuts the server
// down at the end.
func bubble(t *testing.T, f func(t *testing.T, srv *Server, y *yard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv, y := newYard(Options{Epoch: "test"})
		f(t, srv, y)
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// peer is a worker whose every message the test writes.
type peer struct {
	t   testing.TB
	tr  wire.Transport
	seq int64
}

// message is one message from the master, as a map.
type message map[string]any

func (m message) seq() int64 { return m["seq_number"].(int64) }

// connect starts serving a new scripted worker.
func connect(t testing.TB, srv *Server, name string) *peer {
	master, worker := wire.Pipe()
	go func() { _ = srv.ServePipe(context.Background(), master, name) }()
	return &peer{t: t, tr: worker}
}

// read returns the master's next message, or the error of the closed connection.
func (p *peer) read() (message, error) {
	b, err := p.tr.Read()
	if err != nil {
		return nil, err
	}
	v, err := wire.Decode(b)
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// want returns the master's next message, which must have this op.
func (p *peer) want(op string) message {
	p.t.Helper()
	m, err := p.read()
	if err != nil {
		p.t.Fatalf("wait for %s: %v", op, err)
	}
	if m["op"] != op {
		p.t.Fatalf("got %v, want %s", m, op)
	}
	return m
}

// nothing fails the test if the master has sent anything more.
func (p *peer) nothing() {
	p.t.Helper()
	synctest.Wait()
	ch := make(chan message, 1)
	go func() {
		if m, err := p.read(); err == nil {
			ch <- m
		}
	}()
	synctest.Wait()
	select {
	case m := <-ch:
		p.t.Errorf("got %v, want nothing", m)
	default:
	}
	p.tr.Close("") // ends the reader: this is the last thing a test does with a peer
}

func (p *peer) reply(m message, result any) {
	p.t.Helper()
	p.raw(wire.AppendResponse(nil, m.seq(), result))
}

func (p *peer) refuse(m message, text string) {
	p.t.Helper()
	p.raw(wire.AppendException(nil, m.seq(), text))
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if err := p.tr.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// send sends a request and returns its seq_number.
func (p *peer) send(op string, fields map[string]any) int64 {
	p.t.Helper()
	seq := p.seq
	p.seq++
	b, err := wire.AppendRequest(nil, seq, op, fields)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(b)
	return seq
}

func (p *peer) update(id string, args ...any) int64 {
	p.t.Helper()
	return p.send("update", map[string]any{"command_id": id, "args": args})
}

func (p *peer) complete(id string, args any) int64 {
	p.t.Helper()
	return p.send("complete", map[string]any{"command_id": id, "args": args})
}

// answered checks that the master's next messages answer these requests, in order.
func (p *peer) answered(seqs ...int64) {
	p.t.Helper()
	for _, seq := range seqs {
		m := p.want("response")
		if m.seq() != seq || m["is_exception"] != nil || m["result"] != nil {
			p.t.Errorf("got %v, want a nil answer to %d", m, seq)
		}
	}
}

// excepted checks that the next message answers seq with an exception, and returns its
// text.
func (p *peer) excepted(seq int64) string {
	p.t.Helper()
	m := p.want("response")
	if m.seq() != seq || m["is_exception"] != true {
		p.t.Errorf("got %v, want an exception for %d", m, seq)
	}
	text, _ := m["result"].(string)
	return text
}

func stdout(text string) any {
	var indexes, times []any
	for i, r := range []rune(text) {
		if r == '\n' {
			indexes, times = append(indexes, i), append(times, 1.5)
		}
	}
	return []any{"stdout", []any{text, indexes, times}}
}

func rc(n int) any { return []any{"rc", n} }

// info is what a stock worker says about itself.
func info() map[string]any {
	return map[string]any{
		"admin": "Me\n", "host": "A machine", "os_id": "debian", "environ": map[string]any{"HOME": "/home/bot", "TOKEN": "secret"},
		"system": "posix", "basedir": "/home/bot/worker", "numcpus": 2, "version": "3.7.0-2",
		"worker_commands": map[string]any{"shell": "3.1", "mkdir": "3.1"}, "delete_leftover_dirs": false,
	}
}

// attach plays the worker's part until the host has the session.
func (p *peer) attach(y *yard) Session {
	p.t.Helper()
	p.reply(p.want("get_worker_info"), info())
	p.reply(p.want("set_worker_settings"), nil)
	return <-y.attached
}

// run starts a command on s and has the worker accept it; what the loop saw comes from
// the channel when it is over.
func (p *peer) run(ctx context.Context, s Session, c Command) <-chan outcome {
	p.t.Helper()
	out := make(chan outcome, 1)
	go func() { out <- collect(ctx, s, c) }()
	m := p.want("start_command")
	if m["command_id"] != c.ID || m["command_name"] != c.Name {
		p.t.Errorf("got %v", m)
	}
	p.reply(m, nil)
	return out
}

// outcome is all that a command's loop saw.
type outcome struct {
	text    string // of stdout
	rc      any
	updates []Update
	err     error
}

func collect(ctx context.Context, s Session, c Command) (o outcome) {
	updates, err := s.Run(ctx, c)
	if err != nil {
		return outcome{err: err}
	}
	for u, err := range updates {
		if err != nil {
			o.err = err
			continue
		}
		o.updates = append(o.updates, u)
		for _, e := range u.Entries {
			switch e.Key {
			case wire.Stdout:
				o.text += string(e.Text)
			case wire.RC:
				o.rc = e.Value
			}
		}
	}
	return o
}

// ended waits for the session to end, and returns why.
func ended(s Session) error {
	<-s.Done()
	return s.Err()
}

var errDisk = errors.New("no space left on device")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errDisk }

var _ io.Writer = brokenWriter{}

const second = time.Second

// startShell runs shell on s, has the worker accept it, and returns its updates, which
// nobody ranges over yet.
func (p *peer) startShell(ctx context.Context, s Session, id string) iter.Seq2[Update, error] {
	p.t.Helper()
	out := make(chan iter.Seq2[Update, error], 1)
	go func() {
		updates, err := s.Run(ctx, Command{ID: id, Name: "shell"})
		if err != nil {
			p.t.Error(err)
		}
		out <- updates
	}()
	p.reply(p.want("start_command"), nil)
	return <-out
}
