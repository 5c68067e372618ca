package logfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"buildstar/state"
)

// The test binary is also the processes that these tests kill and starve.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("LOGFILE_TEST_DIR"); os.Getenv("LOGFILE_TEST_CHILD") {
	case "append":
		fatal(appendForEver(dir))
	case "full":
		fatal(fillUp(dir))
	default:
		os.Exit(m.Run())
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "LOGFILE_TEST_CHILD="+what, "LOGFILE_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// sizes of the appends of the child, in lines: small ones and compressed ones.
var sizes = []int{1, 3, 1, 20_000, 2, 1, 5000, 40, 1}

// appendForEver appends numbered lines and prints how many were acknowledged, for two
// logs in turn.
func appendForEver(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	g, err := s.OpenBuild(1)
	if err != nil {
		return err
	}
	var lines [2]int64
	for log := range lines {
		if lines[log], err = s.NumLines(1, int64(log)); err != nil {
			return err
		}
	}
	for i := int64(0); ; i++ {
		log := i % 2
		var text []byte
		n := lines[log]
		for range sizes[i%int64(len(sizes))] {
			text = fmt.Appendf(text, "line %d\n", n)
			n++
		}
		at := state.Resume{CommandID: fmt.Sprint(log), Update: n}
		if err := g.Append(log, at, state.LogRun{Stream: 'o', Text: text}); err != nil {
			return err
		}
		lines[log] = n
		fmt.Println(log, n)
	}
}

// After kill -9 no line is missing whose append had returned, and the resume points
// agree with the lines.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var acked [2]int64
	for range 3 {
		cmd := child(t, "append", dir)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewScanner(pipe)
		for n := 0; out.Scan(); n++ {
			if n == 200 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			var log int
			var lines int64
			if _, err := fmt.Sscan(out.Text(), &log, &lines); err == nil {
				acked[log] = max(acked[log], lines)
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended on its own")
		}
		checkKilled(t, dir, acked)
	}
}

func checkKilled(t *testing.T, dir string, acked [2]int64) {
	t.Helper()
	s := openStore(t, dir, Options{})
	defer s.Close()
	for log := range acked {
		n := int64(0)
		err := s.Lines(t.Context(), 1, int64(log), 0, -1, func(r state.LogRun) error {
			for line := range bytes.Lines(r.Text) {
				if want := fmt.Sprintf("line %d\n", n); string(line) != want {
					return fmt.Errorf("line %d is %q", n, line)
				}
				n++
			}
			return nil
		})
		if err != nil || n < acked[log] {
			t.Errorf("log %d has %d lines, %d were acknowledged; %v", log, n, acked[log], err)
		}
		g := openBuild(t, s, 1)
		if at, ok := g.Resume(fmt.Sprint(log)); !ok || at != n {
			t.Errorf("log %d has %d lines and resumes after %d, %v", log, n, at, ok)
		}
		if err := g.end(false); err != nil {
			t.Error(err)
		}
	}
}

// fillUp limits the size of files, appends until that fails, and checks that the
// segment survives it.
func fillUp(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	g, err := s.OpenBuild(1)
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100_000, Max: old.Max}); err != nil {
		return err
	}
	line := state.LogRun{Stream: 'o', Text: []byte(strings.Repeat("x", 999) + "\n")}
	good := int64(0)
	for err == nil && good < 1000 {
		if err = g.Append(7, state.Resume{}, line); err == nil {
			good++
		}
	}
	if !errors.Is(err, state.ErrFull) {
		return fmt.Errorf("after %d lines: %v, want ErrFull", good, err)
	}
	if n, err := s.NumLines(1, 7); n != good || err != nil {
		return fmt.Errorf("%d lines, %v; want %d", n, err, good)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := g.Append(7, state.Resume{}, line); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	if err := g.Close(); err != nil {
		return err
	}
	n, err := s.NumLines(1, 7)
	if n != good+1 || err != nil {
		return fmt.Errorf("%d lines, %v; want %d", n, err, good+1)
	}
	return s.Close()
}

// The kernel refuses writes, as on a full disk.
func TestWritesRefused(t *testing.T) {
	if out, err := child(t, "full", t.TempDir()).Output(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
