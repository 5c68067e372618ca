package conn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildstar/conn/wire"
)

const stockPatience = 20 * time.Second // for anything a stock worker does

// stockWorker runs Debian's buildbot-worker in the foreground until the test ends.
func stockWorker(t *testing.T, url, name, password string) (basedir string) {
	t.Helper()
	bin, err := exec.LookPath("buildbot-worker")
	if err != nil {
		t.Fatal("buildbot-worker is not installed; `apt-get install buildbot-worker python3-autobahn python3-msgpack`")
	}
	basedir = filepath.Join(t.TempDir(), name)
	address := strings.TrimPrefix(url, "http://")
	if out, err := exec.Command(bin, "create-worker", "--protocol="+wire.Protocol, basedir, address, name, password).CombinedOutput(); err != nil {
		t.Fatalf("create the worker: %v\n%s", err, out)
	}
	var log bytes.Buffer
	cmd := exec.Command(bin, "start", "--nodaemon", basedir)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PYTHONUNBUFFERED=1")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			more, _ := os.ReadFile(filepath.Join(basedir, "twistd.log"))
			t.Logf("the worker's log:\n%s%s", log.Bytes(), more)
		}
	})
	return basedir
}

// next waits for the worker to attach.
func (y *yard) next(t *testing.T) Session {
	t.Helper()
	select {
	case s := <-y.attached:
		return s
	case <-time.After(stockPatience):
		t.Fatalf("the worker did not attach within %v; the master's log:\n%s", stockPatience, y.log)
		return nil
	}
}

// lookout waits until the log holds want.
type lookout struct {
	want string
	logBuffer
	once sync.Once
	seen chan struct{}
}

func (l *lookout) Write(p []byte) (int, error) {
	n, err := l.logBuffer.Write(p)
	if strings.Contains(string(p), l.want) {
		l.once.Do(func() { close(l.seen) })
	}
	return n, err
}

func shell(workdir string, command any, more map[string]any) map[string]any {
	args := map[string]any{"workdir": workdir, "command": command, "env": nil, "want_stdout": true, "want_stderr": true,
		"logfiles": map[string]any{}, "timeout": 60, "maxTime": nil, "sigtermTime": nil, "usePTY": false, "logEnviron": false,
		"initial_stdin": nil, "interruptSignal": "KILL"}
	for key, value := range more {
		args[key] = value
	}
	return args
}

// stream gathers one stream of a command's updates.
func (o outcome) stream(key string) string {
	var text strings.Builder
	for _, u := range o.updates {
		for _, e := range u.Entries {
			if e.Key == key {
				text.Write(e.Text)
			}
		}
	}
	return text.String()
}

func (o outcome) value(key string) (v any) {
	for _, u := range o.updates {
		for _, e := range u.Entries {
			if e.Key == key {
				v = e.Value
			}
		}
	}
	return v
}

