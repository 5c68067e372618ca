package schedulers

import (
	"strings"
	"testing"
	"time"

	"buildstar/state"
)

const single = `schedulers.SingleBranchScheduler("s", builderNames=["a"], branch="main"`

func TestSingleBranchScheduler(t *testing.T) {
	inRig(t, single+`)`, func(r *rig) {
		r.change("main")
		r.change("other")
		r.change("main")
		r.expect("s:a main@r1; s:a main@r3")
		for _, b := range []string{"The SingleBranchScheduler scheduler named 's' triggered this build"} {
			r.change("main")
			if set := r.rows()[0]; set.Reason != b {
				t.Errorf("reason %q", set.Reason)
			}
		}
	})
}

func TestSingleBranchSchedulerBranch(t *testing.T) {
	inRig(t, `schedulers.SingleBranchScheduler("s", builderNames=["a"], branch=None)`, func(r *rig) {
		r.change("main")
		r.add(state.Change{})
		r.expect("s:a -@r2")
	})
	inRig(t, `schedulers.SingleBranchScheduler("s", builderNames=["a"], branch=["main", "x"])`, func(r *rig) {
		r.change("main")
		r.change("y")
		r.change("x")
		r.expect("s:a main@r1; s:a x@r3")
	})
}

func TestSchedulerBuilderNames(t *testing.T) {
	inRig(t, `schedulers.SingleBranchScheduler("s", builderNames=["a", "b", "a"], branch="main")`, func(r *rig) {
		r.change("main")
		r.expect("s:a+b main@r1")
	})
	inRig(t, `schedulers.SingleBranchScheduler("s", branch="main", builderNames=util.renderer(
        lambda props: [f for f in props.files if f != "none"]))`, func(r *rig) {
		r.change("main", "b", "none")
		r.change("main", "none")
		r.change("main", "c")
		r.change("main", "a", "b")
		r.expect("s:b main@r1; s:a+b main@r4")
		if !strings.Contains(r.logged.String(), `there is no builder \"c\"`) {
			t.Error(r.logged.String())
		}
	})
}

func TestTreeStableTimer(t *testing.T) {
	inRig(t, single+`, treeStableTimer=60)`, func(r *rig) {
		r.change("main")
		r.pass(59 * time.Second)
		r.change("main")
		r.change("other")
		r.pass(59 * time.Second)
		r.expect("")
		r.pass(2 * time.Second)
		r.expect("s:a main@r2")
		r.pass(time.Hour)
		r.expect("")
		r.change("main")
		r.pass(time.Minute + time.Second)
		r.expect("s:a main@r4")
	})
}

// A timer goes on while the master is down, and is over at once if that took longer.
func TestTreeStableTimerOverRestarts(t *testing.T) {
	inRig(t, single+`, treeStableTimer=60)`, func(r *rig) {
		r.change("main")
		r.pass(30 * time.Second)
		r.restart(20 * time.Second)
		r.expect("")
		r.pass(11 * time.Second)
		r.expect("s:a main@r1")
		r.change("main")
		r.restart(time.Hour)
		r.expect("s:a main@r2")
	})
}

// A reload that changes the length of the timer counts from the same change.
func TestTreeStableTimerReload(t *testing.T) {
	longer, none := rigLoad(t, single+`, treeStableTimer=100)`), rigLoad(t, single+`)`)
	inRig(t, single+`, treeStableTimer="1m")`, func(r *rig) {
		r.change("main")
		r.pass(50 * time.Second)
		r.apply(longer)
		r.pass(49 * time.Second)
		r.expect("")
		r.pass(2 * time.Second)
		r.expect("s:a main@r1")
		r.change("main")
		r.change("main")
		r.apply(none)
		r.expect("s:a main@r3")
	})
}

// What arrived while the scheduler did not run is not lost.
func TestChangesWhileDown(t *testing.T) {
	inRig(t, single+`)`, func(r *rig) {
		r.stop()
		r.change("main")
		r.change("main")
		r.restart(time.Minute)
		r.expect("s:a main@r1; s:a main@r2")
		r.restart(time.Minute)
		r.expect("")
	})
}

// More changes than are looked at at once.
func TestManyChanges(t *testing.T) {
	inRig(t, single+`, treeStableTimer=10), `+strings.Replace(single, `"s"`, `"each"`, 1)+`)`, func(r *rig) {
		r.stop()
		r.update(func(tx state.Tx) error {
			for range 1200 {
				main := "main"
				if _, err := tx.AddChange(state.Change{Branch: &main}); err != nil {
					return err
				}
			}
			return nil
		})
		r.restart(time.Second)
		r.pass(time.Second)
		if n := len(r.rows()); n != 1200 {
			t.Errorf("%d buildsets, want one for each change", n)
		}
		r.pass(10 * time.Second)
		r.expect("s:a main@-")
	})
}

