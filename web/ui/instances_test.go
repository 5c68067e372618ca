package ui

import (
	"strings"
	"testing"

	"buildstar/state"
)

// A latent worker shows how its instance is, what it costs, and in red what cannot be
// stopped.
func TestInstances(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	row := state.Instance{Worker: "fresh", Kind: "docker", State: state.InstanceStarting, CreatedAt: state.Now() - 5000}
	f.update(t, func(tx state.Tx) (err error) {
		row.ID, err = tx.AddInstance(row)
		return err
	})
	page := func(path string, want ...string) {
		t.Helper()
		body := get(t, h, path).Body.String()
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s lacks %q", path, w)
			}
		}
	}
	page("/workers", "starting")
	page("/workers/fresh", "starting", "Instances", `id="i-1"`)
	row.State, row.Handle, row.Failures, row.Failure = state.InstanceStopping, "container-7", 3, "the provider is down"
	f.update(t, func(tx state.Tx) error { return tx.PutInstance(row) })
	page("/workers", "cannot be stopped")
	page("/workers/fresh", "cannot be stopped", "3 stops failed: the provider is down", "container-7")
	row.State, row.GoneAt = state.InstanceGone, state.Now()
	f.update(t, func(tx state.Tx) error { return tx.PutInstance(row) })
	page("/workers/fresh", "gone")
	for _, tt := range []struct {
		row          *instanceRow
		status, word string
	}{
		{nil, "waiting", "starts when needed"},
		{&instanceRow{State: state.InstanceStopping}, "waiting", "stopping its instance"},
		{&instanceRow{State: state.InstanceUp}, "warnings", "out of touch"},
	} {
		if status, word := tt.row.word(); status != tt.status || word != tt.word {
			t.Errorf("%+v: %s, %s", tt.row, status, word)
		}
	}
}
