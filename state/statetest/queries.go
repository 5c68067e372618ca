package statetest

import (
	"fmt"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

// queryRows fills a store with rows that filters can tell apart.
func queryRows(t *testing.T, s state.Store) {
	t.Helper()
	a := addBuilder(t, s, "alpha", "x", "y")
	b := addBuilder(t, s, "beta", `y"`, "zz")
	addBuilder(t, s, "gamma")
	for i := range 6 {
		row := addBuild(t, s, state.Build{BuilderID: []int64{a, b}[i%2], RequestID: int64(i), StartedAt: state.Time(1000*i + 999), StateString: fmt.Sprint("s", i), Generation: int64(i / 2)})
		if i < 4 {
			row.Complete, row.CompleteAt, row.Results = true, state.Time(10_000+1000*i), config.Result(i)
			update(t, s, func(tx state.Tx) error { return tx.PutBuild(row, "finished") })
		}
	}
	update(t, s, func(tx state.Tx) error {
		for _, branch := range []*string{nil, ptr(""), ptr("main")} {
			if _, err := tx.AddSourceStamp(state.SourceStamp{Branch: branch}); err != nil {
				return err
			}
		}
		return nil
	})
}

func queries(t *testing.T, s state.Store) {
	queryRows(t, s)
	tests := []struct {
		resource, field string
		op              state.Op
		values          []any
		want            string // ids
	}{
		{"builds", "buildid", state.Eq, []any{int64(2)}, "2"},
		{"builds", "buildid", state.Eq, []any{int64(2), int64(4), int64(99)}, "2 4"},
		{"builds", "buildid", state.Eq, []any{"2"}, "2"},
		{"builds", "buildid", state.Eq, nil, ""},
		{"builds", "buildid", state.Ne, []any{int64(2), int64(4)}, "1 3 5 6"},
		{"builds", "buildid", state.Ne, nil, "1 2 3 4 5 6"},
		{"builds", "buildid", state.Lt, []any{int64(3)}, "1 2"},
		{"builds", "buildid", state.Le, []any{int64(3)}, "1 2 3"},
		{"builds", "buildid", state.Gt, []any{int64(3)}, "4 5 6"},
		{"builds", "buildid", state.Ge, []any{3.5}, "4 5 6"},
		{"builds", "buildid", state.Eq, []any{nil}, ""},
		{"builds", "complete", state.Eq, []any{true}, "1 2 3 4"},
		{"builds", "complete", state.Eq, []any{"off"}, "5 6"},
		{"builds", "complete", state.Ne, []any{true}, "5 6"},
		{"builds", "complete", state.Eq, []any{true, false}, "1 2 3 4 5 6"},
		{"builds", "results", state.Eq, []any{int64(2), int64(3)}, "3 4"},
		{"builds", "results", state.Eq, []any{nil}, "5 6"},
		{"builds", "results", state.Eq, []any{nil, int64(0)}, "1 5 6"},
		{"builds", "results", state.Ne, []any{nil}, "1 2 3 4"},
		{"builds", "results", state.Ne, []any{int64(0)}, "2 3 4 5 6"},
		{"builds", "results", state.Lt, []any{int64(2)}, "1 2"},
		{"builds", "started_at", state.Eq, []any{int64(2)}, "3"},
		{"builds", "started_at", state.Le, []any{int64(2)}, "1 2 3"},
		{"builds", "complete_at", state.Eq, []any{nil}, "5 6"},
		{"builds", "complete_at", state.Lt, []any{int64(99)}, "1 2 3 4"},
		{"builds", "complete_at", state.Ne, []any{int64(11)}, "1 3 4 5 6"},
		{"builds", "buildrequestid", state.Eq, []any{nil}, "1"},
		{"builds", "state_string", state.Contains, []any{"3", "4"}, "4 5"},
		{"builds", "state_string", state.Gt, []any{"s3"}, "5 6"},
		{"builds", "generation", state.Eq, []any{int64(1)}, "3 4"},
		{"builds", "masterid", state.Eq, []any{int64(1)}, "1 2 3 4 5 6"},
		{"builders", "tags", state.Contains, []any{"y"}, "1"},
		{"builders", "tags", state.Contains, []any{"z"}, ""},
		{"builders", "tags", state.Contains, []any{"x", "zz"}, "1 2"},
		{"builders", "tags", state.Ne, []any{"x"}, "2 3"},
		{"builders", "name", state.Contains, []any{"a"}, "1 2 3"},
		{"builders", "name", state.Contains, []any{"ET"}, ""},
		{"builders", "name", state.Eq, []any{"beta"}, "2"},
		{"builders", "active", state.Eq, []any{true}, "1 2 3"},
		{"builders", "projectid", state.Eq, []any{nil}, "1 2 3"},
		{"sourcestamps", "branch", state.Eq, []any{nil}, "1"},
		{"sourcestamps", "branch", state.Eq, []any{""}, "2"},
		{"sourcestamps", "branch", state.Ne, []any{"main"}, "1 2"},
		{"sourcestamps", "branch", state.Contains, []any{"ai"}, "3"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.resource, " ", tt.field, " ", tt.op, " ", tt.values), func(t *testing.T) {
			q := state.Query{Where: []state.Filter{{Field: tt.field, Op: tt.op, Values: tt.values}}}
			view(t, s, func(tx state.ReadTx) error {
				ids, err := idsOf(tx, tt.resource, q)
				if got := strings.Join(ids, " "); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				q.Limit, q.Offset = 1, 5
				n, cerr := tx.Count(tt.resource, q)
				if n != int64(len(ids)) {
					t.Errorf("counted %d of %d", n, len(ids))
				}
				if err == nil {
					err = cerr
				}
				return err
			})
		})
	}
}