func TestFileIsImportant(t *testing.T) {
	important := `, fileIsImportant=lambda change: "doc" not in change.files`
	inRig(t, single+important+`)`, func(r *rig) {
		r.change("main", "doc")
		r.change("main", "src")
		r.expect("s:a main@r2")
	})
	inRig(t, single+important+`, treeStableTimer=60)`, func(r *rig) {
		r.change("main", "doc")
		r.pass(time.Hour)
		r.expect("")
		r.change("main", "src")
		r.pass(30 * time.Second)
		r.change("main", "doc")
		r.pass(59 * time.Second)
		r.expect("")
		r.pass(2 * time.Second)
		r.expect("s:a main@r3")
	})
	inRig(t, single+`, fileIsImportant=lambda change: change.files[0] == "x")`, func(r *rig) {
		r.change("main") // the function fails
		r.change("main", "x")
		r.expect("s:a main@r2")
		if log := r.logged.String(); !strings.Contains(log, "change=1") || !strings.Contains(log, "call fileIsImportant") {
			t.Error(log)
		}
	})
}

func TestOnlyImportant(t *testing.T) {
	inRig(t, single+`, treeStableTimer=60, onlyImportant=True, fileIsImportant=lambda change: "doc" not in change.files)`, func(r *rig) {
		r.change("main", "src")
		r.pass(30 * time.Second)
		r.change("main", "doc")
		r.pass(31 * time.Second)
		r.expect("s:a main@r1")
		r.pass(time.Hour)
		r.expect("")
	})
}

func TestChangeFilter(t *testing.T) {
	inRig(t, `schedulers.SingleBranchScheduler("s", builderNames=["a"], change_filter=util.ChangeFilter(
        branch_re="m", project_not_eq="p", filter_fn=lambda c: c.files == ["x"], property_eq={"go": ["yes", "on"]},
        category_fn=lambda category: category == None))`, func(r *rig) {
		main, master, p := "main", "master", state.Properties{"go": {Value: "on", Source: "Change"}}
		good := state.Change{Branch: &main, Files: []string{"x"}, Properties: p}
		r.add(good)
		for _, spoil := range []func(*state.Change){
			func(c *state.Change) { c.Branch = nil },
			func(c *state.Change) { c.Project = "p" },
			func(c *state.Change) { c.Files = nil },
			func(c *state.Change) { c.Properties = nil },
			func(c *state.Change) { c.Category = &main },
		} {
			c := good
			spoil(&c)
			r.add(c)
		}
		good.Branch = &master
		r.add(good)
		r.expect("s:a main@r1; s:a master@r7")
	})
}

func TestSchedulerCategories(t *testing.T) {
	inRig(t, single+`, categories=["x"])`, func(r *rig) {
		main, x := "main", "x"
		r.change("main")
		r.add(state.Change{Branch: &main, Category: &x})
		r.expect("s:a main@r2")
	})
}

func TestSchedulerProperties(t *testing.T) {
	inRig(t, single+`, reason="%(classname)s %(name)s: 100%%", properties={"plain": 1,
        "files": util.renderer(lambda props: props.files),
        "branch": util.Interpolate("%(src::branch)s of %(prop:plain)s")})`, func(r *rig) {
		r.change("main", "y", "x")
		b := r.rows()[0]
		got := string(b.Properties.AppendJSON(nil))
		if want := `{"branch":["main of 1","Scheduler"],"files":[["x","y"],"Scheduler"],"plain":[1,"Scheduler"]}`; got != want {
			t.Errorf("properties %s", got)
		}
		if b.Reason != "SingleBranchScheduler s: 100%" {
			t.Errorf("reason %q", b.Reason)
		}
	})
}

func TestSchedulerPriority(t *testing.T) {
	for text, want := range map[string]int64{
		`7`: 7,
		`lambda builders, changes: len(builders) * 10 + len(changes[""])`: 11,
	} {
		inRig(t, single+`, priority=`+text+`)`, func(r *rig) {
			r.change("main")
			if got := r.requests(r.rows()[0].ID)[0].Priority; got != want {
				t.Errorf("%s: %d, want %d", text, got, want)
			}
		})
	}
}

func TestSchedulerCodebases(t *testing.T) {
	main := "main"
	inRig(t, single+`, codebases={"lib": {"repository": "L:", "branch": "stable", "revision": "v1"}, "app": {"repository": "A:"}})`, func(r *rig) {
		r.change("main") // of no codebase of the scheduler
		r.add(state.Change{Branch: &main, Codebase: "app", Repository: "a:"})
		r.expect("s:a app=a:main@r2 lib=L:stable@v1")
	})
	inRig(t, single+`, codebases=["lib", "app"], treeStableTimer=60)`, func(r *rig) {
		r.add(state.Change{Branch: &main, Codebase: "app"})
		r.add(state.Change{Branch: &main, Codebase: "lib"})
		r.add(state.Change{Branch: &main, Codebase: "app"})
		r.pass(61 * time.Second)
		r.expect("s:a app=main@r3 lib=main@r2")
	})
}

func TestCreateAbsoluteSourceStamps(t *testing.T) {
	main := "main"
	inRig(t, single+`, codebases=["lib", "app"], createAbsoluteSourceStamps=True)`, func(r *rig) {
		r.add(state.Change{Branch: &main, Codebase: "app"})
		r.add(state.Change{Branch: &main, Codebase: "lib", Repository: "L:"})
		r.restart(time.Second)
		r.add(state.Change{Branch: &main, Codebase: "app"})
		r.expect("s:a app=main@r1 lib=-@-; s:a app=main@r1 lib=L:main@r2; s:a app=main@r3 lib=L:main@r2")
	})
}
