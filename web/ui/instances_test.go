package ui

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"buildstar/engine"
	"buildstar/engine/instance"
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

// The page of the ledger shows what exists, what comes next and what it costs; the providers
// are asked, and stray instances stopped, by hand only, and the answer is shown.
func TestInstancesPage(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	page := func(want ...string) {
		t.Helper()
		body := get(t, h, "/instances").Body.String()
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("/instances lacks %q", w)
			}
		}
	}
	page("No instance exists")
	row := state.Instance{Worker: "fresh", Kind: "docker", State: state.InstanceStopping, Handle: "c7", Failures: 1, Failure: "the provider is down", BuildID: 3, CreatedAt: state.Now() - 5000}
	old := state.Instance{Worker: "fresh", Kind: "docker", State: state.InstanceGone, Handle: "c6", CreatedAt: 1000, GoneAt: 61_000, Failure: "it did not connect"}
	f.update(t, func(tx state.Tx) (err error) {
		for _, i := range []state.Instance{old, row} {
			if _, err = tx.AddInstance(i); err != nil {
				return err
			}
		}
		return nil
	})
	f.outlook = instance.Outlook{Text: "to stop it is tried again", Until: 1_700_000_000_000, Check: 1_700_000_100_000, Log: "pulling <image>"}
	page("cannot be stopped", "1 stop failed: the provider is down", "to stop it is tried again", "limit", "2023-11-14 22:13:20", "next look", "22:15:00",
		`href="/workers/fresh"`, `href="/b/3"`, "c7", `data-since=`, "c6", "it did not connect", "1 m 00 s")
	if body := get(t, h, "/workers/fresh").Body.String(); !strings.Contains(body, "pulling &lt;image&gt;") || !strings.Contains(body, "to stop it is tried again") {
		t.Error("the page of the worker lacks the log of the start, or what comes next")
	}
	sure := url.Values{"sure": {"yes"}}
	do := func(path string, form url.Values, asked string) {
		t.Helper()
		if res := post(t, h, path, form); res.Code != 303 || res.Header().Get("Location") != "/instances" {
			t.Errorf("%s: %d", path, res.Code)
		}
		if got := f.asked[len(f.asked)-1]; got != asked {
			t.Errorf("%s asked for %q, want %q", path, got, asked)
		}
	}
	do("/instances/plan", nil, "strays false")
	page("The ledger knows all that runs")
	f.strays = []engine.Stray{{Kind: "docker", Handle: "stray1", Worker: "fresh"}, {Kind: "script", Handle: "stray2", Unsure: true}}
	do("/instances/plan", nil, "strays false")
	page("stray1", "does not know it", "stray2", "may be one that is being started", "Stop stray instances now")
	if res := post(t, h, "/instances/reap", nil); res.Code != 400 {
		t.Errorf("stopped without being sure: %d", res.Code)
	}
	do("/instances/reap", sure, "strays true")
	page("Stray instances that were stopped")
	f.refuse = errors.New("look for stray instances: the provider is down")
	do("/instances/plan", nil, "strays false")
	page("look for stray instances: the provider is down")
}
