package statetest

import (
	"errors"
	"fmt"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

func names(t *testing.T, s state.Store) {
	worker := state.Worker{
		Name: "w", Paused: true, PauseReason: "hot", PausedBy: "me", PausedAt: 1500, Connected: true, ChangedAt: 2500, Active: true,
		Graceful: true, GracefulReason: "new disk", GracefulBy: "you", GracefulAt: 1600, GracefulLife: "x",
		Quarantine: state.Quarantine{Since: 1700, Until: 1800, Count: 3, Cause: "lost", BuildID: 4},
		Info:       prop.FactsOf(map[string]any{"admin": "a <b>", "numcpus": int64(4), "load": 1.0, "list": []any{true, nil}}),
	}
	var ids [5]int64
	put := func(events uint64) {
		t.Helper()
		var epoch int64
		update(t, s, func(tx state.Tx) (err error) {
			if epoch, err = tx.PutMaster(state.Master{Name: "m", Active: true, LastActive: 7}); err != nil {
				return err
			}
			if ids[0], err = tx.PutProject(state.Project{Name: "p", Slug: "p", Description: "d", DescriptionFormat: "markdown", Active: true}); err != nil {
				return err
			}
			if ids[1], err = tx.PutBuilder(state.Builder{ID: 99, Name: "b", Description: "d", ProjectID: ids[0], Tags: []string{"x", `"y`}, Active: true}); err != nil {
				return err
			}
			if ids[2], err = tx.PutWorker(worker, "configured"); err != nil {
				return err
			}
			if ids[3], err = tx.PutScheduler(state.Scheduler{Name: "s", Enabled: true, Active: true, Error: "no", ErrorAt: 3, ActedAt: 4}); err != nil {
				return err
			}
			ids[4], err = tx.PutChangeSource(state.ChangeSource{Name: "c", Error: "no network", Active: true})
			return err
		})
		if epoch != 1 {
			t.Errorf("epoch = %d, want 1: it counts openings, not writes", epoch)
		}
		if got := s.Position().Seq; got != events {
			t.Errorf("%d events so far, want %d", got, events)
		}
	}
	put(6)
	first := ids
	put(7) // the master's again; nothing else changed
	if ids != first {
		t.Errorf("ids changed from %v to %v", first, ids)
	}
	worker.ID = ids[2]
	view(t, s, func(tx state.ReadTx) error {
		masters, err := tx.Masters(state.Query{})
		projects, err1 := tx.Projects(state.Query{})
		builders, err2 := tx.Builders(state.Query{})
		workers, err3 := tx.Workers(state.Query{})
		schedulers, err4 := tx.Schedulers(state.Query{})
		sources, err5 := tx.ChangeSources(state.Query{})
		for _, p := range []struct{ want, got any }{
			{[]state.Master{{ID: 1, Name: "m", Active: true, LastActive: 7}}, masters},
			{[]state.Project{{ID: ids[0], Name: "p", Slug: "p", Description: "d", DescriptionFormat: "markdown", Active: true}}, projects},
			{[]state.Builder{{ID: ids[1], Name: "b", Description: "d", ProjectID: ids[0], Tags: []string{"x", `"y`}, Active: true}}, builders},
			{[]state.Worker{worker}, workers},
			{[]state.Scheduler{{ID: ids[3], Name: "s", Enabled: true, Active: true, Error: "no", ErrorAt: 3, ActedAt: 4}}, schedulers},
			{[]state.ChangeSource{{ID: ids[4], Name: "c", Error: "no network", Active: true}}, sources},
		} {
			if diff := cmp.Diff(p.want, p.got); diff != "" {
				t.Error(diff)
			}
		}
		return errors.Join(err, err1, err2, err3, err4, err5)
	})
}

func retiring(t *testing.T, s state.Store) {
	a, b := addBuilder(t, s, "a"), addBuilder(t, s, "b")
	update(t, s, func(tx state.Tx) error {
		_, err := tx.PutWorker(state.Worker{Name: "w", Active: true}, "configured")
		_, err1 := tx.PutScheduler(state.Scheduler{Name: "s", Active: true})
		_, err2 := tx.PutProject(state.Project{Name: "p", Active: true})
		_, err3 := tx.PutChangeSource(state.ChangeSource{Name: "c", Active: true})
		return errors.Join(err, err1, err2, err3)
	})
	sub := s.Subscribe(t.Context(), "*/*/*")
	update(t, s, func(tx state.Tx) error { return tx.Retire(map[string][]string{config.KindBuilder: {"a"}}) })
	for _, want := range []string{fmt.Sprintf("builders/%d/stopped", b), "workers/1/configured", "schedulers/1/stopped", "changesources/1/stopped", "projects/1/update"} {
		if e := <-sub.C; e.Key != want {
			t.Errorf("event %s, want %s", e.Key, want)
		}
	}
	active := read(t, s, func(tx state.ReadTx) ([]state.Builder, error) { return tx.Builders(state.Where("active", true)) })
	if len(active) != 1 || active[0].ID != a {
		t.Errorf("active: %v", active)
	}
	if again := addBuilder(t, s, "b"); again != b {
		t.Errorf("a builder that came back has id %d, had %d", again, b)
	}
	if e := <-sub.C; e.Key != fmt.Sprintf("builders/%d/started", b) {
		t.Errorf("event %s", e.Key)
	}
}

func stamps(t *testing.T, s state.Store) {
	stamps := []state.SourceStamp{
		{CreatedAt: 1}, {Branch: ptr(""), CreatedAt: 1}, {Branch: ptr("main"), Revision: ptr("abc"), Project: "p", Repository: "r", Codebase: "c", CreatedAt: 1},
	}
	update(t, s, func(tx state.Tx) error {
		for round := range 2 {
			for i := range stamps {
				id, err := tx.AddSourceStamp(stamps[i])
				if err != nil {
					return err
				}
				if round == 1 && id != stamps[i].ID {
					t.Errorf("stamp %d has id %d, had %d", i, id, stamps[i].ID)
				}
				stamps[i].ID = id
				stamps[i].CreatedAt = state.Time(round + 1)
			}
		}
		return nil
	})
	for i := range stamps {
		stamps[i].CreatedAt = 1
	}
	if diff := cmp.Diff(stamps, read(t, s, func(tx state.ReadTx) ([]state.SourceStamp, error) { return tx.SourceStamps(state.Query{}) })); diff != "" {
		t.Error(diff)
	}
}

func buildsets(t *testing.T, s state.Store) {
	a, b := addBuilder(t, s, "a"), addBuilder(t, s, "b")
	bs := state.Buildset{
		ExternalID: ptr("x"), Reason: "why", Scheduler: "s", SubmittedAt: 1234, ParentBuildID: 3, ParentStep: 2, ParentSeq: 1,
		ParentRelationship: "Triggered from", RebuiltBuildID: 4,
		Results: config.Unfinished, Properties: state.Properties{"p": {Value: []any{"v", int64(1), 1.5, nil}, Source: "Scheduler", Secrets: []string{"x", "y"}}},
	}
	requests := []state.BuildRequest{{BuilderID: a, Priority: 3, WaitedFor: true}, {BuilderID: b}}
	update(t, s, func(tx state.Tx) error {
		for _, codebase := range []string{"two", "one"} {
			id, err := tx.AddSourceStamp(state.SourceStamp{Codebase: codebase, CreatedAt: 5})
			if err != nil {
				return err
			}
			bs.SourceStamps = append(bs.SourceStamps, state.SourceStamp{ID: id, Codebase: codebase, CreatedAt: 5})
		}
		id, ids, err := tx.AddBuildset(bs, requests)
		bs.ID = id
		for i := range requests {
			requests[i].ID, requests[i].BuildsetID, requests[i].Results, requests[i].SubmittedAt = ids[i], id, config.Unfinished, 1234
		}
		return err
	})
	check := func() {
		t.Helper()
		view(t, s, func(tx state.ReadTx) error {
			sets, err := tx.Buildsets(state.Query{})
			if diff := cmp.Diff([]state.Buildset{bs}, sets); diff != "" {
				t.Error(diff)
			}
			rows, err1 := tx.BuildRequests(state.Query{})
			if diff := cmp.Diff(requests, rows); diff != "" {
				t.Error(diff)
			}
			return errors.Join(err, err1)
		})
	}
	check()
	err := s.Update(t.Context(), func(tx state.Tx) error {
		_, _, err := tx.AddBuildset(state.Buildset{ParentBuildID: 3, ParentStep: 2, ParentSeq: 1}, nil)
		return err
	})
	if err == nil {
		t.Error("a step triggered the same buildset twice")
	}
	check()
	for stamp, want := range map[any]int{bs.SourceStamps[0].ID: 1, bs.SourceStamps[1].ID: 1, int64(99): 0, nil: 0} {
		if sets := read(t, s, func(tx state.ReadTx) ([]state.Buildset, error) { return tx.Buildsets(state.Where("ssid", stamp)) }); len(sets) != want {
			t.Errorf("%d buildsets of source stamp %v, want %d", len(sets), stamp, want)
		}
	}
	for _, q := range []state.Query{{Order: []state.Order{{Field: "ssid"}}}, {Where: []state.Filter{{Field: "ssid", Op: state.Ne, Values: []any{int64(1)}}}}} {
		if err := s.View(t.Context(), func(tx state.ReadTx) error { _, err := tx.Buildsets(q); return err }); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
	// The first of two requests does not end the buildset, the last does, with the worst.
	complete := func(i int, r config.Result, at state.Time) {
		update(t, s, func(tx state.Tx) error { return tx.CompleteRequest(requests[i].ID, r, at) })
		requests[i].Complete, requests[i].CompleteAt, requests[i].Results = true, at, r
	}
	complete(0, config.Failure, 2000)
	check()
	complete(1, config.Warnings, 3000)
	bs.Complete, bs.CompleteAt, bs.Results = true, 3000, config.Failure
	check()
	if err := s.Update(t.Context(), func(tx state.Tx) error { return tx.CompleteRequest(requests[0].ID, config.Success, 9) }); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("completing twice: %v", err)
	}
	check()
	skipped, ids := addRequests(t, s, b, b)
	for _, id := range ids {
		update(t, s, func(tx state.Tx) error { return tx.CompleteRequest(id, config.Skipped, 4000) })
	}
	only := read(t, s, func(tx state.ReadTx) (state.Buildset, error) {
		return state.One(tx.Buildsets(state.Where("bsid", skipped)))
	})
	if !only.Complete || only.Results != config.Success {
		t.Errorf("a buildset whose requests were skipped is %+v", only)
	}
	empty, _ := addRequests(t, s)
	row := read(t, s, func(tx state.ReadTx) (state.Buildset, error) {
		return state.One(tx.Buildsets(state.Where("bsid", empty)))
	})
	if !row.Complete || row.Results != config.Success {
		t.Errorf("a buildset without requests is %+v", row)
	}
}

func claiming(t *testing.T, s state.Store) {
	b := addBuilder(t, s, "b")
	_, ids := addRequests(t, s, b, b, b)
	claim := func(want error, ids ...int64) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx state.Tx) error { return tx.Claim(7000, ids...) }); !errors.Is(err, want) {
			t.Errorf("Claim(%v) = %v, want %v", ids, err, want)
		}
	}
	claimed := func() []int64 {
		return read(t, s, func(tx state.ReadTx) (ids []int64, _ error) {
			rows, err := tx.BuildRequests(state.Where("claimed", true))
			for _, r := range rows {
				ids = append(ids, r.ID)
			}
			return ids, err
		})
	}
	claim(nil, ids[1])
	claim(state.ErrNotFound, ids[0], ids[1])
	if got := claimed(); !cmp.Equal(got, ids[1:2]) {
		t.Errorf("claimed %v", got)
	}
	claim(nil, ids[0], ids[2])
	for retry, want := range map[bool]int64{false: 0, true: 1} {
		update(t, s, func(tx state.Tx) error { return tx.Unclaim(retry, ids[0]) })
		row := read(t, s, func(tx state.ReadTx) (state.BuildRequest, error) {
			return state.One(tx.BuildRequests(state.Where("buildrequestid", ids[0])))
		})
		if row.Claimed || row.ClaimedAt != 0 || retry && row.Retries != want {
			t.Errorf("unclaimed: %+v", row)
		}
	}
	update(t, s, func(tx state.Tx) error { return tx.CompleteRequest(ids[0], config.Cancelled, 1) })
	claim(state.ErrNotFound, ids[0])
	update(t, s, func(tx state.Tx) error {
		return tx.PutRequest(state.BuildRequest{ID: ids[1], Priority: 5, CollapsedTo: ids[2]})
	})
	row := read(t, s, func(tx state.ReadTx) (state.BuildRequest, error) {
		return state.One(tx.BuildRequests(state.Where("priority", int64(5))))
	})
	if row.ID != ids[1] || row.CollapsedTo != ids[2] || !row.Claimed || row.ClaimedAt != 7000 {
		t.Errorf("PutRequest wrote %+v", row)
	}
}

