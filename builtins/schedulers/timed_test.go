package schedulers

import (
	"testing"
	"time"

	"buildstar/state"
)

const hourly = `schedulers.Periodic("p", ["a"], 3600`

func TestPeriodic(t *testing.T) {
	inRig(t, hourly+`)`, func(r *rig) {
		if set := r.rows()[0]; set.Reason != "The Periodic scheduler named 'p' triggered this build" || set.SourceStamps[0].Branch != nil {
			t.Errorf("at once: %+v", set)
		}
		r.change("main")
		r.pass(59 * time.Minute)
		r.expect("")
		r.pass(time.Minute + time.Second)
		r.expect("p:a -@-")
		r.pass(2 * time.Hour)
		r.expect("p:a -@-; p:a -@-")
		r.restart(10 * time.Minute)
		r.expect("")
		r.restart(5 * time.Hour)
		r.expect("p:a -@-")
		r.pass(59 * time.Minute)
		r.expect("")
	})
}

func TestTimedReason(t *testing.T) {
	inRig(t, hourly+`, reason="%(name)s again")`, func(r *rig) {
		if set := r.rows()[0]; set.Reason != "p again" {
			t.Errorf("reason %q", set.Reason)
		}
	})
}

func TestTimedOnlyIfChanged(t *testing.T) {
	inRig(t, hourly+`, onlyIfChanged=True, fileIsImportant=lambda c: c.files != ["doc"])`, func(r *rig) {
		r.expect("p:a -@-") // the first time
		r.pass(time.Hour + time.Second)
		r.expect("")
		r.change("main", "doc")
		r.pass(time.Hour)
		r.expect("")
		r.change("x", "src")
		r.change("y", "doc")
		r.restart(time.Minute)
		r.pass(time.Hour)
		r.expect("p:a y@r3")
		r.pass(time.Hour)
		r.expect("")
	})
}

func TestTimedOnlyImportant(t *testing.T) {
	inRig(t, hourly+`, onlyIfChanged=True, onlyImportant=True, fileIsImportant=lambda c: c.files != ["doc"])`, func(r *rig) {
		r.expect("p:a -@-")
		r.change("main", "src")
		r.change("main", "doc")
		r.pass(time.Hour + time.Second)
		r.expect("p:a main@r1")
	})
}

func TestTimedChangeFilter(t *testing.T) {
	inRig(t, hourly+`, onlyIfChanged=True, change_filter=util.ChangeFilter(project="x"))`, func(r *rig) {
		r.expect("p:a -@-")
		r.change("main")
		r.pass(time.Hour + time.Second)
		r.expect("")
		r.add(state.Change{Project: "x"})
		r.pass(time.Hour + time.Second)
		r.expect("p:a -@r2")
	})
}

func TestTimedBranch(t *testing.T) {
	inRig(t, hourly+`, onlyIfChanged=True, branch="main")`, func(r *rig) {
		r.expect("p:a main@-")
		r.change("other")
		r.pass(time.Hour + time.Second)
		r.expect("")
		r.change("main")
		r.pass(time.Hour)
		r.expect("p:a main@r2")
	})
	inRig(t, hourly+`, onlyIfChanged=True, branch=None)`, func(r *rig) {
		r.expect("p:a -@-")
		r.change("other")
		r.pass(time.Hour + time.Second)
		r.expect("")
	})
}

// The newest source is that which was seen, not the default one.
func TestTimedCreateAbsoluteSourceStamps(t *testing.T) {
	inRig(t, hourly+`, createAbsoluteSourceStamps=True, codebases=["app", "lib"])`, func(r *rig) {
		r.expect("p:a app=-@- lib=-@-")
		main := "main"
		r.add(state.Change{Branch: &main, Codebase: "lib"})
		r.pass(time.Hour + time.Second)
		r.expect("p:a app=-@- lib=main@r1")
		r.restart(time.Second)
		r.pass(time.Hour + time.Second)
		r.expect("p:a app=-@- lib=main@r1")
	})
}

func TestTimedCommon(t *testing.T) {
	inRig(t, `schedulers.Periodic("p", builderNames=["b"], periodicBuildTimer="1h", priority=5, properties={"x": 1},
        codebases={"app": {"branch": "stable"}})`, func(r *rig) {
		b := r.rows()[0]
		if got := string(b.Properties.AppendJSON(nil)); got != `{"x":[1,"Scheduler"]}` {
			t.Error(got)
		}
		if q := r.requests(b.ID)[0]; q.Priority != 5 || r.names[q.BuilderID] != "b" || *b.SourceStamps[0].Branch != "stable" {
			t.Errorf("%+v %+v", b, q)
		}
	})
}

// A condition that is added counts changes from the last time on.
func TestTimedConditionAdded(t *testing.T) {
	changed := rigLoad(t, hourly+`, onlyIfChanged=True)`)
	inRig(t, hourly+`)`, func(r *rig) {
		r.expect("p:a -@-")
		r.change("main")
		r.pass(time.Hour + time.Second)
		r.expect("p:a -@-")
		r.apply(changed)
		r.pass(time.Hour)
		r.expect("p:a -@-") // the first time with the condition
		r.pass(time.Hour)
		r.expect("")
	})
}
