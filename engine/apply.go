package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/engine/secret"
	"buildstar/state"
)

// applied is a configuration in force: its snapshot and the rows that stand for
// its names. It never changes.
type applied struct {
	snapshot   *config.Snapshot
	secrets    secret.Set
	generation int64
	at         state.Time
	builders   map[string]int64
	projects   map[string]int64
	schedulers map[string]int64
	workers    map[string]state.Worker
}

// Apply puts a snapshot in force, or fails and changes nothing: all that may fail,
// new listeners and rows, is prepared first; the commit cannot fail (docs/requirements.md D1
// pain 3). Running builds keep the snapshot they started with. A worker that left
// the configuration, or whose password changed, is disconnected.
func (m *Master) Apply(ctx context.Context, s *config.Snapshot) error {
	_, err := m.put(ctx, s)
	return err
}

// put is Apply, and says what it changed.
func (m *Master) put(ctx context.Context, s *config.Snapshot) (Reloaded, error) {
	m.apply.Lock()
	defer m.apply.Unlock()
	if m.living.Err() != nil {
		return Reloaded{}, fmt.Errorf("put the configuration in force: %w: %w", ErrConflict, errClosing)
	}
	p, err := m.prepare(ctx, s)
	if err != nil {
		m.fail(err)
		return Reloaded{}, err
	}
	return m.commit(p), nil
}

// prepared is a configuration that can be put in force without failing.
type prepared struct {
	next  *applied
	doors opening
	parts changes
}

// waitApplied returns when nobody applies a configuration.
func (m *Master) waitApplied() {
	m.apply.Lock()
	defer m.apply.Unlock()
}

// prepare opens the providers of secrets and the listeners that are new and writes the rows, in one
// transaction.
func (m *Master) prepare(ctx context.Context, s *config.Snapshot) (p prepared, err error) {
	secrets, err := secret.Open(s.Master.Secrets, m.o.Basedir)
	if err != nil {
		return p, err
	}
	if p.doors, err = m.doors.prepare(s.Master.WorkerListen); err != nil {
		return p, err
	}
	if p.parts, err = m.prepareParts(ctx, s); err != nil {
		p.doors.discard()
		return p, err
	}
	p.next = &applied{snapshot: s, secrets: secrets, at: state.Now()}
	err = m.o.Store.Update(ctx, func(tx state.Tx) error { return p.next.write(tx) })
	if err != nil {
		p.parts.discard()
		p.doors.discard()
		return p, fmt.Errorf("write the configuration: %w", err)
	}
	return p, nil
}

// commit makes a prepared configuration the one in force.
func (m *Master) commit(p prepared) Reloaded {
	next := p.next
	diff := config.Compare(m.Snapshot(), next.snapshot)
	m.schedulers.stop(diff.Kept)
	last := m.current.Swap(next)
	m.mu.Lock()
	m.problems = nil
	m.mu.Unlock()
	m.locks.Configure(next.snapshot.Locks)
	m.dist.Configure(next.snapshot, next.builders)
	m.fleet.configure(last, next)
	m.instances.configure(next)
	m.locals.configure(next.snapshot)
	m.doors.commit(p.doors)
	p.parts.commit()
	m.missing.configured()
	m.schedulers.start(next)
	m.sources.configure(next.snapshot)
	done := Reloaded{Generation: next.generation, Diff: diff}
	m.log.Info("configuration in force", append([]any{"generation", next.generation,
		"builders", len(next.snapshot.Builders), "workers", len(next.snapshot.Workers)}, logged(done.Diff)...)...)
	return done
}

