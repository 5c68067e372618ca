package statetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"buildstar/state"
)

// The life of a segment: opened, written beside readers, closed, opened again, deleted.

func logsMissing(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	for _, build := range []int64{1, 2} {
		if got := readLines(t, s, build, 7, 0, -1); got != nil {
			t.Errorf("build %d: got %v", build, got)
		}
		if n, err := s.NumLines(build, 7); n != 0 || err != nil {
			t.Errorf("build %d: NumLines = %d, %v", build, n, err)
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.NumLines(1, 7); n != 0 || err != nil {
		t.Errorf("NumLines = %d, %v", n, err)
	}
}

func logsOneWriter(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	if _, err := s.OpenBuild(1); err == nil {
		t.Error("a second writer was let in")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openBuild(t, s, 1).Close(); err != nil {
		t.Fatal(err)
	}
}

// What a crash took the row of, and all that came after it, is cut off.
func logsReopen(t *testing.T, s state.LogStore) {
	text := func(n string) state.LogRun { return state.LogRun{Stream: 'o', Text: []byte(n + "\n")} }
	at := func(n int64) state.Resume { return state.Resume{CommandID: "c", Update: n} }
	g := openBuild(t, s, 1)
	for i, log := range []int64{7, 8, 9, 7} {
		if err := g.Append(log, at(int64(i+1)), text(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		logs   []int64
		update int64
		seven  int
	}{{[]int64{7, 8, 9}, 4, 2}, {[]int64{7, 8}, 2, 1}, {nil, 0, 0}} {
		if err := g.Suspend(); err != nil {
			t.Fatal(err)
		}
		var err error
		if g, err = s.ReopenBuild(1, tt.logs); err != nil {
			t.Fatal(err)
		}
		if n, ok := g.Resume("c"); n != tt.update || ok != (n > 0) {
			t.Errorf("with logs %v: at update %d", tt.logs, n)
		}
		if got := readLines(t, s, 1, 7, 0, -1); len(got) != tt.seven {
			t.Errorf("with logs %v: %v", tt.logs, got)
		}
	}
	if err := g.Append(7, at(1), text("anew")); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readLines(t, s, 1, 7, 0, -1); len(got) != 1 {
		t.Errorf("in the end: %v", got)
	}
}

func logsClosed(t *testing.T, s state.LogStore) {
	rng := rand.New(rand.NewPCG(5, 6))
	g := openBuild(t, s, 1)
	var all []line
	for i := range 3000 { // many small appends, which Close may pack
		l := line{int64(i), "oe"[rng.IntN(2)], strings.Repeat("y", rng.IntN(200)), state.Time(i)}
		all = append(all, l)
		appendTo(t, g, 7, state.LogRun{Stream: l.Stream, Text: []byte(l.Text + "\n"), Times: []state.Time{l.At}})
	}
	if err := g.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, all, readLines(t, s, 1, 7, 0, -1))
	same(t, all[1500:1510], readLines(t, s, 1, 7, 1500, 10))
}

func logsReopened(t *testing.T, s state.LogStore) {
	rng := rand.New(rand.NewPCG(7, 8))
	g := openBuild(t, s, 1)
	all := fill(t, g, 7, rng, 2000, 100)
	for range 3 {
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		g = openBuild(t, s, 1)
		for _, l := range fill(t, g, 7, rng, 2000, 100) {
			l.N = int64(len(all))
			all = append(all, l)
		}
	}
	same(t, all, readLines(t, s, 1, 7, 0, -1))
}

func logsDelete(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	appendTo(t, g, 7, out("a\n"))
	if err := s.Delete(1); err == nil {
		t.Error("a build that is being written was deleted")
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Delete(1); err != nil {
			t.Fatal(err)
		}
	}
	if got := readLines(t, s, 1, 7, 0, -1); got != nil {
		t.Errorf("got %v", got)
	}
}

// logsBeside reads all the time while a writer appends and closes: a reader sees a
// prefix of the log that ends with a whole append, and never less than before.
func logsBeside(t *testing.T, s state.LogStore) {
	const appends, each = 400, 3
	g := openBuild(t, s, 1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			var seen int
			for stop := false; !stop; {
				select {
				case <-done:
					stop = true
				default:
				}
				n := 0
				err := s.Lines(context.Background(), 1, 7, 0, -1, func(r state.LogRun) error {
					for text := range strings.Lines(string(r.Text)) {
						if want := fmt.Sprintf("%d %s\n", n, strings.Repeat("z", 100)); text != want {
							return fmt.Errorf("line %d is %q", n, text)
						}
						n++
					}
					return nil
				})
				if err != nil || n < seen || n%each != 0 {
					t.Errorf("saw %d lines after %d: %v", n, seen, err)
					return
				}
				seen = n
			}
			if seen != appends*each {
				t.Errorf("saw %d lines in the end, want %d", seen, appends*each)
			}
		})
	}
	for i := range appends {
		var text string
		for j := range each {
			text += fmt.Sprintf("%d %s\n", i*each+j, strings.Repeat("z", 100))
		}
		appendTo(t, g, 7, out(text))
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	close(done)
	wg.Wait()
}

func logsStop(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	for range 10 {
		appendTo(t, g, 7, out(strings.Repeat("line\n", 100_000)))
	}
	stop := errors.New("enough")
	calls := 0
	err := s.Lines(t.Context(), 1, 7, 0, -1, func(state.LogRun) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("err %v after %d calls; want the error of fn after 1", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls = 0
	err = s.Lines(ctx, 1, 7, 0, -1, func(state.LogRun) error { calls++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("err %v after %d calls; want context.Canceled after 1", err, calls)
	}
}
