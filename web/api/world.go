package api

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"buildstar/config"
	"buildstar/state"
)

// topology is what rows need that the store does not have: who may build what,
// now. It is derived from the snapshot and the ids of its names, and never changes.
type topology struct {
	snap     *config.Snapshot
	at       [2]uint64 // versions of builders and masters it was made from
	master   state.Master
	builders map[string]int64   // ids of the builders, by name
	workers  map[string]int64   // ids of the workers, by name
	byWorker map[string][]int64 // ids of the builders that may use a worker, sorted
}

// world is what the rows of one answer are written with.
type world struct {
	*topology
	logs       state.LogStore
	properties []string                   // names to show; "*" is all; nil: none were asked for
	ofSets     map[int64]state.Properties // properties of buildsets, for their requests
}

// topology returns the current topology. It must not be called within a View.
func (a *API) topology(ctx context.Context) (*topology, error) {
	snap := a.control.Snapshot()
	at := [2]uint64{a.store.Version("builders"), a.store.Version("masters")}
	if t := a.topo.Load(); t != nil && t.snap == snap && t.at == at {
		return t, nil
	}
	t := &topology{snap: snap, at: at, builders: map[string]int64{}, workers: map[string]int64{}, byWorker: map[string][]int64{}}
	err := a.store.View(ctx, func(tx state.ReadTx) error {
		found, err := tx.Masters(state.Query{Limit: 1})
		if err != nil {
			return err
		}
		if len(found) > 0 {
			t.master = found[0]
		}
		rows, err := tx.Builders(state.Query{})
		for i := range rows {
			t.builders[rows[i].Name] = rows[i].ID
		}
		if err != nil {
			return err
		}
		known, err := tx.Workers(state.Query{})
		for i := range known {
			t.workers[known[i].Name] = known[i].ID
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	complete := true // rows of new names may still be being written
	for _, w := range snap.Workers {
		complete = complete && t.workers[w.Name] != 0
	}
	for _, b := range snap.Builders {
		id, ok := t.builders[b.Name]
		if !ok {
			complete = false
			continue
		}
		for _, w := range b.Workers {
			t.byWorker[w] = append(t.byWorker[w], id)
		}
	}
	for w, ids := range t.byWorker {
		slices.Sort(ids)
		t.byWorker[w] = slices.Compact(ids)
	}
	if complete {
		a.topo.Store(t)
	}
	return t, nil
}

func (a *API) world(t *topology, q query) *world {
	return &world{topology: t, logs: a.control.Logs(), properties: q.properties}
}

// pickProperties returns those of the properties that the answer shows.
func (w *world) pickProperties(p state.Properties) state.Properties {
	if len(w.properties) == 0 || len(p) == 0 {
		return nil
	}
	if slices.Contains(w.properties, "*") {
		return p
	}
	out := make(state.Properties, len(w.properties))
	for _, name := range w.properties {
		if v, ok := p[name]; ok {
			out[name] = v
		}
	}
	return out
}

// countLines sets how many lines a log that is still being written has.
func (w *world) countLines(l *state.Log) error {
	if l.Complete || l.Type == "d" {
		return nil
	}
	n, err := w.logs.NumLines(l.BuildID, l.ID)
	if err != nil {
		return err
	}
	l.NumLines = max(n, l.NumLines)
	return nil
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

func sortedNames(p state.Properties) []string { return slices.Sorted(maps.Keys(p)) }