// TestStockWorker drives an unchanged buildbot-worker through all that a build needs.
func TestStockWorker(t *testing.T) {
	srv, y := newYard(Options{})
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	basedir := stockWorker(t, web.URL, "stock", "pa:ss")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	s := y.next(t)
	work := filepath.Join(basedir, "build")

	t.Run("information", func(t *testing.T) {
		i := s.Info()
		if i.Basedir != basedir || i.System != "posix" || !strings.HasPrefix(i.Version, "3.") || i.Ours || i.Commands["shell"] == "" {
			t.Errorf("got %+v", i)
		}
		facts := i.Facts.Map()
		if facts["numcpus"] == nil || facts["os_id"] == nil || i.Environ["HOME"] != os.Getenv("HOME") {
			t.Errorf("facts %v, environ %v", i.Facts, i.Environ)
		}
		if err := s.Ping(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("shell", func(t *testing.T) {
		o := collect(ctx, s, Command{Name: "shell", Args: shell(work, "echo out; echo err >&2; printf 'half a line'; exit 3", nil)})
		if o.err != nil || o.rc != int64(3) || o.stream("stdout") != "out\nhalf a line\n" || o.stream("stderr") != "err\n" {
			t.Errorf("got %v, %v, %q, %q", o.err, o.rc, o.stream("stdout"), o.stream("stderr"))
		}
		if !strings.Contains(o.stream("header"), "in dir "+work) {
			t.Errorf("header %q", o.stream("header"))
		}
		if elapsed, ok := o.value("elapsed").(float64); !ok || elapsed <= 0 {
			t.Errorf("elapsed %v", o.value("elapsed"))
		}
	})
	t.Run("arguments and environment", func(t *testing.T) {
		o := collect(ctx, s, Command{Name: "shell", Args: shell(work, []string{"printenv", "GREETING"}, map[string]any{"env": map[string]any{"GREETING": "grüß  dich"}})})
		if o.err != nil || o.rc != int64(0) || o.stream("stdout") != "grüß  dich\n" {
			t.Errorf("got %v, %v, %q", o.err, o.rc, o.stream("stdout"))
		}
	})
	// docs/protocol.md 0.2 item 4: with our settings a long line arrives whole, in time.
	t.Run("long line", func(t *testing.T) {
		o := collect(ctx, s, Command{Name: "shell", Args: shell(work, `head -c 300000 /dev/zero | tr '\0' x; echo; echo end`, nil)})
		if want := strings.Repeat("x", 300_000) + "\nend\n"; o.err != nil || o.stream("stdout") != want {
			t.Errorf("%d characters, %v", len(o.stream("stdout")), o.err)
		}
		lines := 0
		for _, u := range o.updates {
			for _, e := range u.Entries {
				for _, run := range e.Times {
					if e.Key == wire.Stdout {
						lines += run.Lines
					}
				}
			}
		}
		if lines != 2 {
			t.Errorf("%d lines have times, want 2", lines)
		}
	})
	t.Run("many lines", func(t *testing.T) {
		o := collect(ctx, s, Command{Name: "shell", Args: shell(work, `seq 200000`, nil)})
		if got := o.stream("stdout"); o.err != nil || strings.Count(got, "\n") != 200_000 || !strings.HasSuffix(got, "\n200000\n") {
			t.Errorf("%d lines, %v", strings.Count(got, "\n"), o.err)
		}
	})
	t.Run("refused command", func(t *testing.T) {
		_, err := s.Run(ctx, Command{Name: "nonsense", Args: map[string]any{}})
		var remote *RemoteError
		if !errors.As(err, &remote) || !strings.Contains(remote.Text, "nonsense") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("interrupt", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		updates, err := s.Run(ctx, Command{Name: "shell", Args: shell(work, "echo begun; sleep 300", nil)})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var o outcome
		for u, err := range updates {
			o.updates, o.err = append(o.updates, u), err
			if strings.Contains(o.stream("stdout"), "begun") {
				cancel()
			}
		}
		if o.err != nil || o.value("rc") != int64(-1) || !strings.Contains(o.stream("header"), "command interrupted") {
			t.Errorf("got %v, %v, %q after %v", o.err, o.value("rc"), o.stream("header"), time.Since(start))
		}
	})
	t.Run("upload", func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789\xff\n"), 50_000)
		if err := os.WriteFile(filepath.Join(basedir, "file"), want, 0o644); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		var modified float64
		o := collect(ctx, s, Command{Name: "upload_file", Upload: &file, Stamp: func(_, m float64) { modified = m },
			Args: map[string]any{"path": filepath.Join(basedir, "file"), "maxsize": nil, "blocksize": 65536, "keepstamp": true}})
		if o.err != nil || o.rc != int64(0) || !bytes.Equal(file.Bytes(), want) || modified == 0 {
			t.Errorf("got %v, %v, %d bytes, modified %v", o.err, o.rc, file.Len(), modified)
		}
		o = collect(ctx, s, Command{Name: "upload_file", Upload: brokenWriter{},
			Args: map[string]any{"path": filepath.Join(basedir, "file"), "maxsize": nil, "blocksize": 65536, "keepstamp": false}})
		if o.err == nil || !strings.Contains(o.err.Error(), errDisk.Error()) || o.rc != int64(1) {
			t.Errorf("onto a full disk: %v, %v", o.err, o.rc)
		}
	})
	t.Run("download", func(t *testing.T) {
		want := bytes.Repeat([]byte("0123456789\xff\n"), 50_000)
		path := filepath.Join(basedir, "new", "file")
		o := collect(ctx, s, Command{Name: "download_file", Download: bytes.NewReader(want),
			Args: map[string]any{"path": path, "maxsize": nil, "blocksize": 65536, "mode": 0o600}})
		got, err := os.ReadFile(path)
		if o.err != nil || o.rc != int64(0) || err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %v, %v, %v, %d bytes", o.err, o.rc, err, len(got))
		}
	})
	t.Run("listdir", func(t *testing.T) {
		o := collect(ctx, s, Command{Name: "listdir", Args: map[string]any{"path": basedir}})
		files, _ := o.value("files").([]any)
		if o.err != nil || o.rc != int64(0) || !slices.Contains(files, any("buildbot.tac")) {
			t.Errorf("got %v, %v, %v", o.err, o.rc, files)
		}
	})
	t.Run("duplicate", func(t *testing.T) {
		seen := &lookout{want: "another worker of this name", seen: make(chan struct{})}
		y.log.mu.Lock()
		y.log.also = seen
		y.log.mu.Unlock()
		stockWorker(t, web.URL, "stock", "pa:ss")
		select {
		case <-seen.seen:
		case <-time.After(stockPatience):
			t.Errorf("nothing in the log:\n%s", y.log)
		}
		if s.Err() != nil {
			t.Errorf("the older one ended with %v", s.Err())
		}
	})
	t.Run("reconnect", func(t *testing.T) {
		s.Close("a test of reconnecting")
		s = y.next(t)
		o := collect(ctx, s, Command{Name: "shell", Args: shell(work, "echo again", nil)})
		if o.err != nil || o.stream("stdout") != "again\n" {
			t.Errorf("got %v, %q", o.err, o.stream("stdout"))
		}
	})
	// docs/protocol.md 0.2 item 10: a lost connection does not stop a command; the next
	// attach does.
	t.Run("orphan", func(t *testing.T) {
		fifo := filepath.Join(basedir, "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		alive := make(chan error, 1)
		opened := make(chan struct{})
		go func() { // ends when the command's processes have
			f, err := os.Open(fifo)
			close(opened)
			if err == nil {
				_, err = io.Copy(io.Discard, f)
				f.Close()
			}
			alive <- err
		}()
		updates, err := s.Run(ctx, Command{Name: "shell", Args: shell(work, "exec 3>"+fifo+"; sleep 300", nil)})
		if err != nil {
			t.Fatal(err)
		}
		<-opened
		s.Close("a test of orphans")
		for _, err := range updates {
			if err != nil && !errors.Is(err, ErrLost) {
				t.Errorf("got %v", err)
			}
		}
		s = y.next(t)
		select {
		case err := <-alive:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(stockPatience):
			t.Error("the orphan lives")
		}
	})
	t.Run("shutdown", func(t *testing.T) {
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := ended(s); !errors.Is(err, ErrLost) {
			t.Errorf("ended with %v", err)
		}
	})
}

// docs/requirements.md A1.8, with a real worker: it is refused, and the log says why.
func TestStockWorkerWithWrongPassword(t *testing.T) {
	srv, y := newYard(Options{})
	seen := &lookout{want: "wrong password", seen: make(chan struct{})}
	y.log.also = seen
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	stockWorker(t, web.URL, "stock", "wrong")
	select {
	case <-seen.seen:
	case <-time.After(stockPatience):
		t.Fatalf("nothing in the log:\n%s", y.log)
	}
	if log := y.log.String(); !strings.Contains(log, "worker=stock") || !strings.Contains(log, "address=127.0.0.1") {
		t.Errorf("log:\n%s", log)
	}
	if len(y.attached) > 0 {
		t.Error("the worker attached")
	}
}
