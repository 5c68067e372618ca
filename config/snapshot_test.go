package config

import (
	"slices"
	"testing"

	"buildstar/config/prop"
)

func TestCompare(t *testing.T) {
	worker := func(name string, builds int) *Worker { return &Worker{Name: name, MaxBuilds: builds} }
	old := New(Snapshot{
		Workers: []*Worker{worker("b", 1), worker("a", 1), worker("gone", 1)},
		Locks:   []*Lock{{Name: "a", MaxCount: 1}},
	})
	next := New(Snapshot{
		Workers:  []*Worker{worker("a", 2), worker("b", 1), worker("z", 1), worker("new", 1)},
		Builders: []*Builder{{Name: "a"}},
		Locks:    []*Lock{{Name: "a", MaxCount: 1, At: At{prop.Pos{Line: 7}}}},
	})
	d := Compare(old, next)
	for _, tt := range []struct {
		name      string
		got, want []Key
	}{
		{"added", d.Added, []Key{{KindBuilder, "a"}, {KindWorker, "new"}, {KindWorker, "z"}}},
		{"removed", d.Removed, []Key{{KindWorker, "gone"}}},
		{"changed", d.Changed, []Key{{KindWorker, "a"}}},
		{"kept", d.Kept, []Key{{KindLock, "a"}, {KindWorker, "b"}}},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	if d.Master || d.Empty() {
		t.Errorf("master %v, empty %v", d.Master, d.Empty())
	}
	if d := Compare(next, next); !d.Empty() || len(d.Kept) != 6 {
		t.Errorf("a snapshot differs from itself: %+v", d)
	}
	if d := Compare(nil, next); len(d.Added) != 6 {
		t.Errorf("from nothing: %+v", d)
	}
	titled := New(Snapshot{Master: Master{Title: "x"}})
	if d := Compare(New(Snapshot{}), titled); !d.Master || d.Empty() {
		t.Errorf("the title does not matter: %+v", d)
	}
}

func TestSnapshotNames(t *testing.T) {
	s := New(Snapshot{
		Workers:  []*Worker{{Name: "w"}, {Name: "v"}},
		Builders: []*Builder{{Name: "one", Workers: []string{"w"}}, {Name: "two", Workers: []string{"v", "w"}}},
	})
	if s.Worker("w") != s.Workers[0] || s.Worker("x") != nil || s.Builder("two") != s.Builders[1] || s.Scheduler("x") != nil {
		t.Error("names do not find their nodes")
	}
	if got := s.BuildersOf("w"); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("builders of w: %q", got)
	}
	if got := s.BuildersOf("v"); !slices.Equal(got, []string{"two"}) {
		t.Errorf("builders of v: %q", got)
	}
}

func TestRefs(t *testing.T) {
	b := &Builder{Workers: []string{"w", "v"}, Project: "p"}
	var got []string
	for param, k := range b.Refs() {
		got = append(got, param+" "+k.String())
	}
	if want := []string{`workernames worker "w"`, `workernames worker "v"`, `project project "p"`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range b.Refs() {
		break // the iterator stops when asked
	}
}

func TestResults(t *testing.T) {
	order := []Result{Skipped, Success, Warnings, Failure, Exception, Retry, Cancelled}
	for i, a := range order {
		for j, b := range order {
			if got, want := Worst(a, b), order[max(i, j)]; got != want {
				t.Errorf("worst of %v and %v is %v, want %v", a, b, got, want)
			}
		}
	}
	for r, want := range map[Result]string{Success: "success", Cancelled: "cancelled", Unfinished: "unfinished", 9: "Result(9)"} {
		if r.String() != want {
			t.Errorf("got %q, want %q", r.String(), want)
		}
	}
}
