package statetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

// addChange adds a change and returns it as it can be read.
func addChange(t *testing.T, s state.Store, c state.Change) state.Change {
	t.Helper()
	update(t, s, func(tx state.Tx) (err error) {
		if c.ID, err = tx.AddChange(c); err != nil {
			return err
		}
		c, err = state.One(tx.Changes(state.Where("changeid", c.ID)))
		return err
	})
	return c
}

func changes(t *testing.T, s state.Store) {
	sub := s.Subscribe(t.Context(), "changes/*/*")
	full := state.Change{
		ID: 77, Author: "A <a@b>", Committer: ptr("C"), Comments: "one\ntwo", Branch: ptr("main"), Revision: ptr("abc"), Category: ptr("push"), RevLink: ptr("http://r/abc"),
		When: 5000, ReceivedAt: 7000, Codebase: "c", Project: "p", Repository: "r", Files: []string{"a", `b "c"`},
		Properties: state.Properties{"n": {Value: int64(1), Source: "Change"}}, ParentIDs: []int64{99}, SourceStamp: state.SourceStamp{ID: 98},
	}
	got := []state.Change{addChange(t, s, full)}
	want := full
	want.ID, want.ParentIDs = 1, nil
	want.SourceStamp = state.SourceStamp{ID: got[0].SourceStamp.ID, Branch: full.Branch, Revision: full.Revision, Project: "p", Repository: "r", Codebase: "c", CreatedAt: 7000}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error(diff)
	}
	// The parent of each of the others; 0: none.
	for i, tt := range []struct {
		change state.Change
		parent int64
	}{
		{state.Change{Branch: ptr("main"), Codebase: "c", Project: "p", Repository: "r", Author: "B"}, 1},
		{state.Change{Codebase: "c", Project: "p", Repository: "r"}, 0},
		{state.Change{Branch: ptr("main"), Codebase: "c", Project: "p", Repository: "other"}, 0},
		{state.Change{Branch: ptr("main"), Codebase: "c", Project: "other", Repository: "r"}, 0},
		{state.Change{Branch: ptr("main"), Project: "p", Repository: "r"}, 0},
		{state.Change{Codebase: "c", Project: "p", Repository: "r"}, 3},
		{state.Change{Branch: ptr("main"), Codebase: "c", Project: "p", Repository: "r", Revision: ptr("abc")}, 2},
	} {
		c := addChange(t, s, tt.change)
		if parents := append(c.ParentIDs, 0); c.ID != int64(i+2) || parents[0] != tt.parent {
			t.Errorf("change %d has the parents %v, want %d", c.ID, c.ParentIDs, tt.parent)
		}
		got = append(got, c)
	}
	if a, b := got[0].SourceStamp.ID, got[7].SourceStamp.ID; a != b {
		t.Errorf("changes of one revision have the source stamps %d and %d", a, b)
	}
	for _, want := range got {
		e := <-sub.C
		if e.Key != fmt.Sprintf("changes/%d/new", want.ID) || len(e.Aliases) > 0 {
			t.Errorf("event %s %v", e.Key, e.Aliases)
		}
		if diff := cmp.Diff(want, e.Row); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(got, read(t, s, func(tx state.ReadTx) ([]state.Change, error) { return tx.Changes(state.Query{}) })); diff != "" {
		t.Error(diff)
	}
}

func changeTimes(t *testing.T, s state.Store) {
	before := state.Now()
	c := addChange(t, s, state.Change{})
	if after := state.Now(); c.ReceivedAt < before || c.ReceivedAt > after || c.When != c.ReceivedAt {
		t.Errorf("a change added between %d and %d was received at %d and made at %d", before, after, c.ReceivedAt, c.When)
	}
}

func changeQueries(t *testing.T, s state.Store) {
	first := addChange(t, s, state.Change{
		Author: "ann", Committer: ptr("bob"), Comments: "fix it", Branch: ptr("main"), Revision: ptr("r1"), Category: ptr("push"), RevLink: ptr("l"),
		When: 1000, Codebase: "c", Project: "p", Repository: "r", Files: []string{"x", "y"},
	})
	addChange(t, s, state.Change{Author: "bob", When: 2000, Files: []string{"y"}})
	addChange(t, s, state.Change{Author: "cid", When: 3000, Branch: ptr("main"), Codebase: "c", Project: "p", Repository: "r"})
	tests := []struct {
		field string
		op    state.Op
		value any
		want  string
	}{
		{"changeid", state.Ge, int64(2), "2 3"}, {"author", state.Eq, "ann", "1"}, {"committer", state.Eq, nil, "2 3"}, {"comments", state.Contains, "ix", "1"},
		{"branch", state.Eq, "main", "1 3"}, {"branch", state.Eq, nil, "2"}, {"revision", state.Eq, "r1", "1"}, {"category", state.Eq, "push", "1"},
		{"revlink", state.Ne, nil, "1"}, {"when_timestamp", state.Gt, int64(1), "2 3"}, {"codebase", state.Eq, "c", "1 3"}, {"project", state.Ne, "p", "2"},
		{"repository", state.Eq, "", "2"}, {"files", state.Contains, "y", "1 2"}, {"parent_changeids", state.Eq, int64(1), "3"}, {"parent_changeids", state.Eq, nil, "1 2"},
		{"ssid", state.Eq, first.SourceStamp.ID, "1"},
	}
	for _, tt := range tests {
		q := state.Query{Where: []state.Filter{{Field: tt.field, Op: tt.op, Values: []any{tt.value}}}}
		view(t, s, func(tx state.ReadTx) error {
			rows, err := tx.Changes(q)
			var ids []string
			for _, c := range rows {
				ids = append(ids, fmt.Sprint(c.ID))
			}
			if got := strings.Join(ids, " "); got != tt.want {
				t.Errorf("%s %s %v: got %q, want %q", tt.field, tt.op, tt.value, got, tt.want)
			}
			n, cerr := tx.Count("changes", q)
			if int(n) != len(ids) {
				t.Errorf("%s %s %v: counted %d of %d", tt.field, tt.op, tt.value, n, len(ids))
			}
			return errors.Join(err, cerr)
		})
	}
}

