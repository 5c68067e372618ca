package schedulers

import (
	"strings"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

const downstream = `] + [[up, schedulers.Dependent("d", up, ["b"], properties={"x": 1}, priority=3)]
    for up in [schedulers.SingleBranchScheduler("up", builderNames=["a"], branch="main")]][0] + [schedulers.ForceScheduler("more", ["a"])`

func TestDependent(t *testing.T) {
	inRig(t, downstream, func(r *rig) {
		for range 4 {
			r.change("main")
		}
		r.expect("up:a main@r1; up:a main@r2; up:a main@r3; up:a main@r4")
		r.complete(1, config.Success)
		b := r.rows()[0]
		if b.Scheduler != "d" || b.Reason != "downstream" || or(b.SourceStamps[0].Revision, "") != "r1" || r.builders(b.ID)[0] != "b" {
			t.Errorf("got %+v", b)
		}
		if string(b.Properties.AppendJSON(nil)) != `{"x":[1,"Scheduler"]}` || r.requests(b.ID)[0].Priority != 3 {
			t.Errorf("got %+v", b)
		}
		r.complete(2, config.Failure)
		r.expect("")
		r.complete(4, config.Warnings)
		r.expect("d:b main@r4")
		r.restart(time.Minute)
		r.expect("")
		r.complete(3, config.Success)
		r.expect("d:b main@r3")
	})
}

// What completes while the master is down, and what it was asked for in that time, is
// not lost.
func TestDependentWhileDown(t *testing.T) {
	inRig(t, downstream, func(r *rig) {
		r.change("main")
		r.stop()
		r.complete(1, config.Success)
		r.update(func(tx state.Tx) error {
			return r.submit(tx, sched.Buildset{Scheduler: "up", Builders: []string{"a"}, SourceStamps: []state.SourceStamp{{}}})
		})
		r.complete(2, config.Success)
		r.update(func(tx state.Tx) error {
			return r.submit(tx, sched.Buildset{Scheduler: "other", Builders: []string{"a"}, SourceStamps: []state.SourceStamp{{}}})
		})
		r.complete(3, config.Success)
		r.sets()
		r.restart(time.Minute)
		r.expect("d:b main@r1; d:b -@-")
	})
}

// Somebody who rebuilds the upstream by hand rebuilds only that.
func TestDependentIgnoresRebuilds(t *testing.T) {
	inRig(t, downstream, func(r *rig) {
		r.update(func(tx state.Tx) error {
			id, err := tx.AddSourceStamp(state.SourceStamp{})
			if err == nil {
				_, _, err = tx.AddBuildset(state.Buildset{Scheduler: "up", RebuiltBuildID: 7, SourceStamps: []state.SourceStamp{{ID: id}}},
					[]state.BuildRequest{{BuilderID: r.ids["builder a"]}})
			}
			return err
		})
		r.sets()
		r.complete(1, config.Success)
		r.expect("")
	})
}

// An upstream that changes is followed by its name.
func TestDependentReload(t *testing.T) {
	same := rigLoad(t, `] + [[up, schedulers.Dependent("d", up, ["a"])]
    for up in [schedulers.AnyBranchScheduler("up", builderNames=["a", "b"])]][0] + [schedulers.ForceScheduler("more", ["a"])`)
	inRig(t, downstream, func(r *rig) {
		r.change("main")
		r.apply(same)
		r.sets()
		r.complete(1, config.Success)
		r.expect("d:a main@r1")
	})
}

func TestDependentCodebases(t *testing.T) {
	more := strings.Replace(downstream, `priority=3`, `codebases={"": {"branch": "not used"}, "tests": {"branch": "stable"}}`, 1)
	inRig(t, more, func(r *rig) {
		r.change("main")
		r.sets()
		r.complete(1, config.Success)
		r.expect("d:b main@r1 tests=stable@-")
	})
}

func TestDependentBuilderNames(t *testing.T) {
	some := strings.Replace(downstream, `["b"]`, `util.renderer(lambda props: props.files)`, 1)
	inRig(t, some, func(r *rig) {
		r.change("main", "a")
		r.sets()
		r.complete(1, config.Success)
		r.expect("d:a main@r1")
	})
}