func generations(t *testing.T, s state.Store) {
	gen := func(n byte) state.Generation {
		return state.Generation{
			CreatedAt: 5, Digest: []byte{n}, Main: "master.star", Env: map[string]*string{"HOME": ptr("/h"), "NONE": nil},
			Inputs: map[string][]byte{"master.star": {n}, "lib/same.star": []byte("same"), "empty": {}},
		}
	}
	put := func(g state.Generation) (id int64) {
		t.Helper()
		update(t, s, func(tx state.Tx) (err error) {
			id, err = tx.PutGeneration(g)
			return err
		})
		return id
	}
	builder := addBuilder(t, s, "b")
	one := put(gen(1))
	b := addBuild(t, s, state.Build{BuilderID: builder, Generation: one})
	two := put(gen(2))
	if again := put(gen(2)); again != two || two == one {
		t.Errorf("ids %d, %d, %d", one, two, again)
	}
	has := func(id int64, want *state.Generation) {
		t.Helper()
		view(t, s, func(tx state.ReadTx) error {
			g, err := tx.Generation(id)
			if want == nil {
				if !errors.Is(err, state.ErrNotFound) {
					t.Errorf("generation %d is still there: %v", id, err)
				}
				return nil
			}
			want.ID = id
			if diff := cmp.Diff(*want, g); diff != "" {
				t.Error(diff)
			}
			return err
		})
	}
	g1, g2, g3 := gen(1), gen(2), gen(3)
	has(one, &g1) // a running build needs it
	has(two, &g2)
	b.Complete, b.Results = true, config.Success
	update(t, s, func(tx state.Tx) error { return tx.PutBuild(b, "finished") })
	three := put(g3)
	has(one, nil)
	has(two, nil)
	has(three, &g3)
	// An old configuration that comes back is a new generation, in force.
	if back := put(gen(1)); back <= three {
		t.Errorf("generation %d came back after %d", back, three)
	}
}