func schedulerChanges(t *testing.T, s state.Store) {
	var a, b int64
	update(t, s, func(tx state.Tx) (err error) {
		if a, err = tx.PutScheduler(state.Scheduler{Name: "a"}); err != nil {
			return err
		}
		b, err = tx.PutScheduler(state.Scheduler{Name: "b"})
		return err
	})
	one := addChange(t, s, state.Change{Branch: ptr("main"), Repository: "r", Project: "p", Codebase: "c", ReceivedAt: 1000})
	two := addChange(t, s, state.Change{ReceivedAt: 2000})
	rows := []state.SchedulerChange{
		{ChangeID: one.ID, Important: true, Branch: ptr("main"), Repository: "r", Project: "p", Codebase: "c", ReceivedAt: 1000},
		{ChangeID: two.ID, ReceivedAt: 2000},
	}
	waiting := func(id int64, want ...state.SchedulerChange) {
		t.Helper()
		got := read(t, s, func(tx state.ReadTx) ([]state.SchedulerChange, error) { return tx.SchedulerChanges(id) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("scheduler %d: %s", id, diff)
		}
	}
	add := func(id int64, important map[int64]bool) {
		t.Helper()
		update(t, s, func(tx state.Tx) error { return tx.AddSchedulerChanges(id, important) })
	}
	waiting(a)
	add(a, map[int64]bool{two.ID: false, one.ID: true})
	add(b, map[int64]bool{two.ID: false})
	add(b, nil)
	waiting(a, rows...)
	waiting(b, rows[1])
	add(a, map[int64]bool{two.ID: true})
	rows[1].Important = true
	waiting(a, rows...)
	for name, fn := range map[string]func(state.Tx) error{
		"a change":    func(tx state.Tx) error { return tx.AddSchedulerChanges(a, map[int64]bool{two.ID: false, 99: true}) },
		"a scheduler": func(tx state.Tx) error { return tx.AddSchedulerChanges(99, map[int64]bool{two.ID: false}) },
	} {
		if err := s.Update(t.Context(), fn); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("%s that does not exist: %v", name, err)
		}
	}
	waiting(a, rows...)
	update(t, s, func(tx state.Tx) error {
		return errors.Join(tx.DropSchedulerChanges(a, one.ID, 99), tx.DropSchedulerChanges(b))
	})
	waiting(a, rows[1])
	rows[1].Important = false
	waiting(b, rows[1])
}

func memory(t *testing.T, s state.Store) {
	type cursor struct {
		Seen int64
		Due  time.Time
		Tips map[string]string
	}
	nightly, other := config.Key{Kind: config.KindScheduler, Name: "nightly"}, config.Key{Kind: config.KindWorker, Name: "nightly"}
	value := cursor{Seen: 1 << 60, Due: time.Unix(1, 0).UTC(), Tips: map[string]string{"main": "abc"}}
	recall := func(owner config.Key, name string) (c cursor, found bool) {
		t.Helper()
		view(t, s, func(tx state.ReadTx) (err error) {
			found, err = tx.Recall(owner, name, &c)
			return err
		})
		return c, found
	}
	remember := func(owner config.Key, name string, v any) {
		t.Helper()
		update(t, s, func(tx state.Tx) error { return tx.Remember(owner, name, v) })
	}
	seq := s.Position().Seq
	if _, found := recall(nightly, "cursor"); found {
		t.Error("found what was never set")
	}
	remember(nightly, "cursor", nil)
	remember(nightly, "cursor", 5)
	remember(nightly, "cursor", value)
	remember(nightly, "other", cursor{Seen: 2})
	remember(other, "cursor", cursor{Seen: 3})
	if got, found := recall(nightly, "cursor"); !found || !cmp.Equal(got, value) {
		t.Errorf("recalled %v, %v", got, found)
	}
	if got, _ := recall(nightly, "other"); got.Seen != 2 {
		t.Errorf("another name: %v", got)
	}
	remember(nightly, "cursor", nil)
	if _, found := recall(nightly, "cursor"); found {
		t.Error("found what was deleted")
	}
	if got, _ := recall(other, "cursor"); got.Seen != 3 {
		t.Errorf("another owner of the same name: %v", got)
	}
	err := s.View(t.Context(), func(tx state.ReadTx) error {
		_, err := tx.Recall(other, "cursor", new(string))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), `worker "nightly"`) {
		t.Errorf("recalled an object as a string: %v", err)
	}
	if err := s.Update(t.Context(), func(tx state.Tx) error { return tx.Remember(other, "x", func() {}) }); err == nil {
		t.Error("remembered a function")
	}
	if s.Position().Seq != seq {
		t.Error("remembering has events")
	}
}
