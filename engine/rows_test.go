package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

// What the configuration says about builders and projects is in their rows.
func TestConfigurationRows(t *testing.T) {
	snap := oneBuilder(ends("a", config.Success))
	snap.Projects = []*config.Project{{Name: "p", Slug: "pp", Description: "the *project*", DescriptionFormat: "markdown"}}
	b := snap.Builders[0]
	b.Tags, b.Description, b.DescriptionFormat, b.Project = []string{"x", "y"}, "the *builder*", "markdown", "p"
	r := newSite(t).start(config.New(*snap))
	r.view(func(tx state.ReadTx) error {
		p, err := state.One(tx.Projects(state.Query{}))
		if err != nil {
			return err
		}
		if p.Name != "p" || p.Slug != "pp" || p.Description != "the *project*" || p.DescriptionFormat != "markdown" || !p.Active {
			t.Errorf("project: %+v", p)
		}
		row, err := state.One(tx.Builders(state.Query{}))
		if err != nil {
			return err
		}
		if row.Name != "b" || row.Description != "the *builder*" || row.DescriptionFormat != "markdown" || row.ProjectID != p.ID ||
			!slices.Equal(row.Tags, []string{"x", "y"}) || !row.Active {
			t.Errorf("builder: %+v", row)
		}
		return nil
	})
}

// workdir of a factory is the default of its steps.
func TestFactoryWorkdir(t *testing.T) {
	var dirs []string
	look := func(ctx context.Context, s *run.Running) (config.Result, error) {
		dir, err := s.Workdir(ctx)
		base, _ := s.Property("builddir")
		dirs = append(dirs, dir[len(base.(string)):])
		return config.Success, err
	}
	snap := oneBuilder(do("a", look), do("b", look, func(c *run.Common) { c.Workdir = prop.Of("own") }))
	r := newSite(t).start(snap)
	r.build("b")
	snap.Builders[0].Factory.Workdir = prop.Of("src")
	r.build("b")
	if want := []string{"/build", "/own", "/src", "/own"}; !slices.Equal(dirs, want) {
		t.Errorf("got %v, want %v", dirs, want)
	}
}

// A WorkerLock is one lock on each worker; maxCountForWorker makes an exception.
func TestWorkerLocks(t *testing.T) {
	lock := &config.Lock{Name: "l", PerWorker: true, MaxCount: 1, MaxCountForWorker: map[string]int{"big": 2}}
	st := newStage()
	var snap config.Snapshot
	for _, w := range []string{"big", "small"} {
		snap.Workers = append(snap.Workers, &config.Worker{Name: w, Local: true})
		for i := range 3 {
			name := fmt.Sprint(w, i)
			snap.Builders = append(snap.Builders, &config.Builder{
				Name: name, WorkerBuilddir: name, Workers: []string{w}, Locks: plainLocks(config.LockAccess{Lock: lock, Count: 1}),
				Factory: &config.Factory{Steps: []config.Step{st.step()}},
			})
		}
	}
	snap.Locks = []*config.Lock{lock}
	r := newSite(t).start(config.New(snap))
	var release []func()
	var ids []int64
	for _, b := range snap.Builders {
		release = append(release, st.hold(b.Name))
	}
	for _, b := range snap.Builders {
		ids = append(ids, r.submit(b.Name))
	}
	running := map[string]int{}
	for range 3 {
		running[(<-st.enter)[:3]]++
	}
	if running["big"] != 2 || running["sma"] != 1 {
		t.Errorf("running: %v", running)
	}
	for _, i := range []int{2, 5} {
		r.explain(ids[i], "lock")
	}
	for _, fn := range release {
		fn()
	}
	for _, id := range ids {
		r.finished(id)
	}
	if st.most > 3 {
		t.Errorf("%d ran at once", st.most)
	}
}

// BenchmarkBuild is a build of one step that runs nothing, from its submission to its
// end, one at a time and twenty at once.
func BenchmarkBuild(b *testing.B) {
	for _, builders := range []int{1, 20} {
		b.Run(fmt.Sprint(builders), func(b *testing.B) {
			var names []string
			for i := range builders {
				names = append(names, fmt.Sprint("b", i))
			}
			s := &site{t: b, dir: b.TempDir()}
			s.open()
			defer s.close()
			ctx, cancel := context.WithCancel(context.Background())
			snap := many(ends("a", config.Success), names...)
			m := New(Options{Basedir: s.dir, Store: s.store, Logs: s.logs, Logger: quietLog(),
				Load: func(context.Context) (*config.Snapshot, error) { return config.New(*snap), nil }})
			ended := make(chan error)
			go func() { ended <- m.Run(ctx) }()
			<-m.Ready()
			sub := s.store.Subscribe(ctx, "builds/*/finished")
			submit := func(name string) {
				if _, err := m.Submit(ctx, sched.Buildset{Scheduler: "f", Builders: []string{name}}); err != nil {
					b.Error(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += builders {
				for _, n := range names {
					go submit(n)
				}
				for range names {
					<-sub.C
				}
			}
			b.StopTimer()
			cancel()
			<-ended
		})
	}
}
