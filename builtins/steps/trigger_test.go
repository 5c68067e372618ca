package steps

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"buildstar/config"
	"buildstar/engine/sched"
	"buildstar/state"
)

// family is a configuration: builder "top" has a Trigger with some arguments; the
// schedulers good, bad and slow build the builders of their names.
func family(args, more string) string {
	return fmt.Sprintf(`
c["builders"] = [
    builder("top", steps.SetProperties(lambda props: props.getProperty("first", {})), steps.Trigger(%s)),
    builder("good", steps.Assert(True)), builder("bad", steps.Assert(False)), builder("slow", hold),
]
c["schedulers"] = [
    schedulers.ForceScheduler(name = "force", builderNames = ["top"]),
    schedulers.Triggerable(name = "good", builderNames = ["good"]),
    schedulers.Triggerable(name = "bad", builderNames = ["bad"]),
    schedulers.Triggerable(name = "slow", builderNames = ["slow"]),
]
%s
`, args, more)
}

func urls(s state.Step) (names []string) {
	for _, u := range s.URLs {
		names = append(names, u.Name+" "+u.URL)
	}
	return names
}

// The step ends as the worst of the builds does, and links to requests and builds.
func TestTriggerWaits(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["good", "bad"], waitForFinish = True`, ""))
	top := m.build("top")
	s := m.step(top, "trigger")
	if top.Results != config.Failure || s.Results != config.Failure || s.StateString != "triggered good, bad, 1 success, 1 failure (failure)" {
		t.Errorf("build %v, step %v, %q; %s", top.Results, s.Results, s.StateString, m.log(top, "err.text"))
	}
	const at = "http://localhost:8010/"
	want := []string{"good #2 " + at + "r/2", "bad #3 " + at + "r/3", "success: good #1 " + at + "builders/good/1", "failure: bad #1 " + at + "builders/bad/1"}
	if diff := cmp.Diff(want, urls(s)); diff != "" {
		t.Error(diff)
	}
	m.view(func(tx state.ReadTx) {
		sets := must(tx.Buildsets(state.Where("parent_buildid", top.ID)))
		if len(sets) != 2 {
			t.Fatalf("%d buildsets", len(sets))
		}
		for i, name := range []string{"good", "bad"} {
			b := sets[i]
			if b.Scheduler != name || b.ParentRelationship != "Triggered from" || b.ParentStep != s.Number || b.ParentSeq != int64(i) ||
				b.Reason != "The Triggerable scheduler named '"+name+"' triggered this build" || b.Properties["scheduler"].Value != name {
				t.Errorf("%+v", b)
			}
			if r := must(state.One(tx.BuildRequests(state.Where("buildsetid", b.ID)))); !r.WaitedFor {
				t.Errorf("%+v", r)
			}
		}
	})
}

// While it waits the build says so, and the step shows what became of the builds.
func TestTriggerShowsBuilds(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["good", "slow"], waitForFinish = True, parent_relationship = util.Interpolate("Part of %(prop:buildername)s")`, ""))
	id := m.submit("top")
	m.await("links to the builds", func(tx state.ReadTx) bool {
		b := must(tx.Builds(state.Where("buildrequestid", id)))
		if len(b) == 0 || b[0].StateString != "waiting for builds it triggered" {
			return false
		}
		s, err := state.One(tx.Steps(state.Where("buildid", b[0].ID, "name", "trigger")))
		text := strings.Join(urls(s), "\n")
		return err == nil && s.StateString == "triggered good, slow, 1 success" && strings.Contains(text, "\nslow #1 http://localhost:8010/builders/slow/1") &&
			strings.Contains(text, "\nsuccess: good #1 ")
	})
	m.view(func(tx state.ReadTx) {
		for _, b := range must(tx.Buildsets(state.Where("parent_step", 2))) {
			if b.ParentRelationship != "Part of top" {
				t.Errorf("%+v", b)
			}
		}
	})
	m.letGo()
	if b := m.finished(id); b.Results != config.Success || b.StateString != "build successful" {
		t.Errorf("%v, %q", b.Results, b.StateString)
	}
}

