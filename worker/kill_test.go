package worker

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildstar/conn/wire"
)

func TestTimeouts(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	tests := []struct {
		name, command  string
		more           cmdArgs
		reason, header string
		rc             int64
	}{
		{"no output", "echo a; sleep 60", cmdArgs{"timeout": 0.3}, "timeout_without_output",
			"\ncommand timed out: 0.3 seconds without output running 'echo a; sleep 60', attempting to kill\nprocess killed by signal 9\n", -1},
		{"maxTime", "while true; do echo a; sleep 0.1; done", cmdArgs{"maxTime": 0.3, "timeout": 20}, "timeout",
			"\ncommand timed out: 0.3 seconds elapsed running 'while true; do echo a; sleep 0.1; done', attempting to kill\nprocess killed by signal 9\n", -1},
		{"sigtermTime", "trap 'echo term; exit 7' TERM; echo a; while true; do sleep 0.1; done", cmdArgs{"maxTime": 0.3, "sigtermTime": 20},
			"timeout", "attempting to kill\nelapsedTime=", 7},
		{"exit 0 after SIGTERM is a failure", "trap 'exit 0' TERM; echo a; while true; do sleep 0.1; done", cmdArgs{"maxTime": 0.3, "sigtermTime": 20},
			"timeout", "attempting to kill\nelapsedTime=", -1},
		{"SIGTERM ignored", "trap '' TERM; echo a; while true; do sleep 0.1; done", cmdArgs{"maxTime": 0.3, "sigtermTime": 0.3}, "timeout",
			"process killed by signal 9\n", -1},
		{"another signal", "trap 'exit 5' USR1; echo a; while true; do sleep 0.1; done", cmdArgs{"maxTime": 0.3, "interruptSignal": "USR1"},
			"timeout", "attempting to kill\n", 5},
		{"max_lines", "yes a", cmdArgs{"max_lines": 3}, "max_lines_failure", "\ncommand exceeds max lines: ", -1},
		{"a terminal", "echo a; sleep 60", cmdArgs{"timeout": 0.3, "usePTY": true}, "timeout_without_output", "attempting to kill\n", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := m.shell(tt.command, tt.more)
			r.rc(t, tt.rc)
			if got := r.values[wire.FailureReason]; got != tt.reason {
				t.Errorf("failure_reason = %v, want %s", got, tt.reason)
			}
			contains(t, "header", r.texts[wire.Header], tt.header)
			contains(t, "stdout", r.texts[wire.Stdout], "a\n")
			if r.values[wire.Elapsed] == nil || r.failure != nil {
				t.Errorf("elapsed = %v, complete = %v", r.values[wire.Elapsed], r.failure)
			}
		})
	}
}

// A command that writes all the time is never silent, even while nobody reads it.
func TestOutputKeepsTimeoutAway(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	r := m.shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done", cmdArgs{"timeout": 0.8})
	r.rc(t, 0)
	r.stdout(t, seq(6))
}

// gone waits until the process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if st, ok := readStat(pid); !ok || st.zombie {
			return
		}
		time.Sleep(5 * time.Millisecond) // nothing tells of the end of another's child
	}
	t.Errorf("process %d still runs", pid)
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func pidIn(t *testing.T, text string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(text, "pid ")))
	if err != nil {
		t.Fatalf("no pid in %q", text)
	}
	return pid
}

// The whole group dies, also members that ignore SIGTERM (docs/protocol.md 0.2 item
// 21).
func TestGrandchildrenDie(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	stubborn := `sh -c 'trap "" TERM; while true; do sleep 0.1; done' & echo pid $!; `
	for name, tt := range map[string]struct {
		command string
		more    cmdArgs
	}{
		"killed at once":                {stubborn + "wait", nil},
		"the child obeys SIGTERM":       {stubborn + "exec sleep 60", cmdArgs{"sigtermTime": 0.3}},
		"the child ignores SIGTERM too": {"trap '' TERM; " + stubborn + "while true; do sleep 0.1; done", cmdArgs{"sigtermTime": 0.3}},
	} {
		t.Run(name, func(t *testing.T) {
			id, r := m.begin(wire.CmdShell, m.shellArgs(tt.command, tt.more))
			m.interruptAt(id, r, wire.Stdout, "\n")
			m.finish(r)
			r.rc(t, -1)
			gone(t, pidIn(t, r.texts[wire.Stdout]))
		})
	}
}

