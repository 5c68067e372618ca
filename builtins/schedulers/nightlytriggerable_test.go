package schedulers

import (
	"context"
	"testing"
	"time"

	"buildstar/engine/sched"
	"buildstar/state"
)

// trigger is what the only step of a build does.
func (r *rig) trigger(build int64, name, branch string, properties state.Properties) {
	r.t.Helper()
	s := r.snapshot.Scheduler(name).(sched.Triggerer)
	ask := sched.Trigger{Stamps: []map[string]*string{{"branch": &branch}}, Properties: properties, Priority: 4,
		Parent: sched.Parent{ParentBuild: build, ParentStep: 1, Relationship: "Triggered from"}}
	set, keep, err := s.Trigger(context.Background(), ask)
	if set != nil || err != nil {
		r.t.Fatalf("it builds now: %+v, %v", set, err)
	}
	r.update(keep)
}

func TestNightlyTriggerable(t *testing.T) {
	inRig(t, `schedulers.NightlyTriggerable("n", ["b"], hour=3, properties={"x": 1, "y": 1})`, func(r *rig) {
		begin(r, 3)
		r.at(3, 3, 0, "")
		r.trigger(6, "n", "old", nil)
		r.trigger(7, "n", "new", state.Properties{"y": {Value: int64(2), Source: "step"}})
		r.restart(time.Hour)
		r.pass(time.Until(time.Date(2000, 1, 4, 2, 59, 0, 0, time.Local)))
		r.expect("")
		r.pass(2 * time.Minute)
		b := r.rows()[0]
		if *b.SourceStamps[0].Branch != "new" || b.Reason != "The NightlyTriggerable scheduler named 'n' triggered this build" {
			t.Errorf("%+v", b)
		}
		if got := string(b.Properties.AppendJSON(nil)); got != `{"x":[1,"Scheduler"],"y":[2,"step"]}` {
			t.Errorf("properties %s", got)
		}
		if q := r.requests(b.ID)[0]; q.Priority != 4 || r.names[q.BuilderID] != "b" {
			t.Errorf("%+v", q)
		}
		if b.ParentBuildID != 7 || b.ParentStep != 1 || b.ParentRelationship != "Triggered from" {
			t.Errorf("parent of %+v", b)
		}
		r.trigger(7, "n", "new", nil) // replayed
		r.at(5, 3, 0, "")
	})
}

func TestNightlyTriggerableArguments(t *testing.T) {
	inRig(t, `schedulers.NightlyTriggerable("n", builderNames=["a"], minute=30, hour=[3, 4], dayOfMonth="4-9", dayOfWeek="wed", month="*",
        priority=9, reason="%(name)s at night", codebases=["", "lib"])`, func(r *rig) {
		begin(r, 3)
		r.trigger(10, "n", "main", nil)
		r.at(4, 3, 30, "n:a main@- lib=-@-")
		r.trigger(11, "n", "main", nil)
		r.pass(2 * time.Hour)
		if b := r.rows()[0]; b.Reason != "n at night" || r.requests(b.ID)[0].Priority != 9 {
			t.Errorf("%+v", b)
		}
	})
	inRig(t, `schedulers.NightlyTriggerable("n", ["a"], month="feb-dec")`, func(r *rig) {
		begin(r, 3)
		r.trigger(12, "n", "main", nil)
		r.pass(24 * time.Hour)
		r.expect("")
	})
}
