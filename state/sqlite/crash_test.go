package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"buildstar/state"
)

// The test binary is also the processes that these tests kill and starve.
func TestMain(m *testing.M) {
	switch path := os.Getenv("SQLITE_TEST_PATH"); os.Getenv("SQLITE_TEST_CHILD") {
	case "commit":
		commitForEver(path)
	case "full":
		if err := fillUp(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

func child(t *testing.T, what, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "SQLITE_TEST_CHILD="+what, "SQLITE_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// commitForEver adds builds, each after a deferred step of the one before, and prints
// what was acknowledged: the build's id and that of the step.
func commitForEver(path string) {
	s, err := Open(context.Background(), path, Options{})
	fatal(err)
	var builder int64
	fatal(s.Update(context.Background(), func(tx state.Tx) (err error) {
		if _, err = tx.PutMaster(state.Master{Name: "m"}); err == nil {
			builder, err = tx.PutBuilder(state.Builder{Name: "b", Active: true})
		}
		return err
	}))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			var b state.Build
			var step int64
			for n := int64(0); ; n++ {
				if b.ID != 0 {
					build := b.ID
					s.Defer(func(tx state.Tx) (err error) {
						step, err = tx.AddStep(state.Step{BuildID: build, Name: "s"})
						return err
					}, nil)
				}
				fatal(s.Update(context.Background(), func(tx state.Tx) (err error) {
					b, err = tx.AddBuild(state.Build{BuilderID: builder})
					return err
				}))
				mu.Lock()
				fmt.Println(b.ID, step)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// After kill -9 nothing that was acknowledged is missing, deferred rows before an
// acknowledged one included.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.sqlite")
	builds, steps := map[int64]bool{}, map[int64]bool{0: true}
	for round := int64(1); round <= 3; round++ {
		cmd := child(t, "commit", path)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(pipe)
		for n := 0; lines.Scan(); n++ {
			if n == 300 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			a, b, ok := strings.Cut(lines.Text(), " ")
			build, err := strconv.ParseInt(a, 10, 64)
			step, err1 := strconv.ParseInt(b, 10, 64)
			if !ok || err != nil || err1 != nil {
				continue // cut short by the kill
			}
			builds[build], steps[step] = true, true
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended on its own")
		}
		checkKilled(t, path, round, builds, steps)
	}
}

func checkKilled(t *testing.T, path string, round int64, builds, steps map[int64]bool) {
	t.Helper()
	s := openStore(t, path, Options{})
	defer s.Close()
	if epoch := s.Position().Epoch; epoch != round+1 {
		t.Errorf("epoch %d after %d openings", epoch, round)
	}
	err := s.View(t.Context(), func(tx state.ReadTx) error {
		rows, err := tx.Builds(state.Query{})
		if err != nil {
			return err
		}
		found := map[int64]bool{}
		for i, b := range rows {
			found[b.ID] = true
			if b.Number != int64(i+1) {
				t.Fatalf("build %d has number %d, want %d", b.ID, b.Number, i+1)
			}
		}
		all, err := tx.Steps(state.Query{})
		kept := map[int64]bool{0: true}
		for _, st := range all {
			kept[st.ID] = true
		}
		for id := range builds {
			if !found[id] {
				t.Errorf("build %d was acknowledged and is missing", id)
			}
		}
		for id := range steps {
			if !kept[id] {
				t.Errorf("step %d was acknowledged and is missing", id)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// fillUp limits the size of files, writes until that fails, and checks that the store
// survives it.
func fillUp(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	s, err := Open(ctx, path, Options{})
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: old.Max}); err != nil {
		return err
	}
	add := func(n int) error {
		return s.Update(ctx, func(tx state.Tx) error {
			_, err := tx.PutBuilder(state.Builder{Name: fmt.Sprint(n), Description: strings.Repeat("x", 20_000)})
			return err
		})
	}
	good := 0
	for err == nil && good < 1000 {
		if err = add(good); err == nil {
			good++
		}
	}
	if !errors.Is(err, state.ErrFull) {
		return fmt.Errorf("after %d writes: %v, want ErrFull", good, err)
	}
	if err := add(good); !errors.Is(err, state.ErrFull) {
		return fmt.Errorf("a second write: %v, want ErrFull", err)
	}
	var n int64
	if err := s.View(ctx, func(tx state.ReadTx) (err error) { n, err = tx.Count("builders", state.Query{}); return err }); err != nil || n != int64(good) {
		return fmt.Errorf("%d rows, %v; %d were acknowledged", n, err, good)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := add(good); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	return s.Close()
}

// The kernel refuses writes, as on a full disk.
func TestWritesRefused(t *testing.T) {
	out, err := child(t, "full", filepath.Join(t.TempDir(), "state.sqlite")).Output()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
