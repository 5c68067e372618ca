package steps

import (
	"context"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

// threeDeep is three levels: top waits for two builds of mid, each of those for one of low
// and one of more than fits on the workers, and triggers free without waiting.
const threeDeep = `
wait = lambda *names: steps.Trigger(schedulerNames = list(names), waitForFinish = True)
c["workers"] = [worker.LocalWorker("w", max_builds = 6), worker.LocalWorker("small", max_builds = 1)]
c["builders"] = [
    builder("top", wait("mids"), steps.Assert(True, name = "after"), steps.Assert(True, name = "always", alwaysRun = True), workernames = ["w"]),
    builder("mid1", steps.Trigger(schedulerNames = ["free"]), wait("lows"), workernames = ["w"]),
    builder("mid2", wait("lows"), workernames = ["w"]),
    builder("low", hold, workernames = ["small"]),
    builder("free", hold, workernames = ["w"]),
]
c["schedulers"] = [
    schedulers.ForceScheduler(name = "force", builderNames = ["top"]),
    schedulers.Triggerable(name = "mids", builderNames = ["mid1", "mid2"]),
    schedulers.Triggerable(name = "lows", builderNames = ["low"]),
    schedulers.Triggerable(name = "free", builderNames = ["free"]),
]
`

// grown waits until all of the tree is there: one build of low runs, another waits for
// its worker.
func grown(m *fullMaster) {
	m.holding("low", 1)
	m.holding("free", 1)
	m.await("the request of the second low", func(tx state.ReadTx) bool {
		return len(must(tx.BuildRequests(state.Where("claimed", false, "complete", false)))) == 1 &&
			len(must(tx.BuildRequests(state.Query{}))) == 6
	})
}

// requests returns "builder=result" of every request but those of free.
func requests(m *fullMaster) string {
	var out []string
	m.view(func(tx state.ReadTx) {
		for _, r := range must(tx.BuildRequests(state.Query{})) {
			b := must(state.One(tx.Builders(state.Where("builderid", r.BuilderID))))
			if b.Name != "free" {
				out = append(out, b.Name+"="+r.Results.String())
			}
		}
	})
	return strings.Join(out, " ")
}

// A stop at the top cancels everything below that is waited for: what runs and what
// waits for a worker. It is all over when the step is.
func TestTriggerTree(t *testing.T) {
	m := newMaster(t, threeDeep)
	id := m.submit("top")
	grown(m)
	if err := m.StopBuild(t.Context(), 1, "enough", sched.User{Name: "me"}); err != nil {
		t.Fatal(err)
	}
	top := m.finished(id)
	if got := requests(m); got != "top=cancelled mid1=cancelled mid2=cancelled low=cancelled low=cancelled" {
		t.Error(got)
	}
	if s := m.step(top, "trigger"); s.StateString != "triggered mids, 2 cancelled (cancelled)" {
		t.Errorf("%q", s.StateString)
	}
	if s := m.step(top, "always"); s.Results != config.Success {
		t.Errorf("always: %v", s.Results)
	}
	if low := m.builds("low"); len(low) != 1 || low[0].Results != config.Cancelled || !strings.Contains(low[0].StateString, ", which waited for it, was stopped") {
		t.Errorf("%+v", low)
	}
	// Nobody waits for free, so it goes on.
	if free := m.builds("free"); len(free) != 1 || free[0].Complete {
		t.Errorf("%+v", free)
	}
}

// Cancelled by hand, a build that is waited for ends its parents.
func TestTriggerChildCancelled(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["slow"], waitForFinish = True`, ""))
	id := m.submit("top")
	m.holding("slow", 1)
	if err := m.CancelRequest(t.Context(), 2, "no", sched.User{}); err != nil {
		t.Fatal(err)
	}
	if top := m.finished(id); top.Results != config.Cancelled {
		t.Errorf("%v", top.Results)
	}
}

// A shutdown queues what was triggered by nobody and cancels what was waited for: the
// builds that wait trigger it anew when they are built again.
func TestTriggerShutdown(t *testing.T) {
	m := newMaster(t, threeDeep)
	id := m.submit("top")
	grown(m)
	m.stop()
	if got := requests(m); got != "top=unfinished mid1=cancelled mid2=cancelled low=cancelled low=cancelled" {
		t.Error(got)
	}
	m.letGo()
	m.start()
	if top := m.finished(id); top.Results != config.Success || top.Number != 2 {
		t.Errorf("%+v", top)
	}
	if got := requests(m); got != "top=success mid1=cancelled mid2=cancelled low=cancelled low=cancelled mid1=success mid2=success low=success low=success" {
		t.Error(got)
	}
}

// A reload that removes the scheduler, and the builder, changes nothing for who waits
// (docs/requirements.md D1 pain 7).
func TestTriggerReload(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["slow"], waitForFinish = True`, ""))
	id := m.submit("top")
	m.holding("slow", 1)
	m.configure(`
c["builders"] = [builder("top")]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["top"])]`)
	if _, err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.letGo()
	if top := m.finished(id); top.Results != config.Success {
		t.Errorf("%v: %s", top.Results, m.log(top, "err.text"))
	}
}

