package ui

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"buildstar/config"
	"buildstar/state"
)

// directory remembers the builders and workers, of which there may be ten
// thousand, so that no page reads them all. It is read anew when the
// configuration or one of them changed.
type directory struct {
	mu             sync.RWMutex
	snap           *config.Snapshot
	bver, wver     uint64
	loaded         bool
	builders       []state.Builder // the active ones, by name
	workers        []state.Worker  // the active ones, by name
	builderByID    map[int64]state.Builder
	builderByName  map[string]state.Builder
	workerByID     map[int64]state.Worker
	workerByName   map[string]state.Worker
	workerTroubles int
}

// load reads what is older than the versions given, which were asked for before tx
// began.
func (d *directory) load(tx state.ReadTx, snap *config.Snapshot, bver, wver uint64) error {
	d.mu.RLock()
	builders, workers := d.stale(snap, bver, wver)
	d.mu.RUnlock()
	if !builders && !workers {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// Another request may have read newer rows while this one waited.
	builders, workers = d.stale(snap, bver, wver)
	if builders {
		rows, err := tx.Builders(state.Query{})
		if err != nil {
			return err
		}
		d.setBuilders(rows)
	}
	if workers {
		rows, err := tx.Workers(state.Query{})
		if err != nil {
			return err
		}
		d.setWorkers(rows)
	}
	d.loaded, d.snap, d.bver, d.wver = true, snap, max(d.bver, bver), max(d.wver, wver)
	return nil
}

func (d *directory) stale(snap *config.Snapshot, bver, wver uint64) (builders, workers bool) {
	fresh := d.loaded && d.snap == snap
	return !fresh || d.bver < bver, !fresh || d.wver < wver
}

func (d *directory) setBuilders(rows []state.Builder) {
	d.builders, d.builderByID, d.builderByName = nil, make(map[int64]state.Builder, len(rows)), make(map[string]state.Builder, len(rows))
	for _, b := range rows {
		d.builderByID[b.ID], d.builderByName[b.Name] = b, b
		if b.Active {
			d.builders = append(d.builders, b)
		}
	}
	slices.SortFunc(d.builders, func(a, b state.Builder) int { return cmp.Compare(a.Name, b.Name) })
}

func (d *directory) setWorkers(rows []state.Worker) {
	d.workers, d.workerByID, d.workerByName = nil, make(map[int64]state.Worker, len(rows)), make(map[string]state.Worker, len(rows))
	d.workerTroubles = 0
	for _, w := range rows {
		d.workerByID[w.ID], d.workerByName[w.Name] = w, w
		if w.Active {
			d.workers = append(d.workers, w)
			if !w.Connected || closed(w) {
				d.workerTroubles++
			}
		}
	}
	slices.SortFunc(d.workers, func(a, b state.Worker) int { return cmp.Compare(a.Name, b.Name) })
}

func (d *directory) workerCounts() (all, troubled int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.workers), d.workerTroubles
}

// activeBuilders returns the configured builders by name. The slice is shared and
// not to be changed.
func (d *directory) activeBuilders() []state.Builder {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.builders
}

// activeWorkers is the same for workers.
func (d *directory) activeWorkers() []state.Worker {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.workers
}

func (d *directory) builder(id int64) state.Builder {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.builderByID[id]
}

func (d *directory) worker(id int64) state.Worker {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.workerByID[id]
}

// builderNamed returns a builder, configured now or once, or a missing error with
// names that are close.
func (d *directory) builderNamed(name string) (state.Builder, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if b, ok := d.builderByName[name]; ok {
		return b, nil
	}
	m := missing{what: "There is no builder " + quoted(name) + "."}
	for _, n := range nearest(name, d.builders, func(b state.Builder) string { return b.Name }) {
		m.near = append(m.near, link{n, builderURL(n)})
	}
	return state.Builder{}, m
}

// workerNamed is the same for workers.
func (d *directory) workerNamed(name string) (state.Worker, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if w, ok := d.workerByName[name]; ok {
		return w, nil
	}
	m := missing{what: "There is no worker " + quoted(name) + "."}
	for _, n := range nearest(name, d.workers, func(w state.Worker) string { return w.Name }) {
		m.near = append(m.near, link{n, workerURL(n)})
	}
	return state.Worker{}, m
}

func quoted(s string) string {
	if len(s) > 80 {
		s = s[:80] + "…"
	}
	return "“" + strings.ToValidUTF8(s, "�") + "”"
}

// nearest returns at most five names that a reader may have meant.
func nearest[T any](name string, rows []T, of func(T) string) []string {
	type candidate struct {
		name string
		far  int
	}
	name = strings.ToLower(name)
	if len(name) > 80 {
		return nil
	}
	var found []candidate
	for _, row := range rows {
		n := of(row)
		low := strings.ToLower(n)
		far := distance(name, low)
		if len(name) > 1 && (strings.Contains(low, name) || strings.Contains(name, low)) {
			far = min(far, 2)
		}
		if far <= max(2, len(name)/3) {
			found = append(found, candidate{n, far})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(a.far, b.far) })
	var names []string
	for _, c := range found[:min(5, len(found))] {
		names = append(names, c.name)
	}
	return names
}

// distance counts the letters to insert, remove or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
