package statetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"buildstar/config"
	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

// collect returns the keys and aliases of the next n events.
func collect(t *testing.T, sub *state.Subscription, n int) (keys []string) {
	t.Helper()
	for range n {
		e, ok := <-sub.C
		if !ok {
			t.Fatalf("the subscription ended after %v: %v", keys, sub.Err())
		}
		keys = append(keys, e.Key)
		keys = append(keys, e.Aliases...)
	}
	return keys
}

func buildEvents(t *testing.T, s state.Store) {
	sub := s.Subscribe(t.Context(), "*/*/*", "*/*/*/*")
	b := addBuilder(t, s, "b")
	var w int64
	update(t, s, func(tx state.Tx) (err error) {
		w, err = tx.PutWorker(state.Worker{Name: "w", Active: true, Connected: true}, "connected")
		return err
	})
	bsid, ids := addRequests(t, s, b)
	update(t, s, func(tx state.Tx) error {
		if err := tx.Claim(1000, ids...); err != nil {
			return err
		}
		build, err := tx.AddBuild(state.Build{BuilderID: b, RequestID: ids[0], WorkerID: w, Properties: state.Properties{"a": {}}})
		if err != nil {
			return err
		}
		step := state.Step{BuildID: build.ID, Number: 7, Name: "s"}
		if step.ID, err = tx.AddStep(step); err != nil {
			return err
		}
		if err := tx.PutStep(step, "started"); err != nil {
			return err
		}
		log := state.Log{StepID: step.ID, BuildID: build.ID, Slug: "stdio"}
		if log.ID, err = tx.AddLog(log); err != nil {
			return err
		}
		log.Complete = true
		if err := tx.PutLog(log); err != nil {
			return err
		}
		if err := tx.SetProperties(build.ID, state.Properties{"b": {Value: "v", Source: "s"}}); err != nil {
			return err
		}
		step.Complete = true
		if err := tx.PutStep(step, "finished"); err != nil {
			return err
		}
		if err := tx.PutBuild(build, "update"); err != nil {
			return err
		}
		if err := tx.Unclaim(true, ids...); err != nil {
			return err
		}
		return tx.CompleteRequest(ids[0], config.Success, 2000)
	})
	if b != 1 || w != 1 || bsid != 1 || ids[0] != 1 {
		t.Fatalf("ids do not start at 1: %d %d %d %v", b, w, bsid, ids)
	}
	want := []string{
		"builders/1/started", "masters/1/builders/1/started",
		"workers/1/connected", "masters/1/workers/1/connected",
		"buildsets/1/new",
		"buildrequests/1/new", "builders/1/buildrequests/1/new", "buildsets/1/buildrequests/1/new",
		"buildrequests/1/claimed", "builders/1/buildrequests/1/claimed", "buildsets/1/buildrequests/1/claimed",
		"builds/1/new", "builders/1/builds/1/new", "workers/1/builds/1/new", "buildrequests/1/builds/1/new",
		"steps/1/new", "builds/1/steps/1/new",
		"steps/1/started", "builds/1/steps/1/started",
		"logs/1/new", "steps/1/logs/stdio/new",
		"logs/1/finished", "steps/1/logs/stdio/finished",
		"builds/1/properties/update",
		"steps/1/finished", "builds/1/steps/1/finished",
		"builds/1/update", "builders/1/builds/1/update", "workers/1/builds/1/update", "buildrequests/1/builds/1/update",
		"buildrequests/1/unclaimed", "builders/1/buildrequests/1/unclaimed", "buildsets/1/buildrequests/1/unclaimed",
		"buildrequests/1/complete", "builders/1/buildrequests/1/complete", "buildsets/1/buildrequests/1/complete",
		"buildsets/1/complete",
	}
	if diff := cmp.Diff(want, collect(t, sub, 16)); diff != "" {
		t.Error(diff)
	}
}

// order runs many updates at once and checks that the events have the order in which
// the rows got their ids, without a gap.
func order(t *testing.T, s state.Store) {
	const writers, each = 8, 25
	b := addBuilder(t, s, "b")
	sub := s.Subscribe(t.Context(), "builds/*/new")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				err := s.Update(context.Background(), func(tx state.Tx) error {
					_, err := tx.AddBuild(state.Build{BuilderID: b})
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	seq := sub.Start.Seq
	for id := int64(1); id <= writers*each; id++ {
		e := <-sub.C
		if got := e.Row.(state.Build); got.ID != id || got.Number != id || e.Seq != seq+1 {
			t.Fatalf("event %d is of build %d, want %d after %d", e.Seq, got.ID, id, seq)
		}
		seq = e.Seq
	}
	wg.Wait()
}

func published(t *testing.T, s state.Store) {
	b := addBuilder(t, s, "b")
	sub := s.Subscribe(t.Context(), "builds/*/new", "logs/*/append")
	for i := range 50 {
		s.Defer(func(tx state.Tx) error {
			_, err := tx.AddBuild(state.Build{BuilderID: b})
			return err
		}, nil)
		s.Publish(state.Log{ID: int64(i + 1)}.Event("append"))
	}
	for i := range 50 {
		for _, want := range []string{fmt.Sprintf("builds/%d/new", i+1), fmt.Sprintf("logs/%d/append", i+1)} {
			if e := <-sub.C; e.Key != want {
				t.Fatalf("event %s, want %s", e.Key, want)
			}
		}
	}
}

func resuming(t *testing.T, s state.Store) {
	start := s.Position()
	if start.Epoch == 0 {
		t.Error("epoch 0")
	}
	a := addBuilder(t, s, "a")
	middle := s.Position()
	addBuilder(t, s, "b")
	sub, ok := s.Resume(t.Context(), middle, "builders/*/*")
	if !ok {
		t.Fatal("a position in the ring cannot be resumed")
	}
	addBuilder(t, s, "c")
	if diff := cmp.Diff([]string{"builders/2/started", "masters/1/builders/2/started", "builders/3/started", "masters/1/builders/3/started"}, collect(t, sub, 2)); diff != "" {
		t.Error(diff)
	}
	if _, ok := s.Resume(t.Context(), start, "builders/*/*"); !ok {
		t.Error("the beginning cannot be resumed")
	}
	for _, p := range []state.Position{{Epoch: start.Epoch + 1, Seq: middle.Seq}, {Epoch: start.Epoch, Seq: 1000}} {
		if _, ok := s.Resume(t.Context(), p, "builders/*/*"); ok {
			t.Errorf("position %v can be resumed", p)
		}
	}
	for i := range 10_000 {
		s.Publish(state.Log{ID: int64(i)}.Event("append"))
	}
	addBuilder(t, s, "d") // Publish does not wait; an Update called later does
	if _, ok := s.Resume(t.Context(), middle, "builders/*/*"); ok {
		t.Errorf("a position that left the ring can be resumed; builder %d", a)
	}
}

func versions(t *testing.T, s state.Store) {
	if v := s.Version("builders"); v != 0 {
		t.Errorf("version %d before any event", v)
	}
	addBuilder(t, s, "a")
	v := s.Version("builders")
	if v != s.Position().Seq {
		t.Errorf("version %d, position %v", v, s.Position())
	}
	addRequests(t, s)
	if s.Version("builders") != v || s.Version("buildsets") != s.Position().Seq {
		t.Errorf("versions %d and %d at %v", s.Version("builders"), s.Version("buildsets"), s.Position())
	}
}
