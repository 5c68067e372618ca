// Package statetest holds the suites that every implementation of state.Store and
// state.LogStore must pass.
package statetest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// Exercise checks what every state.Store promises. open returns an empty store; the
// suite closes what it opens.
func Exercise(t *testing.T, open func(t *testing.T) state.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, state.Store)
	}{
		{"the rows of names", names},
		{"retiring", retiring},
		{"the ledger of instances", instances},
		{"an instance keeps its generation", instanceGeneration},
		{"interruptions", interruptions},
		{"the master's last sign of life", alive},
		{"source stamps", stamps},
		{"changes", changes},
		{"a change that does not say when", changeTimes},
		{"queries of changes", changeQueries},
		{"changes that wait in schedulers", schedulerChanges},
		{"what services remember", memory},
		{"a buildset and its requests", buildsets},
		{"claiming", claiming},
		{"builds are numbered per builder", numbers},
		{"rows of a build", buildRows},
		{"rows of others", rowsOfOthers},
		{"properties", properties},
		{"the journal", journal},
		{"the secrets of a build", buildSecrets},
		{"generations", generations},
		{"what is not there", missing},
		{"a failed update leaves nothing", rollback},
		{"a panic leaves nothing", panics},
		{"a nested update panics", nested},
		{"a cancelled update does not run", cancelled},
		{"deferred updates", deferred},
		{"what comes after deferred updates", after},
		{"a view is a snapshot", snapshots},
		{"the events of a build", buildEvents},
		{"events come in the order of commits", order},
		{"published events come after earlier updates", published},
		{"events can be resumed", resuming},
		{"versions", versions},
		{"a closed store says so", closing},
		{"queries", queries},
		{"orders and pages", pages},
		{"bad queries", badQueries},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			tt.run(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// update runs an Update that must work.
func update(t *testing.T, s state.Store, fn func(state.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// view runs a View that must work.
func view(t *testing.T, s state.Store, fn func(state.ReadTx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// read returns what a query in a View finds.
func read[T any](t *testing.T, s state.Store, fn func(state.ReadTx) (T, error)) (v T) {
	t.Helper()
	view(t, s, func(tx state.ReadTx) (err error) {
		v, err = fn(tx)
		return err
	})
	return v
}

// addBuilder adds an active builder.
func addBuilder(t *testing.T, s state.Store, name string, tags ...string) (id int64) {
	t.Helper()
	update(t, s, func(tx state.Tx) (err error) {
		id, err = tx.PutBuilder(state.Builder{Name: name, Tags: tags, Active: true})
		return err
	})
	return id
}

// addRequests adds a buildset with one request per builder.
func addRequests(t *testing.T, s state.Store, builders ...int64) (bsid int64, ids []int64) {
	t.Helper()
	update(t, s, func(tx state.Tx) error {
		ssid, err := tx.AddSourceStamp(state.SourceStamp{})
		if err != nil {
			return err
		}
		var requests []state.BuildRequest
		for _, b := range builders {
			requests = append(requests, state.BuildRequest{BuilderID: b})
		}
		bsid, ids, err = tx.AddBuildset(state.Buildset{Reason: "test", SubmittedAt: 1000, SourceStamps: []state.SourceStamp{{ID: ssid}}}, requests)
		return err
	})
	return bsid, ids
}

// addBuild adds a build of a builder.
func addBuild(t *testing.T, s state.Store, b state.Build) state.Build {
	t.Helper()
	update(t, s, func(tx state.Tx) (err error) {
		b, err = tx.AddBuild(b)
		return err
	})
	return b
}

var errFn = errors.New("the function failed")

func rollback(t *testing.T, s state.Store) {
	sub := s.Subscribe(t.Context(), "builders/*/*")
	err := s.Update(t.Context(), func(tx state.Tx) error {
		if _, err := tx.PutBuilder(state.Builder{Name: "gone", Active: true}); err != nil {
			return err
		}
		return errFn
	})
	if !errors.Is(err, errFn) {
		t.Errorf("err = %v, want that of the function", err)
	}
	addBuilder(t, s, "kept")
	if e := <-sub.C; e.Row.(state.Builder).Name != "kept" {
		t.Errorf("event of %v, want only that of kept", e.Row)
	}
	if rows := read(t, s, func(tx state.ReadTx) ([]state.Builder, error) { return tx.Builders(state.Query{}) }); len(rows) != 1 {
		t.Errorf("got %v", rows)
	}
}

func panics(t *testing.T, s state.Store) {
	err := s.Update(t.Context(), func(tx state.Tx) error {
		if _, err := tx.PutBuilder(state.Builder{Name: "gone"}); err != nil {
			return err
		}
		panic("ouch")
	})
	if err == nil || !strings.Contains(err.Error(), "ouch") {
		t.Errorf("err = %v, want one that says ouch", err)
	}
	addBuilder(t, s, "kept")
	if rows := read(t, s, func(tx state.ReadTx) ([]state.Builder, error) { return tx.Builders(state.Query{}) }); len(rows) != 1 || rows[0].Name != "kept" {
		t.Errorf("got %v", rows)
	}
}

func nested(t *testing.T, s state.Store) {
	var caught any
	err := s.Update(t.Context(), func(tx state.Tx) error {
		defer func() { caught = recover() }()
		return s.Update(t.Context(), func(state.Tx) error { return nil })
	})
	if err != nil || caught == nil {
		t.Errorf("err = %v, panic = %v; want a panic", err, caught)
	}
	addBuilder(t, s, "kept")
}

func cancelled(t *testing.T, s state.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ran := false
	err := s.Update(ctx, func(state.Tx) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		t.Errorf("err = %v, ran = %v", err, ran)
	}
	if err := s.View(ctx, func(tx state.ReadTx) error { _, err := tx.Builders(state.Query{}); return err }); !errors.Is(err, context.Canceled) {
		t.Errorf("View: err = %v", err)
	}
}

func deferred(t *testing.T, s state.Store) {
	sub := s.Subscribe(t.Context(), "builders/*/*")
	results := make(chan error, 2)
	s.Defer(func(tx state.Tx) error {
		_, err := tx.PutBuilder(state.Builder{Name: "a", Active: true})
		return err
	}, func(err error) { results <- err })
	s.Defer(func(tx state.Tx) error {
		if _, err := tx.PutBuilder(state.Builder{Name: "b", Active: true}); err != nil {
			return err
		}
		return errFn
	}, func(err error) { results <- err })
	if err := <-results; err != nil {
		t.Errorf("first: %v", err)
	}
	if err := <-results; !errors.Is(err, errFn) {
		t.Errorf("second: %v", err)
	}
	// Without any Update they are committed all the same.
	if e := <-sub.C; e.Row.(state.Builder).Name != "a" {
		t.Errorf("event of %v", e.Row)
	}
	s.Defer(func(tx state.Tx) error {
		_, err := tx.PutBuilder(state.Builder{Name: "c", Active: true})
		return err
	}, nil)
	addBuilder(t, s, "d")
	// An Update that returned made what was deferred before it durable and visible.
	rows := read(t, s, func(tx state.ReadTx) ([]state.Builder, error) { return tx.Builders(state.Query{}) })
	if len(rows) != 3 || rows[1].Name != "c" || rows[2].Name != "d" {
		t.Errorf("got %v", rows)
	}
}

func after(t *testing.T, s state.Store) {
	for _, first := range []func() error{
		func() error { // nothing is on its way
			return nil
		},
		func() error {
			return s.Update(t.Context(), func(tx state.Tx) error {
				_, err := tx.PutBuilder(state.Builder{Name: "a", Active: true})
				return err
			})
		},
		func() error {
			s.Defer(func(tx state.Tx) error {
				_, err := tx.PutBuilder(state.Builder{Name: "b", Active: true})
				return err
			}, nil)
			return nil
		},
		func() error { // what is lost does not hold it up
			s.Defer(func(tx state.Tx) error { return errFn }, nil)
			return nil
		},
	} {
		if err := first(); err != nil {
			t.Fatal(err)
		}
		called := make(chan struct{})
		s.After(func() { close(called) })
		<-called
	}
	rows := read(t, s, func(tx state.ReadTx) ([]state.Builder, error) { return tx.Builders(state.Query{}) })
	if len(rows) != 2 {
		t.Errorf("not everything before was durable: %v", rows)
	}
}

func snapshots(t *testing.T, s state.Store) {
	addBuilder(t, s, "a")
	view(t, s, func(tx state.ReadTx) error {
		before, err := tx.Count("builders", state.Query{})
		if err != nil {
			return err
		}
		addBuilder(t, s, "b")
		after, err := tx.Count("builders", state.Query{})
		if before != 1 || after != 1 {
			t.Errorf("a view saw %d, then %d builders", before, after)
		}
		return err
	})
}

func closing(t *testing.T, s state.Store) {
	sub := s.Subscribe(t.Context(), "*/*/*")
	s.Defer(func(tx state.Tx) error {
		_, err := tx.PutBuilder(state.Builder{Name: "a", Active: true})
		return err
	}, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range sub.C {
	}
	if err := sub.Err(); !errors.Is(err, state.ErrClosed) {
		t.Errorf("subscription: %v", err)
	}
	if err := s.Update(t.Context(), func(state.Tx) error { return nil }); !errors.Is(err, state.ErrClosed) {
		t.Errorf("Update: %v", err)
	}
	if err := s.View(t.Context(), func(state.ReadTx) error { return nil }); !errors.Is(err, state.ErrClosed) {
		t.Errorf("View: %v", err)
	}
	var err error
	s.Defer(func(state.Tx) error { return nil }, func(e error) { err = e })
	if !errors.Is(err, state.ErrClosed) {
		t.Errorf("Defer: %v", err)
	}
	s.Publish(state.Event{Key: "logs/1/append"})
	if sub, _ := s.Resume(t.Context(), s.Position(), "*/*/*"); sub != nil {
		if _, ok := <-sub.C; ok {
			t.Error("a closed store sends events")
		}
	}
}

func missing(t *testing.T, s state.Store) {
	view(t, s, func(tx state.ReadTx) error {
		_, err := tx.BuildProperties(9)
		_, gerr := tx.Generation(9)
		_, oerr := state.One(tx.Builds(state.Where("buildid", int64(9))))
		for _, err := range []error{err, gerr, oerr} {
			if !errors.Is(err, state.ErrNotFound) {
				t.Errorf("err = %v, want ErrNotFound", err)
			}
		}
		return nil
	})
	writes := map[string]func(state.Tx) error{
		"Claim":           func(tx state.Tx) error { return tx.Claim(1, 9) },
		"Unclaim":         func(tx state.Tx) error { return tx.Unclaim(true, 9) },
		"CompleteRequest": func(tx state.Tx) error { return tx.CompleteRequest(9, config.Success, 1) },
		"PutRequest":      func(tx state.Tx) error { return tx.PutRequest(state.BuildRequest{ID: 9}) },
		"AddBuild":        func(tx state.Tx) error { _, err := tx.AddBuild(state.Build{BuilderID: 9}); return err },
		"PutBuild":        func(tx state.Tx) error { return tx.PutBuild(state.Build{ID: 9}, "update") },
		"SetProperties":   func(tx state.Tx) error { return tx.SetProperties(9, state.Properties{"a": {}}) },
		"PutStep":         func(tx state.Tx) error { return tx.PutStep(state.Step{ID: 9}, "updated") },
		"PutLog":          func(tx state.Tx) error { return tx.PutLog(state.Log{ID: 9}) },
		"PutCommand":      func(tx state.Tx) error { return tx.PutCommand(state.Command{ID: "9"}) },
		"AddBuildset": func(tx state.Tx) error {
			_, _, err := tx.AddBuildset(state.Buildset{SourceStamps: []state.SourceStamp{{ID: 9}}}, nil)
			return err
		},
	}
	for name, fn := range writes {
		if err := s.Update(t.Context(), fn); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("%s: err = %v, want ErrNotFound", name, err)
		}
	}
	if n := s.Position().Seq; n != 0 {
		t.Errorf("%d events of writes that failed", n)
	}
}
