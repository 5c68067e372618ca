package engine

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

// forcer is a force scheduler of "b" that takes one field.
type forcer struct{ config.At }

func (forcer) Key() config.Key                     { return config.Key{Kind: config.KindScheduler, Name: "f"} }
func (forcer) Refs() iter.Seq2[string, config.Key] { return func(func(string, config.Key) bool) {} }
func (forcer) Type() string                        { return "ForceScheduler" }
func (forcer) Builders() []string                  { return []string{"b"} }
func (forcer) Form() sched.Form                    { return sched.Form{Name: "f"} }
func (forcer) Force(_ context.Context, builder string, fields map[string]any, who sched.User) (sched.Buildset, error) {
	if fields["flavour"] != "sweet" {
		return sched.Buildset{}, &sched.FieldErrors{Fields: map[string]string{"flavour": "want sweet"}}
	}
	return sched.Buildset{
		Scheduler: "f", Reason: "forced by " + who.String(), Builders: []string{"b"}, Priority: 7,
		Properties: state.Properties{"flavour": {Value: "sweet", Source: "Force Build Form"}},
	}, nil
}

func TestForceAndRebuild(t *testing.T) {
	snap := oneBuilder(ends("a", config.Success))
	snap.Schedulers = []config.Scheduler{forcer{}}
	r := newSite(t).start(config.New(*snap))
	ctx := context.Background()
	sweet := map[string]any{"flavour": "sweet"}

	_, err := r.Force(ctx, "f", 1, nil, alice)
	var fields *sched.FieldErrors
	if !errors.As(err, &fields) || fields.Fields["flavour"] == "" {
		t.Errorf("a wrong form: %v", err)
	}
	for name, call := range map[string]func() error{
		"scheduler": func() error { _, err := r.Force(ctx, "nope", 1, sweet, alice); return err },
		"builder":   func() error { _, err := r.Force(ctx, "f", 99, sweet, alice); return err },
		"build":     func() error { _, err := r.Rebuild(ctx, 99, alice); return err },
	} {
		if err := call(); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("unknown %s: %v", name, err)
		}
	}
	s, err := r.Force(ctx, "f", 0, sweet, alice)
	if err != nil {
		t.Fatal(err)
	}
	b := r.finished(s.Requests[1])
	if p := r.properties(b); p["flavour"].Value != "sweet" || p["scheduler"].Value != "f" {
		t.Errorf("properties: %v", p)
	}
	if req := r.request(s.Requests[1]); req.Priority != 7 {
		t.Errorf("request: %+v", req)
	}
	again, err := r.Rebuild(ctx, b.ID, alice)
	if err != nil {
		t.Fatal(err)
	}
	b2 := r.finished(again.Requests[1])
	if p := r.properties(b2); p["flavour"].Value != "sweet" {
		t.Errorf("properties of the rebuild: %v", p)
	}
	r.view(func(tx state.ReadTx) error {
		bs, err := state.One(tx.Buildsets(state.Where("bsid", again.BuildsetID)))
		if bs.RebuiltBuildID != b.ID || !strings.Contains(bs.Reason, "rebuild of b #1 by alice") || !bs.Complete {
			t.Errorf("buildset: %+v", bs)
		}
		return err
	})
}

// A scheduler that was turned off by hand stays off, over a restart too.
func TestEnableScheduler(t *testing.T) {
	snap := oneBuilder(ends("a", config.Success))
	snap.Schedulers = []config.Scheduler{forcer{}}
	s := newSite(t)
	r := s.start(config.New(*snap))
	ctx := context.Background()
	if err := r.EnableScheduler(ctx, 1, false, alice); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r = s.start(config.New(*snap))
	if _, err := r.Force(ctx, "f", 1, map[string]any{"flavour": "sweet"}, alice); !errors.Is(err, ErrConflict) {
		t.Errorf("force of a disabled scheduler: %v", err)
	}
	if err := r.EnableScheduler(ctx, 1, true, alice); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Force(ctx, "f", 1, map[string]any{"flavour": "sweet"}, alice); err != nil {
		t.Error(err)
	}
	if err := r.EnableScheduler(ctx, 9, true, alice); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("unknown scheduler: %v", err)
	}
}

// workdir of a LocalWorker is where its builders' directories are; the default is
// workers/NAME below basedir. workerbuilddir, or else builddir, is the builder's
// directory there.
func TestLocalWorkerWorkdir(t *testing.T) {
	away := t.TempDir()
	snap := oneBuilder(shell("pwd", "pwd > where"))
	snap.Workers[0].Workdir = away
	snap.Workers = append(snap.Workers, &config.Worker{Name: "w2", Local: true}, &config.Worker{Name: "w3", Local: true, Workdir: "rel"})
	f := snap.Builders[0].Factory
	snap.Builders = append(snap.Builders,
		&config.Builder{Name: "b2", Builddir: "dir2", Workers: []string{"w2"}, Factory: f},
		&config.Builder{Name: "b3", Builddir: "x", WorkerBuilddir: "dir3", Workers: []string{"w3"}, Factory: f})
	s := newSite(t)
	r := s.start(config.New(*snap))
	for builder, dir := range map[string]string{
		"b":  filepath.Join(away, "b", "build"),
		"b2": filepath.Join(s.dir, "workers", "w2", "dir2", "build"),
		"b3": filepath.Join(s.dir, "rel", "dir3", "build"),
	} {
		r.build(builder)
		if _, err := os.Stat(filepath.Join(dir, "where")); err != nil {
			t.Error(err)
		}
	}
}

// A local worker that ends is started again.
func TestLocalWorkerRestarts(t *testing.T) {
	r := newSite(t).start(oneBuilder(ends("a", config.Success)))
	r.build("b")
	r.fleet.session("w").Close("test")
	r.await("its return", func(e state.Event) bool { return strings.HasSuffix(e.Key, "/disconnected") })
	if b := r.build("b"); b.Results != config.Success {
		t.Errorf("%+v", b)
	}
}
