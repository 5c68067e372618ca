package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildstar/state"
)

func addBuilder(t testing.TB, s state.Store) (id int64) {
	t.Helper()
	err := s.Update(t.Context(), func(tx state.Tx) (err error) {
		id, err = tx.PutBuilder(state.Builder{Name: "b", Active: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func addBuild(b int64) func(state.Tx) error {
	return func(tx state.Tx) error {
		_, err := tx.AddBuild(state.Build{BuilderID: b})
		return err
	}
}

func count(t testing.TB, s state.Store, resource string) (n int64) {
	t.Helper()
	err := s.View(t.Context(), func(tx state.ReadTx) (err error) {
		n, err = tx.Count(resource, state.Query{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What queues up while the writer is busy shares one commit; a failure in between
// concerns only itself.
func TestGroupCommit(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "s"), Options{})
	defer s.Close()
	b := addBuilder(t, s)
	before := s.writer.commits.Load()
	gate, queued := make(chan struct{}), make(chan struct{}, 100)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Update(t.Context(), func(state.Tx) error { close(queued); <-gate; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-queued
	failed := errors.New("failed")
	for i := range 50 {
		j := job{ctx: t.Context(), fn: addBuild(b), answer: make(chan error, 1)}
		var want error
		if i%5 == 0 {
			want = failed
			j.fn = func(tx state.Tx) error { return errors.Join(addBuild(b)(tx), failed) }
		}
		s.writer.push(j)
		wg.Go(func() {
			if err := <-j.answer; !errors.Is(err, want) {
				t.Errorf("err = %v, want %v", err, want)
			}
		})
	}
	close(gate)
	wg.Wait()
	if n := s.writer.commits.Load() - before; n > 2 {
		t.Errorf("51 updates took %d commits, want at most 2", n)
	}
	if n := count(t, s, "builds"); n != 40 {
		t.Errorf("%d builds, want 40", n)
	}
}

// limitPages makes the database full at its present size plus n pages; n < 0 lifts
// the limit.
func limitPages(t *testing.T, s *Store, n int) {
	t.Helper()
	err := s.Update(t.Context(), func(st state.Tx) error {
		c := st.(*tx).c
		var pages int
		if err := c.row("PRAGMA page_count").Scan(&pages); err != nil {
			return err
		}
		if n < 0 {
			n = 1 << 30
		}
		return c.row(fmt.Sprintf("PRAGMA max_page_count=%d", pages+n)).Scan(&pages)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A full disk fails the updates that need space with ErrFull, publishes nothing of
// them, and is over when there is space again.
func TestDiskFull(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "s"), Options{})
	defer s.Close()
	b := addBuilder(t, s)
	limitPages(t, s, 8)
	big := strings.Repeat("x", 10_000)
	add := func(tx state.Tx) error {
		_, err := tx.AddBuild(state.Build{BuilderID: b, StateString: big})
		return err
	}
	sub := s.Subscribe(t.Context(), "builds/*/new", "end/*/*")
	good := 0
	var err error
	for err == nil && good < 100 {
		if err = s.Update(t.Context(), add); err == nil {
			good++
		}
	}
	if !errors.Is(err, state.ErrFull) {
		t.Fatalf("after %d builds: %v, want ErrFull", good, err)
	}
	s.Defer(add, func(err error) {
		if !errors.Is(err, state.ErrFull) {
			t.Errorf("Defer: %v, want ErrFull", err)
		}
	})
	// What needs no space works, and so does reading.
	if err := s.Update(t.Context(), func(tx state.Tx) error { _, err := tx.PutMaster(state.Master{Name: "m"}); return err }); err != nil {
		t.Errorf("a small write: %v", err)
	}
	if n := count(t, s, "builds"); n != int64(good) {
		t.Errorf("%d builds, %d were acknowledged", n, good)
	}
	limitPages(t, s, -1)
	if err := s.Update(t.Context(), add); err != nil {
		t.Errorf("with space again: %v", err)
	}
	s.Publish(state.Event{Key: "end/1/x"})
	events := 0
	for e := range sub.C {
		if e.Key == "end/1/x" {
			break
		}
		events++
	}
	if events != good+1 {
		t.Errorf("%d events of %d builds", events, good+1)
	}
}

// A transaction that SQLite ended on its own takes its group with it, and nothing
// more.
func TestLostTransaction(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "s"), Options{DeferFor: time.Hour, Log: slog.New(slog.DiscardHandler)})
	defer s.Close()
	b := addBuilder(t, s)
	done := make(chan error, 2)
	s.Defer(addBuild(b), func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cause := errors.New("lost")
	err := s.Update(t.Context(), func(st state.Tx) error {
		_, err := st.(*tx).c.exec("ROLLBACK")
		return errors.Join(cause, err)
	})
	if !errors.Is(err, cause) {
		t.Errorf("err = %v", err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, cause) {
			t.Errorf("what was deferred is lost: done got %v, want %v", err, cause)
		}
	default:
		t.Error("whoever deferred does not hear that it is lost")
	}
	if err := s.Update(t.Context(), addBuild(b)); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, "builds"); n != 1 {
		t.Errorf("%d builds, want only the last", n)
	}
}

// An Update from another goroutine while one runs is not a nested one.
func TestConcurrentIsNotNested(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "s"), Options{})
	defer s.Close()
	started := make(chan struct{})
	results := make(chan error, 1)
	err := s.Update(t.Context(), func(state.Tx) error {
		go func() {
			close(started)
			results <- s.Update(context.Background(), func(state.Tx) error { return nil })
		}()
		<-started
		return nil
	})
	if err := errors.Join(err, <-results); err != nil {
		t.Error(err)
	}
}

// A View holds up neither the writer nor, when all readers are busy, a caller whose
// context ends.
func TestReadersBusy(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "s"), Options{Readers: 1})
	defer s.Close()
	err := s.View(t.Context(), func(state.ReadTx) error {
		addBuilder(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error)
		go func() { waiting <- s.View(ctx, func(state.ReadTx) error { return nil }) }()
		cancel()
		return <-waiting
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}
