package schedulers

import (
	"strings"
	"testing"
	"time"

	"buildstar/engine/sched"
	"buildstar/state"
)

// waits checks what scheduler s waits for, and for how long.
func (r *rig) waits(want string, d time.Duration) {
	r.t.Helper()
	var w sched.Wait
	r.view(func(tx state.ReadTx) (err error) {
		w, err = r.snapshot.Scheduler("s").(sched.Waiter).Waits(tx, r.ids["s"])
		return err
	})
	left := time.Duration(0)
	if w.Until != 0 {
		left = w.Until.Time().Sub(state.Now().Time())
	}
	if w.For != want || left != d {
		r.t.Errorf("waits for %q, %v; want %q, %v", w.For, left, want, d)
	}
}

// row returns the row of scheduler s.
func (r *rig) row() (row state.Scheduler) {
	r.t.Helper()
	r.view(func(tx state.ReadTx) (err error) {
		row, err = state.One(tx.Schedulers(state.Where("name", "s")))
		return err
	})
	return row
}

// A scheduler says what it waits for (docs/ui.md 4.8).
func TestWaits(t *testing.T) {
	inRig(t, single+`, treeStableTimer=60, fileIsImportant=lambda change: "doc" not in change.files)`, func(r *rig) {
		r.waits("changes", 0)
		r.change("main", "doc")
		r.waits("an important change (1 change waits)", 0)
		r.pass(time.Hour)
		r.change("main", "src")
		r.pass(20 * time.Second)
		r.waits("a stable tree (2 changes wait)", 40*time.Second)
		if at := r.row().ActedAt; state.Now().Time().Sub(at.Time()) != 20*time.Second {
			t.Errorf("acted at %v", at)
		}
		r.pass(time.Minute)
		r.waits("changes", 0)
	})
	inRig(t, `schedulers.Periodic("s", ["a"], 60, onlyIfChanged=True)`, func(r *rig) {
		r.pass(time.Second)
		r.waits("the next time, and an important change before it", 59*time.Second)
		r.change("main")
		r.waits("the next time", 59*time.Second)
	})
	inRig(t, `schedulers.NightlyTriggerable("s", ["a"], hour=3)`, func(r *rig) {
		begin(r, 3)
		r.waits("a step that triggers it", 0)
		r.trigger(1, "s", "main", nil)
		r.waits("the next time", 3*time.Hour)
	})
	inRig(t, strings.Replace(downstream, `"d"`, `"s"`, 1), func(r *rig) {
		r.waits("builds of scheduler up", 0)
		r.change("main")
		r.waits("builds of scheduler up (buildsets that are not complete: 1)", 0)
	})
}

// What goes wrong is kept until builds are asked for again.
func TestProblem(t *testing.T) {
	inRig(t, single+`, fileIsImportant=lambda change: change.files[0] == "x")`, func(r *rig) {
		r.change("main") // the function fails
		r.pass(time.Minute)
		row := r.row()
		if !strings.Contains(row.Error, "change 1 is not followed: call fileIsImportant") || state.Now().Time().Sub(row.ErrorAt.Time()) != time.Minute {
			t.Errorf("%+v", row)
		}
		r.change("main", "y")
		if r.row() == (state.Scheduler{}) || r.row().Error == "" {
			t.Errorf("it is forgotten: %+v", r.row())
		}
		r.change("main", "x")
		if row := r.row(); row.Error != "" || row.ErrorAt != 0 {
			t.Errorf("it is kept: %+v", row)
		}
	})
	inRig(t, `schedulers.SingleBranchScheduler("s", branch="main", builderNames=util.renderer(lambda props: props.files))`, func(r *rig) {
		r.change("main", "c")
		if row := r.row(); !strings.Contains(row.Error, `there is no builder "c"`) {
			t.Errorf("%+v", row)
		}
	})
}