// Without waiting the builds go their own way.
func TestTriggerWithoutWaiting(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["slow"]`, ""))
	top := m.build("top")
	s := m.step(top, "trigger")
	if top.Results != config.Success || s.StateString != "triggered slow" || len(s.URLs) != 1 || s.URLs[0].Name != "slow #2" {
		t.Errorf("%v, %q, %v", top.Results, s.StateString, s.URLs)
	}
	m.letGo()
	if b := m.finished(2); b.Results != config.Success {
		t.Errorf("%+v", b)
	}
	m.view(func(tx state.ReadTx) {
		if r := must(state.One(tx.BuildRequests(state.Where("buildrequestid", 2)))); r.WaitedFor {
			t.Errorf("%+v", r)
		}
	})
}

// What becomes of unimportant builds does not matter.
func TestTriggerUnimportant(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["bad", "good"], unimportantSchedulerNames = util.Property("minor"), waitForFinish = True`, ""))
	minor := func(names ...any) func(*sched.Buildset) {
		return func(b *sched.Buildset) { b.Properties = state.Properties{"minor": {Value: names, Source: "t"}} }
	}
	if b := m.build("top", minor("bad")); b.Results != config.Success {
		t.Errorf("%v", b.Results)
	}
	if b := m.build("top", minor("good")); b.Results != config.Failure {
		t.Errorf("%v", b.Results)
	}
}

