package coverage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

// long is a builder whose builds run until there is a file beside master.star, and then
// tell with which configuration they began.
const long = `util.BuilderConfig(name = "long", workernames = ["spare"], factory = util.BuildFactory([
    steps.ShellCommand(command = "while [ ! -e '" + basedir + "/go' ]; do sleep 0.1; done"),
    steps.SetProperty("made", "old"),
]))`

// running is a build of this builder that runs during reloads.
type running struct {
	m      *master
	before state.Build
	worker state.Worker
}

// begin starts the build and returns when it runs its command.
func (m *master) begin(t *testing.T) *running {
	t.Helper()
	r := &running{m: m}
	request := m.force(t)
	m.await(t, "steps/*/*", func(tx state.ReadTx) (bool, error) {
		builds, err := tx.Builds(state.Where("buildrequestid", request))
		if err != nil || len(builds) == 0 {
			return false, err
		}
		steps, err := tx.Steps(state.Where("buildid", builds[0].ID, "name", "shell"))
		if err != nil || len(steps) == 0 {
			return false, err
		}
		r.before = builds[0]
		r.worker, err = state.One(tx.Workers(state.Where("workerid", builds[0].WorkerID)))
		return err == nil, err
	})
	return r
}

// goesOn checks that a reload did not touch it.
func (r *running) goesOn(t *testing.T) {
	t.Helper()
	r.m.view(t, func(tx state.ReadTx) error {
		b, err := state.One(tx.Builds(state.Where("buildid", r.before.ID)))
		if err != nil {
			return err
		}
		if b.Complete || b.Generation != r.before.Generation {
			t.Errorf("the build that ran: %+v", b)
		}
		w, err := state.One(tx.Workers(state.Where("workerid", r.before.WorkerID)))
		if !w.Connected || w.ChangedAt != r.worker.ChangedAt {
			t.Errorf("its worker connected anew: %+v", w)
		}
		return err
	})
}

// endsAsItBegan lets it end, and the next build too: each with its configuration.
func (r *running) endsAsItBegan(t *testing.T) {
	t.Helper()
	r.m.reload(t, strings.Replace(configure(nil), `"made", "old"`, `"made", "new"`, 1))
	r.goesOn(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(r.m.file), "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.m.ends(t, r.before.RequestID, "old")
	r.m.ends(t, r.m.force(t), "new")
}

// ends waits for the build of a request and checks its property.
func (m *master) ends(t *testing.T, request int64, made string) {
	t.Helper()
	m.await(t, "builds/*/finished", func(tx state.ReadTx) (bool, error) {
		builds, err := tx.Builds(state.Query{Where: state.Where("buildrequestid", request, "complete", true).Where, Properties: true})
		if err != nil || len(builds) == 0 {
			return false, err
		}
		if b := builds[0]; b.Results != config.Success || b.Properties["made"].Value != made {
			t.Errorf("want made=%s: %+v", made, b)
		}
		return true, nil
	})
}

// force asks for a build and returns its request.
func (m *master) force(t *testing.T) (request int64) {
	t.Helper()
	var id int64
	m.view(t, func(tx state.ReadTx) error {
		b, err := state.One(tx.Builders(state.Where("name", "long")))
		id = b.ID
		return err
	})
	out, err := m.Force(t.Context(), "all", id, nil, sched.User{})
	if err != nil {
		t.Fatal(err)
	}
	return out.Requests[id]
}

func (m *master) view(t *testing.T, fn func(state.ReadTx) error) {
	t.Helper()
	if err := m.Store().View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// await returns once ok holds, which events that match p may have changed.
func (m *master) await(t *testing.T, p state.Pattern, ok func(state.ReadTx) (bool, error)) {
	t.Helper()
	events := m.Store().Subscribe(t.Context(), p)
	late := time.After(2 * time.Minute)
	for {
		done := false
		m.view(t, func(tx state.ReadTx) (err error) {
			done, err = ok(tx)
			return err
		})
		if done {
			return
		}
		select {
		case _, open := <-events.C:
			if !open {
				t.Fatal(events.Err())
			}
		case <-late:
			t.Fatalf("nothing more of %s happens", p)
		}
	}
}
