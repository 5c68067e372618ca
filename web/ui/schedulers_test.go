package ui

import (
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

// The page of schedulers says what each waits for, and what went wrong (docs/ui.md 4.8).
func TestSchedulers(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	stable := func(name string) *sched.Stable {
		return &sched.Stable{Base: sched.Base{Class: "SingleBranchScheduler", Name: name}, Timer: 60e9}
	}
	f.snap = config.New(config.Snapshot{Schedulers: append(f.snap.Schedulers, stable("pushes"), stable("off"))})
	var id int64
	f.update(t, func(tx state.Tx) (err error) {
		if _, err = tx.PutScheduler(state.Scheduler{Name: "off", Active: true}); err != nil {
			return err
		}
		if id, err = tx.PutScheduler(state.Scheduler{Name: "pushes", Enabled: true, Active: true, Error: "no " + evil, ErrorAt: 5000, ActedAt: 6000}); err != nil {
			return err
		}
		c, err := tx.AddChange(state.Change{ReceivedAt: state.Now()})
		if err != nil {
			return err
		}
		return tx.AddSchedulerChanges(id, map[int64]bool{c: true})
	})
	h := f.handler(t)
	body := get(t, h, "/schedulers").Body.String()
	for _, want := range []string{"SingleBranchScheduler", "a stable tree (1 change waits), <span", "somebody who asks for a build", "no &lt;", ">disabled<", "/enable", "/disable"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q on the page", want)
		}
	}
	var m schedulersModel
	decode(t, get(t, h, "/schedulers", "Accept", "application/json"), &m)
	if len(m.Rows) != 3 {
		t.Fatalf("%+v", m)
	}
	if r := m.Rows[1]; r.ID != id || r.Until == 0 || r.ErrorAt != 5000 || r.ActedAt != 6000 {
		t.Errorf("%+v", r)
	}
	if r := m.Rows[2]; r.Waits != "" || r.Enabled {
		t.Errorf("disabled: %+v", r)
	}
}
