package sqlite

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"buildstar/state"
)

// What outsiders put into a query is either refused by us or runs: SQL never fails.
func FuzzQuery(f *testing.F) {
	s := openStore(f, filepath.Join(f.TempDir(), "s"), Options{Readers: 1})
	f.Cleanup(func() { s.Close() })
	names := slices.Sorted(maps.Keys(resources))
	f.Add(uint8(0), uint8(0), uint8(0), "eq", "1", int64(0), 0.0, int64(0), int64(0))
	f.Add(uint8(2), uint8(3), uint8(1), "contains", "x' OR 1=1 --", int64(-1), 1e300, int64(5), int64(-5))
	f.Add(uint8(4), uint8(9), uint8(2), "ne", "", int64(1)<<62, -0.5, int64(1), int64(1))
	f.Add(uint8(1), uint8(1), uint8(3), "DROP", "true", int64(1), 0.0, int64(0), int64(9))
	ops := []state.Op{state.Eq, state.Ne, state.Lt, state.Le, state.Gt, state.Ge, state.Contains}
	f.Fuzz(func(t *testing.T, resource, field, kind uint8, op, text string, n int64, x float64, limit, offset int64) {
		name := names[int(resource)%len(names)]
		fields := append(slices.Sorted(maps.Keys(resources[name].fields)), text)
		values := []any{text, n, x, nil, n%2 == 0}
		q := state.Query{Limit: limit, Offset: offset, Order: []state.Order{{Field: fields[int(kind)%len(fields)], Desc: n < 0}}}
		for i, o := range append(ops, state.Op(op)) {
			if uint8(i)&kind != 0 {
				continue
			}
			q.Where = append(q.Where, state.Filter{Field: fields[(int(field)+i)%len(fields)], Op: o, Values: values[:(int(kind)+i)%6%len(values)]})
		}
		_, _, refused := compile(name, q)
		err := s.View(t.Context(), func(tx state.ReadTx) error {
			if _, err := tx.Count(name, q); err != nil && refused == nil {
				return err
			}
			rows, err := list(tx.(reader), name, "id", q, func(s scanner, id *int64) error { return s.Scan(id) })
			_ = rows
			return err
		})
		if (err != nil) != (refused != nil) {
			t.Errorf("%s %+v: %v, refused: %v", name, q, err, refused)
		}
	})
}

// The queries that pages and the distributor ask all the time use an index.
func TestPlans(t *testing.T) {
	s := openStore(t, filepath.Join(t.TempDir(), "s"), Options{})
	defer s.Close()
	f := func(pairs ...any) state.Query { return state.Where(pairs...) }
	newest := f("builderid", int64(1))
	newest.Order, newest.Limit = []state.Order{{Field: "number", Desc: true}}, 200
	started := state.Query{Order: []state.Order{{Field: "started_at", Desc: true}}, Limit: 40}
	tests := []struct {
		resource string
		q        state.Query
		index    string
	}{
		{"builds", f("buildid", int64(1)), "PRIMARY KEY"},
		{"builds", f("builderid", int64(1), "number", int64(2)), "builds_number"},
		{"builds", newest, "builds_number"},
		{"builds", started, "builds_started"},
		{"builds", f("complete", false), "builds_running"},
		{"builds", f("buildrequestid", int64(1)), "builds_request"},
		{"builds", f("workerid", int64(1)), "builds_worker"},
		{"buildrequests", f("complete", false), "buildrequests_open"},
		{"buildrequests", f("complete", false, "claimed", false, "builderid", int64(1)), "buildrequests_"},
		{"buildrequests", f("claimed", false), "buildrequests_unclaimed"},
		{"buildrequests", f("claimed", false, "builderid", int64(1)), "buildrequests_unclaimed"},
		{"buildrequests", f("buildsetid", int64(1)), "buildrequests_buildset"},
		{"buildsets", f("ssid", int64(1)), "buildset_sourcestamps_stamp"},
		{"buildsets", f("rebuilt_buildid", int64(1)), "buildsets_rebuilt"},
		{"changes", f("ssid", int64(1)), "changes_sourcestamp"},
		{"changes", f("repository", "r", "branch", "b"), "changes_line"},
		{"changes", state.Query{Order: []state.Order{{Field: "when_timestamp", Desc: true}}, Limit: 40}, "changes_at"},
		{"changes", state.Query{Order: []state.Order{{Field: "changeid", Desc: true}}, Limit: 40}, "SCAN changes"},
		{"steps", f("buildid", int64(1)), "steps_build"},
		{"logs", f("stepid", int64(1)), "logs_step"},
		{"logs", f("buildid", int64(1)), "logs_build"},
	}
	for _, tt := range tests {
		clause, args, err := compile(tt.resource, tt.q)
		if err != nil {
			t.Fatal(err)
		}
		err = s.View(t.Context(), func(tx state.ReadTx) error {
			rows, err := tx.(reader).c.query("EXPLAIN QUERY PLAN SELECT * FROM "+tt.resource+clause, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			var plan []string
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				plan = append(plan, detail)
			}
			if !strings.Contains(strings.Join(plan, "; "), tt.index) {
				t.Errorf("%s%s: plan %v, want %s", tt.resource, clause, plan, tt.index)
			}
			return rows.Err()
		})
		if err != nil {
			t.Error(err)
		}
	}
}
