package schedulers

import (
	"testing"
	"time"

	"buildstar/state"
)

func TestAnyBranchScheduler(t *testing.T) {
	inRig(t, `schedulers.AnyBranchScheduler("s", builderNames=["a"])`, func(r *rig) {
		r.change("main")
		r.add(state.Change{})
		if set := r.rows()[0]; set.Reason != "The AnyBranchScheduler scheduler named 's' triggered this build" {
			t.Errorf("reason %q", set.Reason)
		}
		r.change("other")
		r.expect("s:a other@r3")
	})
}

func TestAnyBranchSchedulerBranches(t *testing.T) {
	inRig(t, `schedulers.AnyBranchScheduler("s", builderNames=["a"], branches=["main", None])`, func(r *rig) {
		r.change("main")
		r.change("other")
		r.add(state.Change{})
		r.expect("s:a main@r1; s:a -@r3")
	})
}

// Each branch has a timer of its own.
func TestAnyBranchSchedulerTimers(t *testing.T) {
	inRig(t, `schedulers.AnyBranchScheduler("s", builderNames=["a"], treeStableTimer=60)`, func(r *rig) {
		r.change("x")
		r.pass(30 * time.Second)
		r.change("y")
		r.pass(20 * time.Second)
		r.change("x")
		r.restart(time.Second)
		r.pass(40 * time.Second)
		r.expect("s:a y@r2")
		r.pass(20 * time.Second)
		r.expect("s:a x@r3")
	})
}
