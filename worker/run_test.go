package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"buildstar/conn/wire"
)

func TestBackOff(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 1500 * time.Millisecond, 2: 2250 * time.Millisecond, 6: 11390625 * time.Microsecond,
		11: time.Minute, 1000: time.Minute} {
		if got := backOff(n, 0); got != want {
			t.Errorf("after %d failures: %v, want %v", n, got, want)
		}
	}
}

// The wait grows while nothing works, also when the master accepts connections but asks
// nothing, and is short again after a session that attached.
func TestRunReconnects(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Duration
		start := time.Now()
		dial := func(context.Context) (wire.Transport, error) {
			at = append(at, time.Since(start))
			here, there := wire.Pipe()
			switch n := len(at); {
			case n == 12:
				cancel()
				fallthrough
			case n%2 == 0:
				return nil, errors.New("no route")
			case n == 7:
				b, err := wire.AppendRequest(nil, 0, wire.OpGetWorkerInfo, nil)
				if err != nil {
					return nil, err
				}
				if err := here.Write(b); err != nil {
					return nil, err
				}
			}
			return there, here.Close("")
		}
		err := Run(ctx, Config{Name: "w", Basedir: dir, Logger: discard(), Dial: dial})
		if err != nil {
			t.Errorf("Run = %v", err)
		}
		for i := 1; i < len(at); i++ {
			n := i // failures in a row
			if i >= 7 {
				n = i - 6
			}
			if wait := at[i] - at[i-1]; wait < backOff(n, 0) || wait > backOff(n, 1) {
				t.Errorf("wait %d was %v, want %v to %v", i, wait, backOff(n, 0), backOff(n, 1))
			}
		}
		if len(at) != 12 {
			t.Errorf("%d attempts", len(at))
		}
	})
}

func TestRunGivesUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		err := Run(t.Context(), Config{Name: "w", Basedir: dir, Logger: discard(), MaxRetries: 3, Dial: func(context.Context) (wire.Transport, error) {
			n++
			return nil, ErrRefused
		}})
		if !errors.Is(err, ErrRefused) || n != 4 {
			t.Errorf("Run = %v after %d attempts", err, n)
		}
	})
}

// socketMaster serves WebSockets and hands them out.
func socketMaster(t *testing.T) (address string, conns chan *websocket.Conn) {
	t.Helper()
	conns = make(chan *websocket.Conn, 1)
	var up websocket.Upgrader
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "w" || password != "p:w\u00e9" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conns <- c
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http"), conns
}

func ask(t *testing.T, c *websocket.Conn, seq int64, op string, fields map[string]any) {
	t.Helper()
	b, err := wire.AppendRequest(nil, seq, op, fields)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteMessage(websocket.BinaryMessage, b); err != nil {
		t.Fatal(err)
	}
}

// until reads messages until one satisfies want.
func until(t *testing.T, c *websocket.Conn, want func(*wire.Message) bool) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var m wire.Message
	for {
		_, frame, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Parse(frame); err != nil {
			t.Fatal(err)
		}
		if want(&m) {
			return
		}
	}
}

func isAnswer(m *wire.Message) bool { return m.Op == wire.OpResponse }

// Over a real socket: attach, lose the connection, attach again, find the command that
// went on meanwhile by its id, shut down.
func TestRunOverSocket(t *testing.T) {
	url, conns := socketMaster(t)
	done := make(chan error, 1)
	go func() {
		done <- Run(t.Context(), Config{
			MasterURL: url, Name: "w", Password: "p:w\u00e9", Basedir: t.TempDir(), Logger: discard(), OrphanTimeout: time.Minute,
		})
	}()
	c := <-conns
	if err := c.WriteMessage(websocket.TextMessage, []byte("ignored")); err != nil {
		t.Fatal(err)
	}
	ask(t, c, 0, wire.OpGetWorkerInfo, nil)
	until(t, c, isAnswer)
	ask(t, c, 1, wire.OpSetWorkerSettings, map[string]any{wire.KeyArgs: map[string]any{
		wire.SetNewlineRE: wire.NoNewlines, wire.SetMaxLineLength: 100, wire.SetBufferSize: 100, wire.SetBufferTimeout: 0.03}})
	ask(t, c, 2, wire.OpStartCommand, map[string]any{wire.KeyCommandID: "orphan", wire.KeyCommandName: "shell",
		wire.KeyArgs: map[string]any{"workdir": ".", "command": "echo pid $$; sleep 600", "logEnviron": false}})
	var pid int
	until(t, c, func(m *wire.Message) bool {
		for _, e := range m.Entries {
			if e.Key == wire.Stdout {
				pid = pidIn(t, string(e.Text))
			}
		}
		return pid != 0
	})
	c.Close()

	c = <-conns
	defer c.Close()
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the command did not survive: %v", err)
	}
	ask(t, c, 0, wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: "orphan", wire.KeyWhy: "found again"})
	until(t, c, isAnswer)
	gone(t, pid)
	ask(t, c, 1, wire.OpShutdown, nil)
	until(t, c, isAnswer)
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("after shutdown: %v, want a close frame", err)
	}
}

func TestRunRefused(t *testing.T) {
	url, _ := socketMaster(t)
	var mu sync.Mutex
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		cancel() // the first line is enough
		return log.Write(p)
	})
	err := Run(ctx, Config{MasterURL: url, Name: "w", Password: "wrong", Basedir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(w, nil))})
	if err != nil {
		t.Errorf("Run = %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	contains(t, "log", log.String(), `the master has no worker \"w\" with this password`)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRunConfig(t *testing.T) {
	for _, cfg := range []Config{
		{MasterURL: "http://x:1", Name: "w"}, {MasterURL: "x:1", Name: "w"}, {MasterURL: "ws://", Name: "w"}, {MasterURL: "ws://x:1"},
		{MasterURL: "ws://x:1", Name: "a:b"},
	} {
		cfg.Basedir, cfg.Logger = t.TempDir(), discard()
		if err := Run(t.Context(), cfg); err == nil {
			t.Errorf("Run with %q, %q works", cfg.MasterURL, cfg.Name)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	d, err := newDialer(Config{MasterURL: "ws" + strings.TrimPrefix(srv.URL, "http"), Name: "w"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.dial(t.Context()); err == nil || !strings.Contains(err.Error(), "is this the port for workers?") {
		t.Errorf("dial to another server: %v", err)
	}
}
