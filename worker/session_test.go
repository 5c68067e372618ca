package worker

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"buildstar/conn/wire"
)

func TestWorkerInfo(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"admin": "me <me@example.org>\n", "host": "a host\n", "access_uri": "ssh://x", "bad": "n\xf6"} {
		put(t, filepath.Join(dir, "info", name), []byte(text))
	}
	if err := os.Mkdir(filepath.Join(dir, "info", "dir"), 0o777); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOT_UTF8", "a\xffb")
	t.Setenv("BUILDSTAR_PASSWORD", "secret")
	m := startWorkerIn(t, dir)
	got := m.request(wire.OpGetWorkerInfo, nil)
	info, ok := got.result.(map[string]any)
	if !ok || got.exception {
		t.Fatalf("get_worker_info = %v", got)
	}
	for key, want := range map[string]any{
		"admin": "me <me@example.org>\n", "host": "a host\n", "access_uri": "ssh://x", "bad": "n\ufffd",
		"system": "posix", "basedir": dir, "numcpus": int64(runtime.NumCPU()), "version": "devel", "delete_leftover_dirs": false,
	} {
		if info[key] != want {
			t.Errorf("%s = %v, want %v", key, info[key], want)
		}
	}
	if id, _ := info["os_id"].(string); id == "" || strings.Contains(id, `"`) {
		t.Errorf("os_id = %v", info["os_id"])
	}
	if _, ok := info["dir"]; ok {
		t.Error("a directory is a fact")
	}
	environ, _ := info["environ"].(map[string]any)
	if environ["NOT_UTF8"] != "a\ufffdb" || environ["BUILDSTAR_PASSWORD"] != nil {
		t.Errorf("environ has %q and %v", environ["NOT_UTF8"], environ["BUILDSTAR_PASSWORD"])
	}
	versions, _ := info["worker_commands"].(map[string]any)
	if versions["shell"] != "3.3" || versions["uploadFile"] != "3.3" || len(versions) != 14 {
		t.Errorf("worker_commands = %v", versions)
	}
	ours, _ := info[wire.InfoOurs].(map[string]any)
	if ours["version"] != "devel" {
		t.Errorf("%s = %v", wire.InfoOurs, ours)
	}
}

