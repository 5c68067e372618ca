package engine

import (
	"fmt"
	"testing"

	"buildstar/config"
	"buildstar/engine/change"
	"buildstar/state"
)

// history is a store with changes and builds over them.
type history struct {
	*site
	m       *Master
	builder int64
}

func newHistory(t *testing.T) *history {
	h := &history{site: newSite(t)}
	h.m = New(Options{Store: h.store, Logger: quietLog()})
	h.do(func(tx state.Tx) (err error) {
		h.builder, err = tx.PutBuilder(state.Builder{Name: "b", Active: true})
		return err
	})
	return h
}

func (h *history) do(fn func(state.Tx) error) {
	h.t.Helper()
	if err := h.store.Update(h.t.Context(), fn); err != nil {
		h.t.Fatal(err)
	}
}

// changes adds changes of a branch, each its own revision, and returns the last.
func (h *history) changes(branch string, n int) (last state.Change) {
	h.t.Helper()
	ins := make([]change.Input, n)
	for i := range ins {
		ins[i] = change.Input{Author: "ann", Branch: branch, Revision: fmt.Sprint(branch, "-", i, "-", countChanges(h.t.(*testing.T), h.site))}
	}
	rows, err := h.m.AddChanges(h.t.Context(), ins, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return rows[n-1]
}

// build adds a build of changes, and returns the ids of what it has.
func (h *history) build(result config.Result, of ...state.Change) (ids []int64) {
	h.t.Helper()
	h.do(func(tx state.Tx) error {
		var stamps []state.SourceStamp
		for _, c := range of {
			stamps = append(stamps, c.SourceStamp)
		}
		_, requests, err := tx.AddBuildset(state.Buildset{SourceStamps: stamps}, []state.BuildRequest{{BuilderID: h.builder}})
		if err != nil {
			return err
		}
		b, err := tx.AddBuild(state.Build{BuilderID: h.builder, RequestID: requests[0]})
		if err != nil {
			return err
		}
		b.Complete, b.Results = true, result
		if err := tx.PutBuild(b, "finished"); err != nil {
			return err
		}
		rows, err := change.OfBuild(tx, b)
		for _, c := range rows {
			ids = append(ids, c.ID)
		}
		return err
	})
	return ids
}

func (h *history) want(what string, got []int64, want ...int64) {
	h.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("%s has the changes %v, want %v", what, got, want)
	}
}

// The changes of a build are those since its builder was last successful with the
// same branch (docs/requirements.md C10).
func TestChangesOfABuild(t *testing.T) {
	h := newHistory(t)
	second := h.changes("main", 2)
	other := h.changes("other", 1)
	h.want("the first build", h.build(config.Success, second), 2, 1)
	h.want("the first of another branch", h.build(config.Success, other), 3)
	fifth := h.changes("main", 2)
	h.want("a build that failed", h.build(config.Failure, fifth), 5, 4)
	h.want("a build of the same", h.build(config.Warnings, fifth), 5, 4)
	sixth := h.changes("main", 1)
	h.want("the build that mends it", h.build(config.Success, sixth), 6, 5, 4)
	h.want("the same again", h.build(config.Success, sixth))
	h.want("an older one", h.build(config.Success, second), 2)
	h.want("a forced build", h.build(config.Success))
}

// The search for an earlier success goes on where other branches were built often.
func TestChangesOfABuildAfterMany(t *testing.T) {
	h := newHistory(t)
	first := h.changes("main", 1)
	h.build(config.Success, first)
	other := h.changes("other", 1)
	for range 60 {
		h.build(config.Success, other)
	}
	h.want("the next of main", h.build(config.Success, h.changes("main", 1)), 3)
}
