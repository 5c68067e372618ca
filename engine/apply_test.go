package engine

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/state"
)

func TestLogin(t *testing.T) {
	snap := remote([]string{"w"}, ends("a", config.Success))
	snap.Workers = append(snap.Workers, &config.Worker{Name: "here", Local: true})
	r := newSite(t).start(config.New(*snap))
	tests := []struct {
		name, password string
		want           error
	}{
		{"w", "pw", nil}, {"w", "no", conn.ErrBadPassword}, {"w", "", conn.ErrBadPassword},
		{"x", "pw", conn.ErrUnknownWorker}, {"here", "", conn.ErrUnknownWorker},
	}
	for _, tt := range tests {
		if err := r.Login(tt.name, tt.password); !errors.Is(err, tt.want) {
			t.Errorf("Login(%q, %q) = %v, want %v", tt.name, tt.password, err, tt.want)
		}
	}
}

// A reload disconnects workers that left or have another password, and nobody else;
// builders that left are retired, and come back with their history.
func TestApply(t *testing.T) {
	step := ends("a", config.Success)
	first := remote([]string{"keeps", "leaves", "changes"}, step)
	r := newSite(t).start(first)
	for _, w := range []string{"keeps", "leaves", "changes"} {
		r.attach(w)
	}
	r.build("b")
	kept, left, changed := r.fleet.session("keeps"), r.fleet.session("leaves"), r.fleet.session("changes")

	next := remote([]string{"keeps", "changes"}, step)
	next.Workers[1].Password = "other"
	next.Builders[0].Name = "b2"
	if err := r.Apply(context.Background(), config.New(*next)); err != nil {
		t.Fatal(err)
	}
	<-left.Done()
	<-changed.Done()
	if r.fleet.session("keeps") != kept || kept.Err() != nil {
		t.Error("the worker that stayed was disconnected")
	}
	if b := r.build("b2"); b.Number != 1 {
		t.Errorf("first build of the new builder: %+v", b)
	}
	active := func() (names []string) {
		r.view(func(tx state.ReadTx) error {
			rows, err := tx.Builders(state.Where("active", true))
			for _, b := range rows {
				names = append(names, b.Name)
			}
			return err
		})
		return names
	}
	if got := active(); len(got) != 1 || got[0] != "b2" {
		t.Errorf("active builders: %v", got)
	}
	if err := r.Apply(context.Background(), first); err != nil {
		t.Fatal(err)
	}
	if b := r.build("b"); b.Number != 2 {
		t.Errorf("build of the builder that came back: %+v", b)
	}
}

// A configuration that cannot be put in force changes nothing.
func TestApplyFails(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	snap := oneBuilder(ends("a", config.Success))
	snap.Master.WorkerListen = []config.Listen{{Host: "127.0.0.1", Pos: prop.Pos{File: "master.star", Line: 3, Col: 1}}}
	r := newSite(t).start(snap)
	before := r.Snapshot()
	next := *snap
	next.Master.WorkerListen = []config.Listen{{Host: "127.0.0.1", Port: busy.Addr().(*net.TCPAddr).Port, Pos: prop.Pos{File: "master.star", Line: 3, Col: 1}}}
	err = r.Apply(context.Background(), config.New(next))
	if err == nil || !strings.Contains(err.Error(), "master.star:3:1") {
		t.Fatalf("Apply: %v", err)
	}
	if r.Snapshot() != before || len(r.WorkerAddrs()) != 1 {
		t.Error("the failed configuration had an effect")
	}
	if h := r.Health(); len(h.ConfigProblems) != 1 || h.Generation != 1 {
		t.Errorf("health: %+v", h)
	}
	if b := r.build("b"); b.Results != config.Success {
		t.Errorf("%+v", b)
	}
	if err := r.Apply(context.Background(), snap); err != nil || r.Health().ConfigProblems != nil {
		t.Errorf("Apply of a good one: %v, %v", err, r.Health().ConfigProblems)
	}
}

// The worker's row says who is connected, never with its environment.
func TestWorkerRows(t *testing.T) {
	r := newSite(t).start(remote([]string{"w"}, ends("a", config.Success)))
	t.Setenv("SECRET_OF_THE_WORKER", "do not store")
	_, leave := r.attach("w")
	row := func() (w state.Worker) {
		r.view(func(tx state.ReadTx) (err error) {
			w, err = state.One(tx.Workers(state.Where("name", "w")))
			return err
		})
		return w
	}
	w := row()
	if facts := w.Info.Map(); !w.Connected || w.ChangedAt == 0 || facts["version"] == nil || facts["environ"] != nil {
		t.Errorf("connected: %+v", w)
	}
	leave()
	r.await("the disconnection", func(e state.Event) bool { return strings.HasSuffix(e.Key, "/disconnected") })
	if w := row(); w.Connected {
		t.Errorf("disconnected: %+v", w)
	}
}

// Equal inputs are one generation.
func TestGenerations(t *testing.T) {
	snap := oneBuilder(ends("a", config.Success))
	snap.Inputs = []config.Input{{Path: "master.star", Data: []byte("c = {}")}}
	s := newSite(t)
	r := s.start(config.New(*snap))
	b := r.build("b")
	if b.Generation != 1 {
		t.Errorf("generation %d", b.Generation)
	}
	if err := r.Apply(context.Background(), config.New(*snap)); err != nil {
		t.Fatal(err)
	}
	if got := r.Health().Generation; got != 1 {
		t.Errorf("generation %d after the same inputs", got)
	}
	snap.Inputs = []config.Input{{Path: "master.star", Data: []byte("c = {1: 2}")}}
	if err := r.Apply(context.Background(), config.New(*snap)); err != nil {
		t.Fatal(err)
	}
	if got := r.Health().Generation; got != 2 {
		t.Errorf("generation %d after other inputs", got)
	}
}
