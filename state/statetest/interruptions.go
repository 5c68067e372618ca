package statetest

import (
	"errors"
	"testing"

	"buildstar/config"
	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

func interruptions(t *testing.T, s state.Store) {
	var build state.Build
	update(t, s, func(tx state.Tx) error {
		builder, err := tx.PutBuilder(state.Builder{Name: "b", Active: true})
		if err == nil {
			build, err = tx.AddBuild(state.Build{BuilderID: builder, StartedAt: 1000})
		}
		return err
	})
	sub := s.Subscribe(t.Context(), "interruptions/*/*")
	below := s.Subscribe(t.Context(), "builds/1/interruptions/*/*")
	add := func(cause string, at state.Time, lines map[int64]int64) {
		t.Helper()
		update(t, s, func(tx state.Tx) error {
			return tx.AddInterruption(state.Interruption{ID: 7, BuildID: build.ID, Cause: cause, StartedAt: at, EndedAt: 5, Times: 9, Lines: lines})
		})
	}
	end := func(at state.Time) {
		t.Helper()
		update(t, s, func(tx state.Tx) error { return tx.EndInterruption(build.ID, at) })
	}
	want := func(rows ...state.Interruption) {
		t.Helper()
		view(t, s, func(tx state.ReadTx) error {
			got, err := tx.Interruptions(state.Where("buildid", build.ID))
			if diff := cmp.Diff(rows, got); diff != "" {
				t.Error(diff)
			}
			return err
		})
	}
	end(1)
	want()
	add(state.WorkerAway, 2000, map[int64]int64{3: 40, 12: 0})
	first := state.Interruption{ID: 1, BuildID: build.ID, Cause: state.WorkerAway, StartedAt: 2000, Times: 1, Lines: map[int64]int64{3: 40, 12: 0}}
	want(first)
	add(state.MasterAway, 3000, nil) // it is out of touch already
	want(first)
	end(4000)
	end(5000)
	first.EndedAt = 4000
	want(first)
	add(state.WorkerAway, 4000+state.Flapping-1, nil)
	first.EndedAt, first.Times = 0, 2
	want(first)
	end(15_000)
	first.EndedAt = 15_000
	add(state.MasterAway, 14_000, nil) // it was in touch later than that
	second := state.Interruption{ID: 2, BuildID: build.ID, Cause: state.MasterAway, StartedAt: 15_000, Times: 1}
	want(first, second)
	end(1)
	second.EndedAt = 15_000
	want(first, second)
	add(state.MasterAway, 15_000+state.Flapping, nil)
	third := state.Interruption{ID: 3, BuildID: build.ID, Cause: state.MasterAway, StartedAt: 15_000 + state.Flapping, Times: 1}
	want(first, second, third)
	build.Complete, build.CompleteAt, build.Results = true, 40_000, config.Success
	update(t, s, func(tx state.Tx) error { return tx.PutBuild(build, "finished") })
	third.EndedAt = 40_000
	want(first, second, third)
	for _, key := range []string{"1/new", "1/update", "1/update", "1/update", "2/new", "2/update", "3/new", "3/update"} {
		if e := <-sub.C; e.Key != "interruptions/"+key {
			t.Errorf("event %q, want %q", e.Key, key)
		}
		if e := <-below.C; e.Key != "interruptions/"+key {
			t.Errorf("event %q of the build, want %q", e.Key, key)
		}
	}
	err := s.Update(t.Context(), func(tx state.Tx) error { return tx.AddInterruption(state.Interruption{BuildID: 99}) })
	if err == nil {
		t.Error("an interruption of no build")
	}
}

func alive(t *testing.T, s state.Store) {
	err := s.Update(t.Context(), func(tx state.Tx) error { return tx.Alive(5) })
	if !errors.Is(err, state.ErrNotFound) {
		t.Errorf("before there is a master: %v", err)
	}
	update(t, s, func(tx state.Tx) error {
		_, err := tx.PutMaster(state.Master{Name: "m", Active: true, LastActive: 7000})
		return err
	})
	update(t, s, func(tx state.Tx) error { return tx.Alive(9000) })
	view(t, s, func(tx state.ReadTx) error {
		m, err := state.One(tx.Masters(state.Query{}))
		if want := (state.Master{ID: state.MasterID, Name: "m", Active: true, LastActive: 9000}); m != want {
			t.Errorf("%+v, want %+v", m, want)
		}
		return err
	})
}