// idsOf returns the ids that a query finds, as text.
func idsOf(tx state.ReadTx, resource string, q state.Query) (ids []string, err error) {
	switch resource {
	case "builds":
		rows, err := tx.Builds(q)
		for _, r := range rows {
			ids = append(ids, fmt.Sprint(r.ID))
		}
		return ids, err
	case "builders":
		rows, err := tx.Builders(q)
		for _, r := range rows {
			ids = append(ids, fmt.Sprint(r.ID))
		}
		return ids, err
	}
	rows, err := tx.SourceStamps(q)
	for _, r := range rows {
		ids = append(ids, fmt.Sprint(r.ID))
	}
	return ids, err
}

func pages(t *testing.T, s state.Store) {
	queryRows(t, s)
	asc, desc := func(f string) state.Order { return state.Order{Field: f} }, func(f string) state.Order { return state.Order{Field: f, Desc: true} }
	tests := []struct {
		q    state.Query
		want string
	}{
		{state.Query{}, "1 2 3 4 5 6"},
		{state.Query{Order: []state.Order{desc("buildid")}}, "6 5 4 3 2 1"},
		{state.Query{Order: []state.Order{desc("buildid")}, Limit: 2}, "6 5"},
		{state.Query{Order: []state.Order{desc("buildid")}, Limit: 2, Offset: 5}, "1"},
		{state.Query{Offset: 4}, "5 6"},
		{state.Query{Order: []state.Order{asc("builderid")}}, "1 3 5 2 4 6"},
		{state.Query{Order: []state.Order{desc("builderid"), desc("number")}}, "6 4 2 5 3 1"},
		{state.Query{Order: []state.Order{asc("complete")}}, "5 6 1 2 3 4"},
		{state.Query{Order: []state.Order{desc("masterid"), desc("started_at")}, Limit: 1}, "6"},
	}
	for _, tt := range tests {
		view(t, s, func(tx state.ReadTx) error {
			ids, err := idsOf(tx, "builds", tt.q)
			if diff := cmp.Diff(tt.want, strings.Join(ids, " ")); diff != "" {
				t.Errorf("%+v: %s", tt.q, diff)
			}
			return err
		})
	}
}

func badQueries(t *testing.T, s state.Store) {
	tests := []struct {
		q    state.Query
		want string // part of the error
	}{
		{state.Where("nmae", "x"), "state_string"},
		{state.Query{Order: []state.Order{{Field: "buildid; DROP TABLE builds"}}}, "state_string"},
		{state.Query{Where: []state.Filter{{Field: "number", Op: "like", Values: []any{int64(1)}}}}, "contains"},
		{state.Query{Where: []state.Filter{{Field: "number", Op: state.Contains, Values: []any{"1"}}}}, "text and lists"},
		{state.Where("number", "one"), "want an integer"},
		{state.Where("complete", "maybe"), "true or false"},
		{state.Where("state_string", []any{}), "want a string"},
		{state.Query{Limit: -1}, "negative"},
		{state.Query{Offset: -1}, "negative"},
		{state.Where("properties", "x"), "state_string"},
	}
	for _, tt := range tests {
		err := s.View(t.Context(), func(tx state.ReadTx) error {
			_, err := tx.Builds(tt.q)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: err = %v, want it to say %q", tt.q, err, tt.want)
		}
	}
	err := s.View(t.Context(), func(tx state.ReadTx) error { _, err := tx.Count("bulids", state.Query{}); return err })
	if err == nil || !strings.Contains(err.Error(), "buildsets") {
		t.Errorf("Count of an unknown resource: %v", err)
	}
}