// The sources of the builds follow from the step's arguments, the build and the
// scheduler's codebases.
func TestTriggerSources(t *testing.T) {
	const lib = `c["schedulers"].append(schedulers.Triggerable(name = "lib", builderNames = ["good"],
		codebases = {"": {"branch": "main"}, "lib": {"repository": "/lib", "branch": "stable", "revision": "7"}}))`
	text := func(s string) *string { return &s }
	ownOf := func(revision string) []state.SourceStamp {
		return []state.SourceStamp{
			{Branch: text("b"), Revision: text(revision), Repository: "/r", Project: "p"}, {Codebase: "x", Revision: text("2")},
		}
	}
	for name, tt := range map[string]struct {
		args  string
		got   any // got_revision
		first string
		want  []string // in the order of the codebases
	}{
		"as asked for":      {"", nil, "good", []string{" b 1 /r p", "x - 2  "}},
		"as checked out":    {"", "9", "good", []string{" b 9 /r p", "x - 2  "}},
		"by codebase":       {"updateSourceStamp = True", map[string]any{"x": "8"}, "good", []string{" b 1 /r p", "x - 8  "}},
		"not updated":       {"updateSourceStamp = False", "9", "good", []string{" b 1 /r p", "x - 2  "}},
		"the newest":        {"alwaysUseLatest = True", "9", "good", []string{" - -  "}},
		"defaults":          {"alwaysUseLatest = util.Property('buildername')", "9", "lib", []string{" main -  ", "lib stable 7 /lib "}},
		"beside the build":  {"", nil, "lib", []string{" b 1 /r p", "lib stable 7 /lib ", "x - 2  "}},
		"given":             {`sourceStamps = [{"codebase": "lib", "branch": util.Property("buildername")}]`, "9", "lib", []string{" main -  ", "lib top 7 /lib "}},
		"given, no default": {`sourceStamp = {"revision": "5", "project": "q", "repository": None}`, "9", "good", []string{" - 5  q"}},
		"both":              {`sourceStamp = {"revision": "5"}, sourceStamps = [{"codebase": "lib", "revision": None}]`, nil, "lib", []string{" main 5  ", "lib stable - /lib "}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMaster(t, family(fmt.Sprintf("schedulerNames = [%q], waitForFinish = True, %s", tt.first, tt.args), lib))
			top := m.build("top", func(b *sched.Buildset) {
				b.SourceStamps = ownOf("1")
				if tt.got != nil {
					b.Properties = state.Properties{"first": {Value: map[string]any{"got_revision": tt.got}, Source: "t"}}
				}
			})
			if top.Results != config.Success {
				t.Fatalf("%v: %s", top.Results, m.log(top, "err.text"))
			}
			var got []string
			m.view(func(tx state.ReadTx) {
				for _, s := range must(state.One(tx.Buildsets(state.Where("parent_buildid", top.ID)))).SourceStamps {
					got = append(got, strings.Join([]string{s.Codebase, orDash(s.Branch), orDash(s.Revision), s.Repository, s.Project}, " "))
				}
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

// Properties that the step sets win over those of the scheduler, whose builderNames
// may depend on them.
func TestTriggerProperties(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = util.Property("which"), waitForFinish = True,
		set_properties = {"a": util.Property("who"), "names": ["good", "good"], "reason": "because", "s": 1}, copy_properties = ["who", "none"]`, `
c["schedulers"].append(schedulers.Triggerable(name = "any", builderNames = util.Property("names"), reason = "never", priority = 4,
	properties = {"s": 0, "own": util.Interpolate("%(prop:a)s!")}))
c["schedulers"].append(schedulers.Triggerable(name = "same", builderNames = ["good"], reason = "never"))`))
	top := m.build("top", func(b *sched.Buildset) {
		b.Priority = 9
		b.Properties = state.Properties{"which": {Value: []any{"any", "same"}, Source: "t"}, "who": {Value: "me", Source: "t"}}
	})
	if top.Results != config.Success {
		t.Fatalf("%v: %s", top.Results, m.log(top, "err.text"))
	}
	m.view(func(tx state.ReadTx) {
		sets := must(tx.Buildsets(state.Where("parent_buildid", top.ID)))
		want := state.Properties{
			"a": {Value: "me", Source: "Trigger"}, "names": {Value: []any{"good", "good"}, Source: "Trigger"}, "reason": {Value: "because", Source: "Trigger"},
			"s": {Value: int64(1), Source: "Trigger"}, "who": {Value: "me", Source: "Trigger"}, "none": {Source: "Trigger"},
			"own": {Value: "me!", Source: "Scheduler"}, "scheduler": {Value: "any", Source: "Scheduler"},
		}
		if diff := cmp.Diff(want, sets[0].Properties); diff != "" {
			t.Error(diff)
		}
		if sets[0].Reason != "because" {
			t.Errorf("reason %q", sets[0].Reason)
		}
		// The priority of the build that triggers is the default.
		for i, want := range []int64{4, 9} {
			if rows := must(tx.BuildRequests(state.Where("buildsetid", sets[i].ID))); len(rows) != 1 || rows[0].Priority != want {
				t.Errorf("%+v, want one of priority %d", rows, want)
			}
		}
	})
}

// A scheduler whose builderNames render to none has nothing to wait for.
func TestTriggerNoBuilders(t *testing.T) {
	m := newMaster(t, family(`schedulerNames = ["none"], waitForFinish = True`,
		`c["schedulers"].append(schedulers.Triggerable(name = "none", builderNames = lambda props: [], reason = "r"))`))
	if b := m.build("top"); b.Results != config.Success {
		t.Errorf("%v: %s", b.Results, m.log(b, "err.text"))
	}
	m.view(func(tx state.ReadTx) {
		if set := must(state.One(tx.Buildsets(state.Where("parent_step", 2)))); !set.Complete || set.Reason != "r" {
			t.Errorf("%+v", set)
		}
	})
}

// If one scheduler cannot be triggered none is, and the step says why.
func TestTriggerFails(t *testing.T) {
	const more = `
c["schedulers"].append(schedulers.Triggerable(name = "sick", builderNames = lambda props: ["good"] + 1))
c["schedulers"].append(schedulers.Triggerable(name = "lost", builderNames = lambda props: ["gone"]))
c["schedulers"].append(schedulers.Triggerable(name = "off", builderNames = ["good"]))`
	m := newMaster(t, family(`schedulerNames = lambda props: props["which"], sourceStamps = lambda props: props["stamps"], waitForFinish = True`, more))
	m.view(func(tx state.ReadTx) {
		off := must(state.One(tx.Schedulers(state.Where("name", "off"))))
		if err := m.EnableScheduler(t.Context(), off.ID, false, sched.User{}); err != nil {
			t.Fatal(err)
		}
	})
	for _, tt := range []struct {
		which  []any
		stamps any
		want   string
	}{
		{[]any{"good", "nobody"}, nil, `trigger scheduler "nobody": it is not configured: not found`},
		{[]any{"good", "force"}, nil, `trigger scheduler "force": it is a ForceScheduler, which steps cannot trigger`},
		{[]any{"good", "off"}, nil, `trigger scheduler "off": not possible now: it is disabled`},
		{[]any{"good", "sick"}, nil, `trigger scheduler "sick": render builderNames:`},
		{[]any{"good", "lost"}, nil, `trigger scheduler "lost": builder "gone": not found`},
		{[]any{}, nil, `render schedulerNames: no scheduler is named`},
		{[]any{"good"}, []any{map[string]any{"codebase": "a"}, map[string]any{"codebase": "a"}}, `sourceStamps: the codebase "a" stands there twice`},
	} {
		b := m.build("top", func(b *sched.Buildset) {
			b.Properties = state.Properties{"which": {Value: tt.which, Source: "t"}, "stamps": {Value: []any{}, Source: "t"}}
			if tt.stamps != nil {
				b.Properties["stamps"] = state.Property{Value: tt.stamps, Source: "t"}
			}
		})
		if got := m.log(b, "err.text"); b.Results != config.Exception || !strings.Contains(got, tt.want) {
			t.Errorf("%v, %q, without %q", b.Results, got, tt.want)
		}
	}
	if n := len(m.builds("good")); n != 0 {
		t.Errorf("%d builds of good", n)
	}
}
