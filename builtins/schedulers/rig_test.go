package schedulers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
	"buildstar/state/sqlite"
)

// rig runs the schedulers of a configuration on a store, in a synctest bubble.
type rig struct {
	t      *testing.T
	store  *sqlite.Store
	dir    string
	logged strings.Builder

	snapshot *config.Snapshot
	ids      map[string]int64
	names    map[int64]string
	stop     func()
	seen     int64
}

const rigConfig = `
c = {
    "workers": [worker.LocalWorker("w")],
    "builders": [util.BuilderConfig(n, workernames=["w"], factory=util.BuildFactory()) for n in ["a", "b"]],
    "schedulers": [schedulers.ForceScheduler("force", ["a", "b"]), %s],
}
`

// inRig runs a test in a bubble with the schedulers of a text.
func inRig(t *testing.T, text string, test func(*rig)) {
	t.Helper()
	snapshot := rigLoad(t, text)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: dir}
		r.open()
		r.apply(snapshot)
		test(r)
		r.close()
	})
}

func rigLoad(t *testing.T, text string) *config.Snapshot {
	t.Helper()
	snapshot, err := load(t, fmt.Sprintf(rigConfig, text))
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	r.store, err = sqlite.Open(context.Background(), filepath.Join(r.dir, "state.sqlite"), sqlite.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.t.Fatal(err)
	}
}

// close stops the schedulers, and the store.
func (r *rig) close() {
	r.stop()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

// restart is a master that is down for a while.
func (r *rig) restart(down time.Duration) {
	r.t.Helper()
	r.close()
	time.Sleep(down)
	r.open()
	r.apply(r.snapshot)
}

// apply puts a configuration in force, as the engine does.
func (r *rig) apply(s *config.Snapshot) {
	r.t.Helper()
	if r.stop != nil {
		r.stop()
	}
	r.snapshot, r.ids, r.names = s, map[string]int64{}, map[int64]string{}
	r.update(func(tx state.Tx) error {
		for _, b := range s.Builders {
			id, err := tx.PutBuilder(state.Builder{Name: b.Name, Active: true})
			if err != nil {
				return err
			}
			r.ids["builder "+b.Name], r.names[id] = id, b.Name
		}
		for _, c := range s.Schedulers {
			name := c.Key().Name
			id, err := tx.PutScheduler(state.Scheduler{Name: name, Enabled: true, Active: true})
			if err == nil {
				err = sched.Join(tx, c, false)
			}
			if err != nil {
				return err
			}
			r.ids[name] = id
		}
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	var ended []chan struct{}
	for _, c := range s.Schedulers {
		runner, ok := c.(sched.Runner)
		if !ok {
			continue
		}
		done := make(chan struct{})
		ended = append(ended, done)
		go func() {
			defer close(done)
			if err := runner.Run(ctx, r.host(runner)); !errors.Is(err, context.Canceled) {
				r.t.Errorf("%v ended: %v", runner.Key(), err)
			}
		}()
	}
	r.stop = func() {
		cancel()
		for _, done := range ended {
			<-done
		}
	}
	synctest.Wait()
}

func (r *rig) host(c config.Scheduler) sched.Host {
	return sched.Host{
		ID: r.ids[c.Key().Name], Store: r.store, Log: slog.New(slog.NewTextHandler(&r.logged, nil)),
		Submit: r.submit, Builders: func() []string { return []string{"a", "b"} },
	}
}

func (r *rig) submit(tx state.Tx, b sched.Buildset) error {
	set := state.Buildset{Scheduler: b.Scheduler, Reason: b.Reason, Properties: b.Properties, SourceStamps: slices.Clone(b.SourceStamps), SubmittedAt: state.Now(),
		ParentBuildID: b.ParentBuild, ParentStep: b.ParentStep, ParentSeq: b.ParentSeq, ParentRelationship: b.Relationship}
	for i := range set.SourceStamps {
		id, err := tx.AddSourceStamp(set.SourceStamps[i])
		if err != nil {
			return err
		}
		set.SourceStamps[i].ID = id
	}
	var requests []state.BuildRequest
	for _, name := range b.Builders {
		requests = append(requests, state.BuildRequest{BuilderID: r.ids["builder "+name], Priority: b.Priority})
	}
	_, _, err := tx.AddBuildset(set, requests)
	return err
}

func (r *rig) update(fn func(state.Tx) error) {
	r.t.Helper()
	if err := r.store.Update(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// change adds a change and waits for what it does: files on a branch.
func (r *rig) change(branch string, files ...string) int64 {
	r.t.Helper()
	return r.add(state.Change{Author: "me", Branch: &branch, Files: files})
}

// add gives the change its id as the revision.
func (r *rig) add(c state.Change) (id int64) {
	r.t.Helper()
	r.update(func(tx state.Tx) (err error) {
		all, err := tx.Count("changes", state.Query{})
		if err != nil {
			return err
		}
		revision := fmt.Sprint("r", all+1)
		c.Revision = &revision
		id, err = tx.AddChange(c)
		return err
	})
	synctest.Wait()
	return id
}

// sets returns the buildsets since the last call: scheduler, builders, and branch and
// revision of each stamp.
func (r *rig) sets() string {
	r.t.Helper()
	var out []string
	for _, b := range r.rows() {
		text := b.Scheduler + ":" + strings.Join(r.builders(b.ID), "+")
		for _, s := range b.SourceStamps {
			text += " "
			if s.Codebase != "" {
				text += s.Codebase + "="
			}
			text += s.Repository + or(s.Branch, "-") + "@" + or(s.Revision, "-")
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func or(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

// rows returns the buildsets since the last call.
func (r *rig) rows() (sets []state.Buildset) {
	r.t.Helper()
	synctest.Wait()
	r.view(func(tx state.ReadTx) (err error) {
		sets, err = tx.Buildsets(state.Query{Where: []state.Filter{{Field: "bsid", Op: state.Gt, Values: []any{r.seen}}}})
		return err
	})
	for _, b := range sets {
		r.seen = b.ID
	}
	return sets
}

func (r *rig) requests(bsid int64) (rows []state.BuildRequest) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) (err error) {
		rows, err = tx.BuildRequests(state.Where("buildsetid", bsid))
		return err
	})
	return rows
}

func (r *rig) builders(bsid int64) (names []string) {
	for _, q := range r.requests(bsid) {
		names = append(names, r.names[q.BuilderID])
	}
	return names
}

func (r *rig) view(fn func(state.ReadTx) error) {
	r.t.Helper()
	if err := r.store.View(context.Background(), fn); err != nil {
		r.t.Fatal(err)
	}
}

// expect compares what sets returns.
func (r *rig) expect(want string) {
	r.t.Helper()
	if got := r.sets(); got != want {
		r.t.Errorf("got %q, want %q\nlog: %s", got, want, r.logged.String())
	}
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// complete ends the buildset with this id.
func (r *rig) complete(bsid int64, result config.Result) {
	r.t.Helper()
	for _, q := range r.requests(bsid) {
		r.update(func(tx state.Tx) error { return tx.CompleteRequest(q.ID, result, state.Now()) })
	}
	synctest.Wait()
}