func TestRequests(t *testing.T) {
	m := startWorker(t)
	start := func(id, name any, args any) map[string]any {
		return map[string]any{wire.KeyCommandID: id, wire.KeyCommandName: name, wire.KeyArgs: args}
	}
	shell := func(more map[string]any) map[string]any {
		args := map[string]any{"workdir": "w", "command": "true"}
		for k, v := range more {
			args[k] = v
		}
		return start("x", "shell", args)
	}
	settings := func(key string, v any) map[string]any {
		args := map[string]any{wire.SetNewlineRE: wire.StockNewlines, wire.SetMaxLineLength: 4096, wire.SetBufferSize: 65536, wire.SetBufferTimeout: 5}
		args[key] = v
		return map[string]any{wire.KeyArgs: args}
	}
	for _, tt := range []struct {
		op     string
		fields map[string]any
		want   string // part of the exception; "" for none
	}{
		{wire.OpPrint, map[string]any{"message": "hello"}, ""},
		{wire.OpPrint, nil, `obligatory "message" key`},
		{wire.OpKeepalive, nil, ""},
		{"frobnicate", nil, "Command frobnicate does not exist."},
		{wire.OpSetWorkerSettings, nil, `obligatory "args" key`},
		{wire.OpSetWorkerSettings, map[string]any{wire.KeyArgs: map[string]any{"buffer_size": 1}}, "obligatory settings"},
		{wire.OpSetWorkerSettings, settings(wire.SetNewlineRE, nil), "newline_re: want text"},
		{wire.OpSetWorkerSettings, settings(wire.SetNewlineRE, "(?<!x)y"), "Go's regexp"},
		{wire.OpSetWorkerSettings, settings(wire.SetNewlineRE, wire.NoNewlines), ""},
		{wire.OpSetWorkerSettings, settings(wire.SetBufferSize, 0), "at least 1"},
		{wire.OpSetWorkerSettings, settings(wire.SetBufferTimeout, 0.5), ""},
		{wire.OpSetWorkerSettings, settings(wire.InfoOurs, map[string]any{wire.OursSilence: "x"}), "silence: want"},
		{wire.OpSetWorkerSettings, settings(wire.InfoOurs, map[string]any{wire.OursSilence: 2.5}), ""},
		{wire.OpSetWorkerSettings, settings(wire.InfoOurs, "of no master we know"), ""},
		{wire.OpStartCommand, start("x", "svn", map[string]any{}), "unrecognized WorkerCommand 'svn'"},
		{wire.OpStartCommand, start("x", "shell", map[string]any{}), "missing args: workdir, command"},
		{wire.OpStartCommand, start(nil, "shell", map[string]any{}), `obligatory "command_id" key`},
		{wire.OpStartCommand, start("x", "shell", "no map"), "args"},
		{wire.OpStartCommand, shell(map[string]any{"command": []any{}}), "want a command line or a list of words"},
		{wire.OpStartCommand, shell(map[string]any{"command": "a\x00b"}), "NUL"},
		{wire.OpStartCommand, shell(map[string]any{"env": map[string]any{"A": 5}}), "key 'A' is incorrect"},
		{wire.OpStartCommand, shell(map[string]any{"env": []any{}}), "env: want a map"},
		{wire.OpStartCommand, shell(map[string]any{"env": map[string]any{"A=B": "x"}}), "cannot be the name"},
		{wire.OpStartCommand, shell(map[string]any{"timeout": "x"}), "timeout: want a number"},
		{wire.OpStartCommand, shell(map[string]any{"usePTY": "x"}), "usePTY: want True or False"},
		{wire.OpStartCommand, shell(map[string]any{"interruptSignal": "NOPE"}), "no SIGNOPE"},
		{wire.OpStartCommand, shell(map[string]any{"logfiles": map[string]any{"a": 5}}), `"a" needs a filename`},
		{wire.OpStartCommand, start("x", "upload_file", map[string]any{"path": "p", "blocksize": 0}), "blocksize"},
		{wire.OpStartCommand, start("x", "upload_directory", map[string]any{"path": "p", "blocksize": 1, "compress": "zip"}), "compress"},
		{wire.OpStartCommand, start("x", "rmdir", map[string]any{"paths": []any{}}), "paths: want a list"},
		{wire.OpStartCommand, start("x", "stat", map[string]any{"path": 5}), "path: want text"},
		{wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: "zzz", wire.KeyWhy: "x"}, ""},
		{wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: "zzz"}, `obligatory "why" key`},
	} {
		got := m.request(tt.op, tt.fields)
		text, _ := got.result.(string)
		if got.exception != (tt.want != "") || !strings.Contains(text, tt.want) {
			t.Errorf("%s %v: %v, want an exception with %q", tt.op, tt.fields, got, tt.want)
		}
	}
}

// Two commands of one id would be told apart by nobody (docs/protocol.md 0.2 item 11).
func TestSameID(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	id, r := m.begin(wire.CmdShell, m.shellArgs("echo a; sleep 600", nil))
	got := m.request(wire.OpStartCommand, map[string]any{
		wire.KeyCommandID: id, wire.KeyCommandName: "stat", wire.KeyArgs: map[string]any{"path": "/"},
	})
	if text, _ := got.result.(string); !got.exception || !strings.Contains(text, "still running") {
		t.Errorf("the second command of an id: %v", got)
	}
	m.interruptAt(id, r, wire.Stdout, "a")
	m.finish(r)
	r.done = false
	got = m.request(wire.OpStartCommand, map[string]any{
		wire.KeyCommandID: id, wire.KeyCommandName: "stat", wire.KeyArgs: map[string]any{"path": "/"},
	})
	if got.exception {
		t.Errorf("the id of a finished command: %v", got)
	}
	m.finish(r)
}

func TestConcurrentCommands(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	var list []*remote
	for range 20 {
		_, r := m.begin(wire.CmdShell, m.shellArgs("seq 5000", nil))
		list = append(list, r)
	}
	want := seq(5000)
	for _, r := range list {
		m.finish(r)
		r.rc(t, 0)
		r.stdout(t, want)
	}
}

