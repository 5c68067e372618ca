package engine

import (
	"context"
	"errors"
	"testing"

	"buildstar/config"
	"buildstar/engine/change"
	"buildstar/state"
)

// countChanges returns how many changes there are.
func countChanges(t *testing.T, s *site) int64 {
	t.Helper()
	var n int64
	err := s.store.View(context.Background(), func(tx state.ReadTx) (err error) {
		n, err = tx.Count("changes", state.Query{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAddChange(t *testing.T) {
	s := newSite(t)
	m := New(Options{Store: s.store, Logger: quietLog()})
	events := s.store.Subscribe(t.Context(), "changes/*/new")
	before := state.Now()
	c, err := m.AddChange(t.Context(), change.Input{Author: "ann", Revision: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != 1 || c.Author != "ann" || c.SourceStamp.ID == 0 || c.ReceivedAt < before {
		t.Errorf("added %+v", c)
	}
	if e := <-events.C; e.Row.(state.Change).ID != c.ID {
		t.Errorf("event of %+v", e.Row)
	}
}

// All changes of a call are added with what else is written, or nothing is.
func TestAddChangesAtOnce(t *testing.T) {
	s := newSite(t)
	m := New(Options{Store: s.store, Logger: quietLog()})
	poller := config.Key{Kind: "changesource", Name: "p"}
	seen := func(v string) func(state.Tx) error {
		return func(tx state.Tx) error { return tx.Remember(poller, "seen", v) }
	}
	good := change.Input{Author: "ann"}
	_, err := m.AddChanges(t.Context(), []change.Input{good, {Comments: "no author"}}, seen("a"))
	var invalid *change.Invalid
	if !errors.As(err, &invalid) {
		t.Errorf("a change without author: %v", err)
	}
	broken := errors.New("broken")
	if _, err := m.AddChanges(t.Context(), []change.Input{good}, func(state.Tx) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("what else is written fails: %v", err)
	}
	if n := countChanges(t, s); n != 0 {
		t.Errorf("%d changes of calls that failed", n)
	}
	rows, err := m.AddChanges(t.Context(), []change.Input{good, {Author: "bob"}}, seen("b"))
	if err != nil || len(rows) != 2 || rows[0].Author != "ann" || rows[1].ID != rows[0].ID+1 || len(rows[1].ParentIDs) != 1 {
		t.Errorf("added %+v, %v", rows, err)
	}
	var v string
	err = s.store.View(t.Context(), func(tx state.ReadTx) error {
		_, err := tx.Recall(poller, "seen", &v)
		return err
	})
	if err != nil || v != "b" {
		t.Errorf("remembered %q, %v", v, err)
	}
}
