package engine

import (
	"slices"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

// What waits while the master is restarted waits on, in the order it had, and behind the build
// that goes on.
func TestQueueOutlivesMaster(t *testing.T) {
	conf := *patient([]string{"w"}, shell("work", "echo one; "+waits("go")))
	conf.Workers[0].MaxBuilds = 1
	for _, name := range []string{"low", "high", "raised"} {
		conf.Builders = append(conf.Builders, &config.Builder{
			Name: name, WorkerBuilddir: name, Workers: []string{"w"}, Factory: &config.Factory{Steps: []config.Step{shell("quick", "true")}},
		})
	}
	snap := config.New(conf)
	s := newSite(t)
	r := s.start(snap)
	o := s.outpost("w")
	o.serve(r)
	first := r.submit("b")
	r.printed("one")
	low := r.submit("low")
	high := r.submit("high", func(b *sched.Buildset) { b.Priority = 5 })
	raised := r.submit("raised")
	if err := r.SetPriority(t.Context(), raised, 9, alice); err != nil {
		t.Fatal(err)
	}
	o.part()
	r.stop()
	s.close()
	s.open()
	r = s.start(snap)
	r.explain(low, "not-connected")
	o.serve(r)
	r.connected("w")
	r.explain(low, "max-builds")
	o.touch("go")
	var order []int64
	for range 4 {
		e := r.await("the end of a build", func(e state.Event) bool {
			b, ok := e.Row.(state.Build)
			return ok && b.Complete && strings.HasSuffix(e.Key, "/finished")
		})
		order = append(order, e.Row.(state.Build).RequestID)
	}
	if want := []int64{first, raised, high, low}; !slices.Equal(order, want) {
		t.Errorf("requests ended in the order %v, want %v", order, want)
	}
}

// A build is stopped after the master was restarted and before its worker is back: it ends,
// and its command does when the worker comes.
func TestStopBeforeWorkerIsBack(t *testing.T) {
	s := newSite(t)
	snap := patient([]string{"w"}, shell("work", "echo $$ > ../pid; echo one; exec sleep 60"), shell("no", "true"),
		shell("clean", "! test -e /proc/$(cat ../pid)/exe", always))
	r := s.start(snap)
	o := s.outpost("w")
	o.serve(r)
	id := r.submit("b")
	l := r.printed("one")
	o.part()
	r.stop()
	s.close()
	s.open()
	r = s.start(snap)
	if err := r.StopBuild(t.Context(), l.BuildID, "enough", alice); err != nil {
		t.Fatal(err)
	}
	r.await("the end of the step", func(e state.Event) bool {
		s, ok := e.Row.(state.Step)
		return ok && s.Name == "work" && s.Complete
	})
	o.serve(r)
	b := r.finished(id)
	if b.Results != config.Cancelled || r.results(b) != "work=cancelled clean=success" || !strings.Contains(b.StateString, "enough") {
		t.Errorf("build: %+v; %s", b, r.results(b))
	}
	if len(r.builds(id)) != 1 {
		t.Errorf("builds: %+v", r.builds(id))
	}
}
