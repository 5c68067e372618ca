package engine

import (
	"context"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// After a crash the builds that waited are built again, and what they waited for is
// cancelled: running, or waiting itself, to any depth.
func TestAbandonedAfterCrash(t *testing.T) {
	s := newSite(t)
	set := func(tx state.Tx, builder, parent int64, waited bool) (request int64) {
		ss, err := tx.AddSourceStamp(state.SourceStamp{})
		if err != nil {
			t.Error(err)
		}
		_, ids, err := tx.AddBuildset(state.Buildset{ParentBuildID: parent, ParentStep: 1, SourceStamps: []state.SourceStamp{{ID: ss}}},
			[]state.BuildRequest{{BuilderID: builder, WaitedFor: waited}})
		if err != nil {
			t.Error(err)
		}
		return ids[0]
	}
	open := func(tx state.Tx, builder, request int64) int64 {
		if err := tx.Claim(1, request); err != nil {
			t.Error(err)
		}
		b, err := tx.AddBuild(state.Build{BuilderID: builder, RequestID: request, StartedAt: 1})
		if err != nil {
			t.Error(err)
		}
		return b.ID
	}
	var top, child, grand, free int64
	err := s.store.Update(context.Background(), func(tx state.Tx) error {
		b, err := tx.PutBuilder(state.Builder{Name: "b", Active: true})
		if err != nil {
			return err
		}
		top = set(tx, b, 0, false)
		child = set(tx, b, open(tx, b, top), true)
		grand = set(tx, b, open(tx, b, child), true)
		free = set(tx, b, open(tx, b, set(tx, b, 0, false)), false)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := s.start(oneBuilder(ends("a", config.Success)))
	for name, want := range map[int64]config.Result{top: config.Success, free: config.Success} {
		for b := r.finished(name); b.Results != want; b = r.finished(name) {
			if b.Results != config.Retry {
				t.Errorf("request %d: %v", name, b.Results)
			}
		}
	}
	for _, id := range []int64{child, grand} {
		if row := r.request(id); row.Results != config.Cancelled {
			t.Errorf("request %d: %+v", id, row)
		}
	}
	if b := r.builds(child); len(b) != 1 || b[0].Results != config.Cancelled || !strings.Contains(b[0].StateString, "the build that waited for it was interrupted") {
		t.Errorf("%+v", b)
	}
	if n := len(r.builds(grand)); n != 0 {
		t.Errorf("%d builds of what nobody waits for", n)
	}
}
