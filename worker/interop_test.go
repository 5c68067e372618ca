package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/conn"
	"buildstar/conn/wire"
	"buildstar/worker"
)

// host takes what attaches.
type host struct{ sessions chan conn.Session }

func (h host) Login(name, password string) error {
	if name != "w" || password != "secret" {
		return conn.ErrBadPassword
	}
	return nil
}

func (h host) Attached(s conn.Session) { h.sessions <- s }

func (h host) Leaves(conn.Session)        {}
func (h host) Detached(conn.Session)      {}
func (h host) AttachFailed(string, error) {}

// TestWithOurMaster runs the worker against package conn, in process and over a socket.
func TestWithOurMaster(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, how := range []string{"pipe", "socket"} {
		t.Run(how, func(t *testing.T) {
			h := host{make(chan conn.Session, 1)}
			srv := conn.NewServer(h, conn.Options{Logger: log})
			ctx, cancel := context.WithCancel(t.Context())
			dir := t.TempDir()
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			cfg := worker.Config{Name: "w", Password: "secret", Basedir: dir, Version: "1.2", Logger: log}
			if how == "pipe" {
				a, b := wire.Pipe()
				wg.Go(func() { _ = srv.ServePipe(ctx, a, "w") })
				wg.Go(func() { _ = worker.Serve(ctx, b, cfg) })
			} else {
				web := httptest.NewServer(srv)
				defer web.Close()
				cfg.MasterURL = "ws" + strings.TrimPrefix(web.URL, "http")
				wg.Go(func() {
					if err := worker.Run(ctx, cfg); err != nil {
						t.Error(err)
					}
				})
			}
			defer func() {
				if err := srv.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			exercise(t, <-h.sessions, dir)
		})
	}
}

func exercise(t *testing.T, s conn.Session, dir string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if i := s.Info(); !i.Ours || i.Version != "1.2" || i.Basedir != dir || i.System != "posix" {
		t.Errorf("info = %+v", i)
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
	out, rc, err := run(ctx, s, conn.Command{Name: wire.CmdShell, Args: map[string]any{
		"workdir": dir, "command": "yes | head -n 300000; printf 'a\\rb'; exit 4"}}, nil)
	if want := strings.Repeat("y\n", 300_000) + "a\rb\n"; out != want || rc != int64(4) || err != nil {
		t.Errorf("shell: %d bytes, want %d; rc %v, %v", len(out), len(want), rc, err)
	}

	data := bytes.Repeat([]byte("0123456789\xff"), 500_000)
	path := filepath.Join(dir, "file")
	_, rc, err = run(ctx, s, conn.Command{Name: wire.CmdDownloadFile, Download: bytes.NewReader(data), Args: map[string]any{
		"path": path, "blocksize": 256 << 10, "maxsize": len(data), "mode": 0o600}}, nil)
	if b, err2 := os.ReadFile(path); rc != int64(0) || err != nil || err2 != nil || !bytes.Equal(b, data) {
		t.Errorf("download: rc %v, %v, %v, %d bytes", rc, err, err2, len(b))
	}
	var got bytes.Buffer
	_, rc, err = run(ctx, s, conn.Command{Name: wire.CmdUploadFile, Upload: &got, Args: map[string]any{
		"path": path, "blocksize": 256 << 10, "maxsize": nil}}, nil)
	if rc != int64(0) || err != nil || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("upload: rc %v, %v, %d bytes", rc, err, got.Len())
	}
	_, _, err = run(ctx, s, conn.Command{Name: wire.CmdUploadFile, Upload: brokenWriter{}, Args: map[string]any{
		"path": path, "blocksize": 256 << 10, "maxsize": nil}}, nil)
	if err == nil {
		t.Error("an upload that cannot be written works")
	}

	stop, interrupt := context.WithCancel(ctx)
	defer interrupt()
	out, rc, err = run(stop, s, conn.Command{Name: wire.CmdShell, Args: map[string]any{
		"workdir": dir, "command": "echo started; sleep 600"}}, interrupt)
	if !strings.HasPrefix(out, "started\n") || rc != int64(-1) {
		t.Errorf("interrupted: %q, rc %v, %v", out, rc, err)
	}

	_, err = s.Run(ctx, conn.Command{Name: "svn", Args: map[string]any{}})
	var remote *conn.RemoteError
	if !errors.As(err, &remote) || !strings.Contains(remote.Text, "unrecognized WorkerCommand") {
		t.Errorf("an unknown command: %v", err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// run runs a command; atOutput is called when there is some.
func run(ctx context.Context, s conn.Session, c conn.Command, atOutput func()) (stdout string, rc any, err error) {
	updates, err := s.Run(ctx, c)
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	for u, e := range updates {
		err = errors.Join(err, e)
		for _, entry := range u.Entries {
			switch entry.Key {
			case wire.Stdout:
				b.Write(entry.Text)
				if atOutput != nil {
					atOutput()
				}
			case wire.RC:
				rc = entry.Value
			}
		}
	}
	return b.String(), rc, err
}

// A connection that is cut while a command runs: the master resumes it in the next
// session from any update that it has not acknowledged, sees every byte once, and then
// the worker forgets it.
func TestResumedByOurMaster(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	h := host{make(chan conn.Session, 1)}
	srv := conn.NewServer(h, conn.Options{Logger: log})
	web := httptest.NewServer(srv)
	defer web.Close()
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	ended := make(chan error)
	go func() {
		ended <- worker.Run(ctx, worker.Config{Name: "w", Password: "secret", Basedir: dir, Logger: log, OrphanTimeout: time.Hour,
			MasterURL: "ws" + strings.TrimPrefix(web.URL, "http")})
	}()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, srv.Shutdown(context.Background())); err != nil {
			t.Error(err)
		}
	}()
	s := <-h.sessions
	life := s.Info().Life
	if life == "" || len(s.Held()) != 0 {
		t.Fatalf("life %q, held %v", life, s.Held())
	}
	const lines = 200_000
	c := conn.Command{ID: "1-2.3", Token: []byte("hash"), Name: wire.CmdShell, Args: map[string]any{
		"workdir": dir, "command": "seq " + fmt.Sprint(lines)}}
	var text strings.Builder
	var taken int64
	updates, err := s.Run(t.Context(), c)
	for n := 0; ; n++ {
		if err != nil {
			t.Fatal(err)
		}
		var lost, cut bool
		for u, err := range updates {
			if lost = errors.Is(err, conn.ErrLost); lost {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if u.Number <= taken {
				t.Errorf("update %d came after %d", u.Number, taken)
			}
			taken = u.Number
			for _, e := range u.Entries {
				if e.Key == wire.Stdout {
					text.Write(e.Text)
				}
			}
			if n < 2 && taken >= int64(1+2*n) && !cut {
				cut = true
				s.AcknowledgeUpdates(c.ID, taken/2)
				if err := s.Ping(t.Context()); err != nil { // so it has arrived
					t.Error(err)
				}
				s.Close("the test cuts it")
			}
		}
		if !lost {
			break
		}
		s = <-h.sessions
		held := s.Held()
		if s.Info().Life != life || len(held) != 1 || held[0].ID != c.ID || string(held[0].Token) != "hash" || held[0].First > taken+1 {
			t.Fatalf("held: %+v", held)
		}
		c.From = taken + 1
		updates, err = s.Run(t.Context(), c)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintln(&want, i+1)
	}
	if text.String() != want.String() {
		t.Errorf("%d bytes came, want %d", text.Len(), want.Len())
	}
	s.Acknowledge(c.ID)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	s.Close("the last time")
	for s = <-h.sessions; len(s.Held()) != 0; s = <-h.sessions {
		s.Close("it was about to forget")
	}
}
