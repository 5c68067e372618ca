package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildstar/conn/wire"
)

func TestShell(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	work := filepath.Join(m.basedir, "b", "build")
	tests := []struct {
		name    string
		command any
		more    cmdArgs
		rc      int64
		stdout  string
	}{
		{"a command line", "echo hi", nil, 0, "hi\n"},
		{"words", []any{"printf", "%s-", "a b", "c"}, nil, 0, "a b-c-\n"},
		{"exit status", []any{"sh", "-c", "echo oops; exit 3"}, nil, 3, "oops\n"},
		{"a signal", "kill -SEGV $$", nil, -1, ""},
		{"workdir is created", "pwd", cmdArgs{"workdir": work}, 0, work + "\n"},
		{"a relative workdir", "pwd", cmdArgs{"workdir": "rel"}, 0, filepath.Join(m.basedir, "rel") + "\n"},
		{"stdout not wanted", "echo hi", cmdArgs{"want_stdout": false}, 0, ""},
		{"stdin", "cat", cmdArgs{"initial_stdin": "one\ntwo\n"}, 0, "one\ntwo\n"},
		{"much stdin that is not read", "true", cmdArgs{"initial_stdin": strings.Repeat("x", 1<<20)}, 0, ""},
		{"no stdin", "cat", nil, 0, ""},
		{"a terminal", "echo hi; test -t 0 && test -t 1 && echo tty", cmdArgs{"usePTY": true}, 0, "hi\ntty\n"},
		{"stdin beats terminal", "cat; test -t 1 || echo no tty", cmdArgs{"usePTY": true, "initial_stdin": "in\n"}, 0, "in\nno tty\n"},
		{"raw CR", `printf 'a\rb\r\n'`, nil, 0, "a\rb\r\n"},
		{"an obfuscated word", []any{"echo", []any{"obfuscated", "real", "XXX"}}, nil, 0, "real\n"},
		{"no such program", []any{"/no/such/exe"}, nil, 1, ""},
		{"not in PATH", []any{"nosuchexe"}, nil, 1, ""},
		{"unfinished line", `printf 'a\npart'`, nil, 0, "a\npart\n"},
		{"bytes as command", []byte("echo bytes"), nil, 0, "bytes\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := m.shell(tt.command, tt.more)
			r.rc(t, tt.rc)
			r.stdout(t, tt.stdout)
			if r.failure != nil {
				t.Errorf("complete = %v", r.failure)
			}
			if _, ok := r.values[wire.Elapsed].(float64); !ok {
				t.Errorf("elapsed = %v", r.values[wire.Elapsed])
			}
			if strings.Contains(r.texts[wire.Header], "real") {
				t.Errorf("header shows an obfuscated word: %q", r.texts[wire.Header])
			}
		})
	}
}

func TestShellHeader(t *testing.T) {
	m := startWorker(t)
	t.Setenv("WORKERPASS", "secret")
	r := m.run(wire.CmdShell, cmdArgs{
		"workdir": m.basedir, "command": []any{"sh", "-c", "echo it's; exit 0"}, "timeout": 1, "maxTime": 2.5,
		"logfiles":      cmdArgs{"l": "x.log", "f": cmdArgs{"filename": "y.log", "follow": true}},
		"initial_stdin": "abc", "env": cmdArgs{"A": []any{"x", "y"}},
	})
	got := r.texts[wire.Header]
	want := fmt.Sprintf(`sh -c 'echo it'"'"'s; exit 0'
 in dir %s (timeout 1 sec) (maxTime 2.5 secs)
 watching logfiles {'f': {'filename': 'y.log', 'follow': True}, 'l': 'x.log'}
 argv: ['sh', '-c', "echo it's; exit 0"]
 environment:
  A=x:y
`, m.basedir)
	if !strings.HasPrefix(got, want) {
		t.Errorf("header = %q,\nwant it to begin %q", got, want)
	}
	contains(t, "header", got, "\n  PWD="+m.basedir+"\n")
	contains(t, "header", got, "\n writing 3 bytes to stdin\n using PTY: False\nelapsedTime=")
	if strings.Contains(got, "WORKERPASS") {
		t.Error("the worker's password is in the environment of its commands")
	}
}

func TestShellEnviron(t *testing.T) {
	t.Setenv("OWN", "mine")
	t.Setenv("GONE", "x")
	m := startWorker(t)
	echo := `echo "$A|$B|${GONE-removed}|$PYTHONPATH|$PWD"`
	env := cmdArgs{"A": []any{"x", "y"}, "B": "${OWN}-${NOPE}-$OWN", "GONE": nil, "PYTHONPATH": "/pp"}
	r := m.shell(echo, cmdArgs{"env": env})
	r.stdout(t, "x:y|mine--$OWN|removed|/pp|"+m.basedir+"\n")

	t.Setenv("PYTHONPATH", "/own")
	r = m.shell("echo $PYTHONPATH", cmdArgs{"env": env})
	r.stdout(t, "/pp:/own\n")
	r = m.shell("echo ${PYTHONPATH-none}", cmdArgs{"env": cmdArgs{"PYTHONPATH": nil}})
	r.stdout(t, "none\n")
}