// No frame ends a session, and what comes after it is answered.
func TestBadFrames(t *testing.T) {
	m := startWorker(t)
	for _, frame := range [][]byte{
		nil, {0xc1}, {0xc0}, {0xdd, 0x7f, 0xff, 0xff, 0xff}, {0x81, 0xa2, 'o', 'p', 0xa5}, []byte("not msgpack"),
		{0x80}, {0x81, 0xa2, 'o', 'p', 0xa1, 'x'}, {0x82, 0xa2, 'o', 'p', 0x05, 0xaa, 's', 'e', 'q', '_', 'n', 'u', 'm', 'b', 'e', 'r', 0x01},
		wire.AppendResponse(nil, 4711, "nobody asked"), wire.AppendException(nil, 4712, "nobody asked"),
	} {
		if err := m.tr.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.request(wire.OpPrint, map[string]any{"message": "still there?"}); got.exception {
		t.Errorf("print = %v", got)
	}
}

func TestPanicIsAFailedCommand(t *testing.T) {
	s := &session{cfg: Config{}, set: defaultSettings(), log: discard(), dead: make(chan struct{})}
	c := newCommand(s, "1", "shell", nil, func() {})
	if err := c.guard(func(*command) error { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("guard = %v", err)
	}
}

func TestShutdown(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	_, r := m.begin(wire.CmdShell, m.shellArgs("echo a; sleep 600", nil))
	m.wait("a", func() bool { return r.texts[wire.Stdout] != "" })
	if got := m.request(wire.OpShutdown, nil); got.exception {
		t.Errorf("shutdown = %v", got)
	}
	m.finish(r)
	if err := <-m.served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	m.served <- nil
}

// When the connection goes, the commands go.
func TestLostConnection(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	_, r := m.begin(wire.CmdShell, m.shellArgs("echo pid $$; yes", nil))
	var first string
	m.wait("pid", func() bool {
		var ok bool
		first, _, ok = strings.Cut(r.texts[wire.Stdout], "\n")
		return ok
	})
	pid := pidIn(t, first)
	if err := m.tr.Close("test"); err != nil {
		t.Fatal(err)
	}
	if err := <-m.served; !errors.Is(err, errLost) {
		t.Errorf("Serve = %v", err)
	}
	m.served <- nil
	gone(t, pid)
}

func TestBasedirCannotBeMade(t *testing.T) {
	a, _ := wire.Pipe()
	file := filepath.Join(t.TempDir(), "file")
	put(t, file, nil)
	for _, dir := range []string{"", filepath.Join(file, "x")} {
		if err := Serve(t.Context(), a, Config{Name: "w", Basedir: dir}); err == nil {
			t.Errorf("Serve in %q works", dir)
		}
	}
}

// A master that does not read holds the command back: nothing is dropped, and the
// command does not count as silent.
func TestBackPressure(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	const size = 4 << 20
	_, r := m.begin(wire.CmdShell, m.shellArgs("yes | head -c "+strconv.Itoa(size), cmdArgs{"timeout": 0.2}),
		func(r *remote) { r.countOnly = true })
	m.mu.Lock() // the reader waits from here on
	<-time.After(time.Second)
	held := r.bytes
	m.mu.Unlock()
	m.finish(r)
	r.rc(t, 0)
	if held == size || r.bytes != size {
		t.Errorf("%d bytes came while the master read nothing, %d in all; want less than all, and %d", held, r.bytes, size)
	}
}

// A command whose output nobody takes can still be killed.
func TestInterruptUnderBackPressure(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	id, r := m.begin(wire.CmdShell, m.shellArgs("echo pid $$; exec yes", nil))
	var first string
	m.wait("pid", func() bool {
		var ok bool
		first, _, ok = strings.Cut(r.texts[wire.Stdout], "\n")
		return ok
	})
	m.mu.Lock()
	b, err := wire.AppendRequest(nil, m.seq, wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: id, wire.KeyWhy: "test"})
	m.seq++
	if err == nil {
		err = m.tr.Write(b)
	}
	gone(t, pidIn(t, first))
	m.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	m.finish(r)
	r.rc(t, -1)
}