// A group that ends by itself after SIGTERM is not waited for longer than that.
func TestGroupMayEndByItself(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	id, r := m.begin(wire.CmdShell, m.shellArgs(
		`sh -c 'trap "sleep 0.3; echo cleaned; exit" TERM; echo ready; while true; do sleep 0.1; done' & exec sleep 60`,
		cmdArgs{"sigtermTime": 600}))
	m.interruptAt(id, r, wire.Stdout, "ready")
	m.finish(r)
	r.stdout(t, "ready\ncleaned\n")
}

func TestInterruptShell(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	id, r := m.begin(wire.CmdShell, m.shellArgs("echo a; printf part; sleep 60", nil))
	m.interruptAt(id, r, wire.Stdout, "a")
	m.finish(r)
	r.rc(t, -1)
	r.stdout(t, "a\npart\n")
	contains(t, "header", r.texts[wire.Header], "\ncommand interrupted, attempting to kill\nprocess killed by signal 9\n")
	if r.values[wire.Elapsed] != nil || r.failure != nil {
		t.Errorf("elapsed = %v, complete = %v, want none", r.values[wire.Elapsed], r.failure)
	}
	// What was there at the interrupt comes before what follows from it.
	if i, j := slices.Index(r.keys, wire.Stdout), slices.Index(r.keys, wire.RC); i < 0 || i > j {
		t.Errorf("keys = %v", r.keys)
	}
	m.interrupt("unknown") // is no error
}

// A signal that does not kill is reported after 5 s, and then nothing is left.
func TestFailedToKill(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	id, r := m.begin(wire.CmdShell, m.shellArgs(`trap "" USR1 PIPE; echo pid $$; while true; do sleep 0.1; done`,
		cmdArgs{"interruptSignal": "USR1"}))
	m.interruptAt(id, r, wire.Stdout, "\n")
	m.finish(r)
	r.rc(t, -1)
	contains(t, "header", r.texts[wire.Header], "SIGUSR1 failed to kill process\nusing fake rc=-1\n")
	if r.failure != "SIGUSR1 failed to kill process" {
		t.Errorf("complete = %v", r.failure)
	}
	gone(t, pidIn(t, r.texts[wire.Stdout]))
}

// A process that not even SIGKILL ends, another user's or one that hangs in the kernel,
// does not keep the worker from stopping.
func TestUnkillable(t *testing.T) {
	s := &session{cfg: Config{Logger: discard()}, log: discard(), running: newTable(), set: defaultSettings()}
	c := newCommand(s, "1", wire.CmdShell, nil, func() {})
	child := exec.Command("cat")
	stdin, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: child, exited: make(chan struct{}), release: make(chan struct{}), reaped: make(chan struct{})}
	p.wg.Go(p.wait)
	r := &shellRun{shellArgs: &shellArgs{signal: syscall.SIGKILL}, c: c, p: p, abandoned: true}
	if err := r.end(); err == nil {
		t.Error("no error")
	}
	stopped := make(chan struct{})
	go func() { s.running.stop(errStopping); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(time.Second):
		t.Error("the worker waits for the process")
	}
	stdin.Close()
	<-p.reaped
	<-stopped
}