// A build that began before a reload still triggers a scheduler that this removed.
func TestTriggerRemovedScheduler(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["slow"], waitForFinish = True`, `
c["builders"][0] = builder("top", hold, steps.Trigger(schedulerNames = ["good"], waitForFinish = True))`))
	id := m.submit("top")
	m.holding("top", 1)
	m.configure(`
c["builders"] = [builder("top"), builder("good")]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["top", "good"])]`)
	if _, err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.letGo()
	if top := m.finished(id); top.Results != config.Success || len(m.builds("good")) != 1 {
		t.Errorf("%v: %s", top.Results, m.log(top, "err.text"))
	}
}

// again is a step that triggers twice, as one does that is replayed.
type again struct {
	Base
	ids [][]int64
}

func (a *again) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	for range 2 {
		ids, err := r.Trigger(ctx, []run.Trigger{{Scheduler: "good"}, {Scheduler: "bad"}})
		if err != nil {
			return config.Exception, err
		}
		a.ids = append(a.ids, ids)
	}
	return config.Success, nil
}

// A step that is run again triggers nothing twice.
func TestTriggerOnce(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["good"]`, ""))
	s := &again{Base: base("Again", "again")}
	m.put = func(c *config.Snapshot) { c.Builder("top").Factory.Steps = []config.Step{s, s} }
	if _, err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if top := m.build("top"); top.Results != config.Success {
		t.Fatalf("%v: %s", top.Results, m.log(top, "err.text"))
	}
	if got, want := s.ids, [][]int64{{2, 3}, {2, 3}, {4, 5}, {4, 5}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// When the worker of a build that waits is lost, what it waits for is cancelled, and
// triggered anew with the next build.
func TestTriggerWorkerLost(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["slow"], waitForFinish = True`, `
c["builders"] = [b for b in c["builders"] if b.name not in ["top", "slow"]] + [
    builder("slow", hold, workernames = ["v"]),
    builder("top", steps.Trigger(schedulerNames = ["slow"], waitForFinish = True), workernames = ["w"]),
]`))
	id := m.submit("top")
	m.holding("slow", 1)
	text := content(t, filepath.Join(m.dir, "master.star"))
	put(t, filepath.Join(m.dir, "master.star"), []byte(strings.Replace(text, `"w", max_builds = 2`, `"w", max_builds = 2, workdir = "elsewhere"`, 1)))
	if _, err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.await("the second build of slow", func(tx state.ReadTx) bool {
		b := must(state.One(tx.Builders(state.Where("name", "slow"))))
		builds := must(tx.Builds(state.Where("builderid", b.ID)))
		return len(builds) == 2 && builds[0].Results == config.Cancelled
	})
	m.letGo()
	if top := m.finished(id); top.Results != config.Success || top.Number < 2 {
		t.Errorf("%+v", top)
	}
}

// A request that waits for the worker of a build that waits for it will wait for ever,
// and says so; others hear what that build does.
func TestTriggerExplained(t *testing.T) {
	m := newMaster(t, `
c["workers"] = [worker.LocalWorker("only", max_builds = 1)]
c["builders"] = [
    builder("top", steps.Trigger(schedulerNames = ["below"], waitForFinish = True), workernames = ["only"]),
    builder("low", workernames = ["only"]),
]
c["schedulers"] = [
    schedulers.ForceScheduler(name = "force", builderNames = ["top", "low"]), schedulers.Triggerable(name = "below", builderNames = ["low"]),
]`)
	id := m.submit("top")
	m.await("the build waits", func(tx state.ReadTx) bool {
		b := must(tx.Builds(state.Query{}))
		return len(b) == 1 && b[0].StateString == "waiting for builds it triggered"
	})
	other := m.submit("low")
	const busy = `worker "only" has 1 of at most 1 builds, the oldest is top #1, which waits for `
	for request, want := range map[int64]string{
		2:     busy + "this build; someone stops one of them, or there is room for both",
		other: busy + "builds it triggered; top #1 finishes",
	} {
		x, err := m.Explain(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range x.Reasons {
			got = append(got, r.Text+"; "+r.Unblock)
		}
		if len(got) == 0 || got[len(got)-1] != want {
			t.Errorf("request %d: %q, want %q", request, got, want)
		}
	}
	if x, err := m.Explain(t.Context(), id); err != nil || x.Summary != "build #1: waiting for builds it triggered" {
		t.Errorf("%+v, %v", x, err)
	}
}

// A step that waits and cannot keep up with the events reads the state instead.
func TestTriggerMissesEvents(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["slow"], waitForFinish = True`, ""))
	id := m.submit("top")
	m.holding("slow", 1)
	flood := make([]state.Event, 30_000)
	for i := range flood {
		flood[i].Key = "buildsets/2/buildrequests/2/update"
	}
	m.store.Publish(flood...)
	m.letGo()
	if top := m.finished(id); top.Results != config.Success {
		t.Errorf("%v: %s", top.Results, m.log(top, "err.text"))
	}
}