// write writes the rows of every name and learns their ids.
func (a *applied) write(tx state.Tx) (err error) {
	a.builders, a.projects = map[string]int64{}, map[string]int64{}
	a.schedulers, a.workers = map[string]int64{}, map[string]state.Worker{}
	active := map[string][]string{
		config.KindBuilder: nil, config.KindWorker: nil, config.KindScheduler: nil, config.KindProject: nil,
	}
	for _, p := range a.snapshot.Projects {
		active[config.KindProject] = append(active[config.KindProject], p.Name)
		a.projects[p.Name], err = tx.PutProject(state.Project{
			Name: p.Name, Slug: p.Slug, Description: p.Description, DescriptionFormat: p.DescriptionFormat, Active: true,
		})
		if err != nil {
			return err
		}
	}
	for _, b := range a.snapshot.Builders {
		active[config.KindBuilder] = append(active[config.KindBuilder], b.Name)
		a.builders[b.Name], err = tx.PutBuilder(state.Builder{
			Name: b.Name, Description: b.Description, DescriptionFormat: b.DescriptionFormat,
			ProjectID: a.projects[b.Project], Tags: b.Tags, Active: true,
		})
		if err != nil {
			return err
		}
	}
	if active[config.KindScheduler], err = a.writeSchedulers(tx); err != nil {
		return err
	}
	if active[config.KindChangeSource], err = a.writeSources(tx); err != nil {
		return err
	}
	if active[config.KindWorker], err = a.writeWorkers(tx); err != nil {
		return err
	}
	if err := tx.Retire(active); err != nil {
		return err
	}
	a.generation, err = tx.PutGeneration(generation(a.snapshot))
	return err
}

// writeSchedulers keeps what was enabled or disabled by hand, and what went wrong. A scheduler that is new
// follows what comes from now on.
func (a *applied) writeSchedulers(tx state.Tx) (names []string, err error) {
	rows, err := tx.Schedulers(state.Query{})
	if err != nil {
		return nil, err
	}
	have := make(map[string]state.Scheduler, len(rows))
	for _, r := range rows {
		have[r.Name] = r
	}
	for _, s := range a.snapshot.Schedulers {
		name := s.Key().Name
		names = append(names, name)
		row, known := have[name]
		if !known {
			row = state.Scheduler{Name: name, Enabled: true}
		}
		again := !row.Active
		row.Active = true
		if a.schedulers[name], err = tx.PutScheduler(row); err != nil {
			return nil, err
		}
		if err := sched.Join(tx, s, again); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// writeSources keeps what is known to be wrong with them.
func (a *applied) writeSources(tx state.Tx) (names []string, err error) {
	rows, err := tx.ChangeSources(state.Query{})
	if err != nil {
		return nil, err
	}
	wrong := map[string]string{}
	for _, r := range rows {
		wrong[r.Name] = r.Error
	}
	for _, c := range a.snapshot.ChangeSources {
		name := c.Key().Name
		names = append(names, name)
		if _, err := tx.PutChangeSource(state.ChangeSource{Name: name, Error: wrong[name], Active: true}); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// writeWorkers keeps what is known of the workers.
func (a *applied) writeWorkers(tx state.Tx) (names []string, err error) {
	rows, err := tx.Workers(state.Query{})
	if err != nil {
		return nil, err
	}
	have := make(map[string]state.Worker, len(rows))
	for _, r := range rows {
		have[r.Name] = r
	}
	for _, w := range a.snapshot.Workers {
		row := have[w.Name]
		row.Name, row.Active = w.Name, true
		if row.ID, err = tx.PutWorker(row, "configured"); err != nil {
			return nil, err
		}
		names, a.workers[w.Name] = append(names, w.Name), row
	}
	return names, nil
}

// generation returns the row that keeps a snapshot's inputs, so that its builds can
// be resumed with exactly this configuration.
func generation(s *config.Snapshot) state.Generation {
	g := state.Generation{CreatedAt: state.Now(), Inputs: make(map[string][]byte, len(s.Inputs)), Env: s.Env}
	h := sha256.New()
	add := func(text string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		h.Write([]byte(text))
	}
	if len(s.Inputs) > 0 {
		g.Main = s.Inputs[0].Path
		add(g.Main)
	}
	inputs := slices.SortedFunc(slices.Values(s.Inputs), func(a, b config.Input) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	for _, in := range inputs {
		g.Inputs[in.Path] = in.Data
		add(in.Path)
		sum := sha256.Sum256(in.Data)
		h.Write(sum[:])
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		add(name)
		if v := s.Env[name]; v != nil {
			add("=" + *v)
		} else {
			add("")
		}
	}
	g.Digest = h.Sum(nil)
	return g
}