// What a finished command leaves in the background keeps the command open only for
// a while if it holds the output, and lives on if it does not.
func TestBackground(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	t.Run("holds the output", func(t *testing.T) {
		r := m.shell("sleep 600 & echo pid $!", nil)
		r.rc(t, 0)
		contains(t, "header", r.texts[wire.Header], "processes left in the background are killed")
		gone(t, pidIn(t, r.texts[wire.Stdout]))
	})
	t.Run("still writes", func(t *testing.T) {
		r := m.shell("(sleep 0.5; echo late) & echo early", nil)
		r.rc(t, 0)
		r.stdout(t, "early\nlate\n")
	})
	t.Run("let go of the output", func(t *testing.T) {
		r := m.shell("sleep 600 >/dev/null 2>&1 & echo pid $!", nil)
		r.rc(t, 0)
		pid := pidIn(t, r.texts[wire.Stdout])
		if st, ok := readStat(pid); !ok || st.zombie {
			t.Error("a server that a step started was killed")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	t.Run("left the group and holds the output", func(t *testing.T) {
		r := m.shell("setsid sleep 600 & echo pid $!", nil)
		r.rc(t, 0)
		pid := pidIn(t, r.texts[wire.Stdout])
		if st, ok := readStat(pid); !ok || st.zombie {
			t.Error("a detached process was killed")
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
}

// The end of the worker ends its commands, tells the master, and leaves no record.
func TestStopKills(t *testing.T) {
	m := startWorker(t)
	m.settings(wire.NoNewlines, wire.MaxLine, 64<<10, 0.03)
	_, r := m.begin(wire.CmdShell, m.shellArgs("echo pid $$; sleep 600", cmdArgs{"sigtermTime": 0}))
	m.wait("pid", func() bool { return strings.Contains(r.texts[wire.Stdout], "\n") })
	records := func() int {
		entries, err := os.ReadDir(runningDir(m.basedir))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := records(); n != 1 {
		t.Errorf("%d records of running commands, want 1", n)
	}
	m.stop()
	m.finish(r)
	contains(t, "header", r.texts[wire.Header], "command interrupted: the worker stops, attempting to kill")
	if err := <-m.served; err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("Serve = %v", err)
	}
	m.served <- nil
	gone(t, pidIn(t, r.texts[wire.Stdout]))
	if n := records(); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// leaveBehind starts a process group as a worker that was killed would have left it.
func leaveBehind(t *testing.T, basedir, script, mark string) (group int, path string) {
	t.Helper()
	null := "</dev/null >/dev/null 2>&1"
	p, err := startProcess([]string{"/bin/sh", "-c", "exec 2>&1; " + script + " " + null}, basedir,
		[]string{"PATH=/usr/bin:/bin", marker + "=" + mark}, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	group = p.cmd.Process.Pid
	path, err = writeRecord(basedir, group, mark)
	if err != nil {
		t.Fatal(err)
	}
	p.reap()
	t.Cleanup(func() {
		_ = syscall.Kill(-group, syscall.SIGKILL)
		for p.open > 0 {
			if ck := <-p.chunks; ck.end {
				p.open--
			}
		}
		p.closePipes()
		p.wg.Wait()
	})
	return group, path
}

// rewrite changes the fields of a record: owner, its start, group, its start, mark.
func rewrite(t *testing.T, path string, field int, value string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b))
	fields[field] = value
	if err := os.WriteFile(path, []byte(strings.Join(fields, " ")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCleanUp(t *testing.T) {
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	t.Run("kills what is left", func(t *testing.T) {
		dir := t.TempDir()
		group, path := leaveBehind(t, dir, "sleep 600 & sleep 600", "m1")
		rewrite(t, path, 1, "1") // the owner's pid belongs to another process by now
		if err := CleanUp(dir); err != nil {
			t.Fatal(err)
		}
		if left := members(group); len(left) > 0 || exists(path) {
			t.Errorf("left: %v, record: %v", left, exists(path))
		}
	})
	t.Run("also when the leader is gone", func(t *testing.T) {
		dir := t.TempDir()
		fifo := filepath.Join(dir, "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		group, path := leaveBehind(t, dir, "sleep 600 & read x <fifo; exit 0;", "m2")
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0) // the leader is at its read now
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		gone(t, group)
		rewrite(t, path, 1, "1")
		if len(members(group)) != 1 {
			t.Fatalf("members = %v, want the sleep", members(group))
		}
		if err := CleanUp(dir); err != nil {
			t.Fatal(err)
		}
		if left := members(group); len(left) > 0 || exists(path) {
			t.Errorf("left: %v, record: %v", left, exists(path))
		}
	})
	t.Run("not another's process", func(t *testing.T) {
		dir := t.TempDir()
		group, path := leaveBehind(t, dir, "sleep 600", "m3")
		rewrite(t, path, 1, "1")
		rewrite(t, path, 3, "12345")
		if err := CleanUp(dir); err != nil {
			t.Fatal(err)
		}
		if len(members(group)) == 0 || exists(path) {
			t.Errorf("members: %v, record: %v", members(group), exists(path))
		}
	})
	t.Run("not a living worker's", func(t *testing.T) {
		dir := t.TempDir()
		group, path := leaveBehind(t, dir, "sleep 600", "m4")
		if err := CleanUp(dir); err != nil {
			t.Fatal(err)
		}
		if len(members(group)) == 0 || !exists(path) {
			t.Errorf("members: %v, record: %v", members(group), exists(path))
		}
	})
	t.Run("a broken record", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(runningDir(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(runningDir(dir), "1-x")
		if err := os.WriteFile(path, []byte("1 2 1 3 x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := CleanUp(dir); err == nil || exists(path) {
			t.Errorf("CleanUp = %v, record: %v", err, exists(path))
		}
	})
	if err := CleanUp(filepath.Join(t.TempDir(), "nothing")); err != nil {
		t.Error(err)
	}
}
