package statetest

import (
	"errors"
	"testing"

	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

func instances(t *testing.T, s state.Store) {
	sub := s.Subscribe(t.Context(), "instances/*/*")
	row := state.Instance{
		ID: 77, Worker: "w", Kind: "docker", State: state.InstanceStarting, Password: "secret", Arguments: map[string]any{"image": "x", "n": int64(1)},
		Caps: []string{"cap"}, Generation: 3, BuildID: 5, CreatedAt: 1000,
	}
	other := state.Instance{Worker: "v", Kind: "script", State: state.InstanceStarting, CreatedAt: 2000}
	update(t, s, func(tx state.Tx) (err error) {
		if row.ID, err = tx.AddInstance(row); err != nil {
			return err
		}
		other.ID, err = tx.AddInstance(other)
		return err
	})
	row.State, row.Handle, row.Info, row.StartedAt, row.ConnectedAt = state.InstanceUp, "h", []string{"id 1"}, 1100, 1200
	gone := row
	gone.State, gone.StoppingAt, gone.GoneAt, gone.Failures, gone.Failure, gone.Password = state.InstanceGone, 1300, 1400, 2, "no", ""
	for _, r := range []state.Instance{row, gone} {
		update(t, s, func(tx state.Tx) error { return tx.PutInstance(r) })
		view(t, s, func(tx state.ReadTx) error {
			got, err := tx.Instances(state.Where("worker", "w"))
			if diff := cmp.Diff([]state.Instance{r}, got); diff != "" {
				t.Error(diff)
			}
			return err
		})
	}
	view(t, s, func(tx state.ReadTx) error {
		got, err := tx.Instances(state.Where("gone_at", nil))
		if diff := cmp.Diff([]state.Instance{other}, got); diff != "" {
			t.Error(diff)
		}
		return err
	})
	for _, want := range []string{"instances/1/new", "instances/2/new", "instances/1/update", "instances/1/gone"} {
		if e := <-sub.C; e.Key != want {
			t.Errorf("event %q, want %q", e.Key, want)
		}
	}
	err := s.Update(t.Context(), func(tx state.Tx) error { return tx.PutInstance(state.Instance{ID: 99}) })
	if !errors.Is(err, state.ErrNotFound) {
		t.Errorf("an instance that is not there: %v", err)
	}
}

func instanceGeneration(t *testing.T, s state.Store) {
	put := func(digest string) (id int64) {
		update(t, s, func(tx state.Tx) (err error) {
			id, err = tx.PutGeneration(state.Generation{Digest: []byte(digest), Inputs: map[string][]byte{"master.star": []byte(digest)}})
			return err
		})
		return id
	}
	has := func(id int64) (has bool) {
		view(t, s, func(tx state.ReadTx) (err error) {
			has, err = tx.HasGeneration(id)
			return err
		})
		return has
	}
	first := put("one")
	row := state.Instance{Worker: "w", Generation: first, CreatedAt: 1}
	update(t, s, func(tx state.Tx) (err error) {
		row.ID, err = tx.AddInstance(row)
		return err
	})
	if put("two"); !has(first) {
		t.Error("the generation of an instance is gone")
	}
	row.GoneAt = 2
	update(t, s, func(tx state.Tx) error { return tx.PutInstance(row) })
	if put("three"); has(first) {
		t.Error("the generation of an instance that is gone is still there")
	}
}
