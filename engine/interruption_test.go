package engine

import (
	"testing"

	"buildstar/config"
	"buildstar/state"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// interruptions returns those of a build; they must be in order and over.
func (r *running) interruptions(b state.Build) []state.Interruption {
	r.t.Helper()
	var rows []state.Interruption
	r.view(func(tx state.ReadTx) (err error) {
		rows, err = tx.Interruptions(state.Where("buildid", b.ID))
		return err
	})
	at := b.StartedAt
	for _, i := range rows {
		if i.StartedAt < at || i.EndedAt < i.StartedAt || b.CompleteAt < i.EndedAt {
			r.t.Errorf("the build from %d to %d was interrupted from %d to %d", b.StartedAt, b.CompleteAt, i.StartedAt, i.EndedAt)
		}
		at = i.EndedAt
	}
	return rows
}

var noTimes = cmpopts.IgnoreFields(state.Interruption{}, "StartedAt", "EndedAt")

// A build that was out of touch says when, and how far its logs were: after a master that was
// stopped, and after a connection that was cut twice.
func TestInterruptions(t *testing.T) {
	s := newSite(t)
	snap := patient([]string{"w"}, shell("before", "echo zero"),
		shell("work", "echo one; "+waits("first")+"; echo two; "+waits("second")+"; echo three; "+waits("third")))
	r := s.start(snap)
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	first := r.printed("one")
	b := r.builds(id)[0]
	lines := func() int64 {
		n, err := s.logs.NumLines(b.ID, first.ID)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	had := lines()
	r.stop()
	o.part()
	s.close()
	s.open()
	o.touch("first")
	r = s.start(snap)
	r.await("that the master was restarted", func(e state.Event) bool {
		b, ok := e.Row.(state.Build)
		return ok && b.StateString == "master restarted, worker w still building"
	})
	o.serve(r)
	r.printed("two")
	hadThen := lines()
	for range 2 {
		o.part()
		r.await("that it is out of touch", func(e state.Event) bool {
			i, ok := e.Row.(state.Interruption)
			return ok && i.Cause == state.WorkerAway && i.EndedAt == 0
		})
		o.serve(r)
		r.await("that it is in touch", func(e state.Event) bool {
			i, ok := e.Row.(state.Interruption)
			return ok && i.Cause == state.WorkerAway && i.EndedAt != 0
		})
	}
	o.touch("second")
	o.touch("third")
	b = r.finished(id)
	if b.Results != config.Success {
		t.Errorf("build: %+v", b)
	}
	want := []state.Interruption{
		{ID: 1, BuildID: b.ID, Cause: state.MasterAway, Times: 1, Lines: map[int64]int64{first.ID: had}},
		{ID: 2, BuildID: b.ID, Cause: state.WorkerAway, Times: 2, Lines: map[int64]int64{first.ID: hadThen}},
	}
	if diff := cmp.Diff(want, r.interruptions(b), noTimes); diff != "" {
		t.Error(diff)
	}
}

// Who does not come back ends the interruption with the build.
func TestInterruptionEndsWithBuild(t *testing.T) {
	s := newSite(t)
	r := s.start(patient([]string{"w"}, shell("work", "echo one; sleep 60")))
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	l := r.printed("one")
	o.part()
	r.await("that it is out of touch", func(e state.Event) bool {
		i, ok := e.Row.(state.Interruption)
		return ok && i.EndedAt == 0
	})
	if err := r.StopBuild(t.Context(), l.BuildID, "enough", alice); err != nil {
		t.Fatal(err)
	}
	b := r.finished(id)
	if rows := r.interruptions(b); b.Results != config.Cancelled || len(rows) != 1 || rows[0].EndedAt == 0 {
		t.Errorf("build: %+v; %+v", b, rows)
	}
}