func TestOutputWhole(t *testing.T) {
	long := strings.Repeat("0123456789", 30_000)
	var both strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&both, "line %d\n", i)
	}
	tests := []struct {
		name, command  string
		stdout, stderr string
		newline        string
		maxLine, size  int
	}{
		{"300,000 characters in one line", "yes 0123456789 | head -n 30000 | tr -d '\\n'; echo", long + "\n", "",
			wire.NoNewlines, wire.MaxLine, 64 << 10},
		{"cut without loss", "yes 0123456789 | head -n 30000 | tr -d '\\n'; echo", cutEvery(long, 4096), "",
			wire.StockNewlines, 4096, 64 << 10},
		{"1,000 lines on both", "i=0; while [ $i -lt 1000 ]; do echo line $i; echo line $i >&2; i=$((i+1)); done",
			both.String(), both.String(), wire.NoNewlines, wire.MaxLine, 64 << 10},
		{"a small buffer", "seq 10000", seq(10000), "", wire.NoNewlines, wire.MaxLine, 100},
		{"much", "yes | head -n 300000", strings.Repeat("y\n", 300_000), "", wire.NoNewlines, wire.MaxLine, 64 << 10},
		{"no UTF-8", `printf 'h\303\251llo\nbad\377x\n\360\237\230\200!\n\342\202'`, "h\u00e9llo\nbad\ufffdx\n\U0001f600!\n\ufffd\n", "",
			wire.NoNewlines, wire.MaxLine, 64 << 10},
		{"stock line ends", `printf 'a\rb\rc\r\nd\033[2Je\010\010f\n\n\nz'`, "a\nb\nc\nd\ne\nf\n\n\nz\n", "",
			wire.StockNewlines, 4096, 64 << 10},
	}
	m := startWorker(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m.settings(tt.newline, tt.maxLine, tt.size, 0.03)
			r := m.shell(tt.command, nil)
			r.rc(t, 0)
			r.stdout(t, tt.stdout)
			if got := r.texts[wire.Stderr]; got != tt.stderr {
				t.Errorf("stderr = %d bytes, want %d", len(got), len(tt.stderr))
			}
			for _, key := range []string{wire.Stdout, wire.Stderr} {
				if n := strings.Count(r.texts[key], "\n"); r.lines[key] != n {
					t.Errorf("%s: %d lines have a time, want %d", key, r.lines[key], n)
				}
			}
		})
	}
}

func cutEvery(s string, n int) string {
	var b strings.Builder
	for part := range slices.Chunk([]byte(s), n) {
		b.Write(part)
		b.WriteByte('\n')
	}
	return b.String()
}

func seq(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strconv.Itoa(i + 1))
		b.WriteByte('\n')
	}
	return b.String()
}

// A character cut by the end of a pipe's chunk is one character in the end.
func TestCharacterAcrossChunks(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	fifo := filepath.Join(m.basedir, "go")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, r := m.begin(wire.CmdShell, m.shellArgs(`printf 'a\nb\360\237'; cat go >/dev/null; printf '\230\200c'`, nil))
	m.wait("a", func() bool { return strings.Contains(r.texts[wire.Stdout], "a\n") })
	if err := os.WriteFile(fifo, nil, 0); err != nil {
		t.Fatal(err)
	}
	m.finish(r)
	r.stdout(t, "a\nb\U0001f600c\n")
}

func TestLogfiles(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(m.basedir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("old.log", "before\n")
	write("follow.log", "before\n")
	write("idle.log", "before\n")
	files := cmdArgs{
		"new": "new.log", "old": "old.log", "idle": "idle.log",
		"follow":  cmdArgs{"filename": "follow.log", "follow": true},
		"missing": "missing.log",
	}
	_, r := m.begin(wire.CmdShell, m.shellArgs("for f in new old follow; do echo after >> $f.log; done; echo ready; sleep 1; "+
		"for f in new old follow; do printf last >> $f.log; done", cmdArgs{"logfiles": files, "initial_stdin": ""}))
	m.wait("ready", func() bool { return strings.Contains(r.texts[wire.Stdout], "ready") })
	m.wait("the first lines", func() bool {
		return r.texts["log:new"] == "after\n" && r.texts["log:old"] == "before\nafter\n" && r.texts["log:follow"] == "after\n"
	})
	m.finish(r)
	for name, want := range map[string]string{"new": "after\nlast\n", "old": "before\nafter\nlast\n", "follow": "after\nlast\n"} {
		if got := r.texts["log:"+name]; got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"idle", "missing"} {
		if got := r.texts["log:"+name]; got != "" {
			t.Errorf("%s = %q, want nothing", name, got)
		}
	}
}

// A program that is still open for writing somewhere is run once it is not.
func TestProgramStillOpen(t *testing.T) {
	m := startWorker(t)
	path := filepath.Join(m.basedir, "prog")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("/bin/true")
	if err == nil {
		_, err = f.Write(src)
	}
	if err != nil {
		t.Fatal(err)
	}
	closing := time.AfterFunc(30*time.Millisecond, func() { f.Close() })
	defer closing.Stop()
	m.shell([]any{path}, nil).rc(t, 0)
}
