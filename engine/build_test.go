package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

func TestBuildSucceeds(t *testing.T) {
	r := newSite(t).start(oneBuilder(shell("hello", "echo hi there; echo bad >&2")))
	b := r.build("b")
	if b.Results != config.Success || b.StateString != "build successful" || b.Number != 1 {
		t.Errorf("build: %+v", b)
	}
	if got := r.log(b, "hello", "stdio", "o"); got != "hi there\n" {
		t.Errorf("stdout: %q", got)
	}
	if got := r.log(b, "hello", "stdio", "e"); got != "bad\n" {
		t.Errorf("stderr: %q", got)
	}
	steps := r.steps(b)
	if len(steps) != 2 || steps[0].Name != "worker_preparation" || steps[0].Results != config.Success {
		t.Errorf("steps: %+v", steps)
	}
	for _, s := range steps {
		if !s.Complete || s.StartedAt == 0 || s.CompleteAt < s.StartedAt {
			t.Errorf("step %+v", s)
		}
	}
	req := r.request(b.RequestID)
	if !req.Complete || req.Results != config.Success {
		t.Errorf("request: %+v", req)
	}
	if steps[1].StateString != "'echo hi ...'" {
		t.Errorf("state string of the step: %q", steps[1].StateString)
	}
}

func TestBuildFails(t *testing.T) {
	r := newSite(t).start(oneBuilder(shell("no", "exit 3")))
	b := r.build("b")
	if b.Results != config.Failure || b.StateString != "failed 'exit 3' (failure)" {
		t.Errorf("build: %+v", b)
	}
}

func halt(c *run.Common)   { c.HaltOnFailure = true }
func always(c *run.Common) { c.AlwaysRun = true }
func noFlunk(c *run.Common) {
	c.FlunkOnFailure = false
}
func warnOnFailure(c *run.Common)   { c.FlunkOnFailure, c.WarnOnFailure = false, true }
func warnOnWarnings(c *run.Common)  { c.WarnOnWarnings = true }
func flunkOnWarnings(c *run.Common) { c.FlunkOnWarnings = true }
func doIf(do bool) func(*run.Common) {
	return func(c *run.Common) { c.DoStepIf = prop.Of(do) }
}

// The matrix of docs/requirements.md C4: what a step's result means for the build and for the
// steps after it.
func TestStepResults(t *testing.T) {
	ok := func(name string, change ...func(*run.Common)) config.Step {
		return ends(name, config.Success, change...)
	}
	fail := func(name string, change ...func(*run.Common)) config.Step {
		return ends(name, config.Failure, change...)
	}
	warn := func(name string, change ...func(*run.Common)) config.Step {
		return ends(name, config.Warnings, change...)
	}
	tests := []struct {
		name  string
		steps []config.Step
		want  config.Result
		ran   string
	}{
		{"nothing to do", nil, config.Success, ""},
		{"a failure flunks and goes on", []config.Step{fail("a"), ok("b")}, config.Failure, "a=failure b=success"},
		{"haltOnFailure", []config.Step{fail("a", halt), ok("b"), ok("c", always), ok("d")}, config.Failure, "a=failure c=success"},
		{"flunkOnFailure off", []config.Step{fail("a", noFlunk), ok("b")}, config.Success, "a=failure b=success"},
		{"flunkOnFailure off still halts", []config.Step{fail("a", noFlunk, halt), ok("b")}, config.Success, "a=failure"},
		{"warnOnFailure", []config.Step{fail("a", warnOnFailure), ok("b")}, config.Warnings, "a=failure b=success"},
		{"warnings count for nothing", []config.Step{warn("a")}, config.Success, "a=warnings"},
		{"warnOnWarnings", []config.Step{warn("a", warnOnWarnings)}, config.Warnings, "a=warnings"},
		{"flunkOnWarnings", []config.Step{warn("a", flunkOnWarnings), ok("b")}, config.Failure, "a=warnings b=success"},
		{"the worst counts", []config.Step{fail("a"), warn("b", warnOnWarnings)}, config.Failure, "a=failure b=warnings"},
		{"an exception ends the build", []config.Step{ends("a", config.Exception), ok("b"), ok("c", always)},
			config.Exception, "a=exception c=success"},
		{"an alwaysRun step can make it worse", []config.Step{fail("a", halt), ends("b", config.Exception, always)},
			config.Exception, "a=failure b=exception"},
		{"doStepIf false", []config.Step{fail("a", doIf(false)), ok("b")}, config.Success, "a=skipped b=success"},
		{"doStepIf true", []config.Step{fail("a", doIf(true))}, config.Failure, "a=failure"},
		{"names are unique", []config.Step{ok("a"), ok("a"), ok("a")}, config.Success, "a=success a_1=success a_2=success"},
		{"cancelled is the worst", []config.Step{ends("a", config.Cancelled), fail("b", always)}, config.Cancelled, "a=cancelled b=failure"},
	}
	snap := oneBuilder()
	snap.Builders = nil
	for _, tt := range tests {
		snap.Builders = append(snap.Builders, &config.Builder{
			Name: tt.name, WorkerBuilddir: "x", Workers: []string{"w"}, Factory: &config.Factory{Steps: tt.steps},
		})
	}
	r := newSite(t).start(config.New(*snap))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := r.build(tt.name)
			if got := r.results(b); b.Results != tt.want || got != tt.ran {
				t.Errorf("got %v: %s\nwant %v: %s", b.Results, got, tt.want, tt.ran)
			}
		})
	}
}

// do makes a step of a function.
func do(name string, fn func(context.Context, *run.Running) (config.Result, error), change ...func(*run.Common)) config.Step {
	c := run.Common{Name: prop.Of(name), FlunkOnFailure: true}
	for _, f := range change {
		f(&c)
	}
	return step{c, fn}.make()
}

// An error of a step ends it as EXCEPTION and is in its log; a crash is an error.
func TestStepErrors(t *testing.T) {
	r := newSite(t).start(oneBuilder(
		do("err", func(context.Context, *run.Running) (config.Result, error) { return 0, errors.New("it broke") }),
		do("crash", func(context.Context, *run.Running) (config.Result, error) { panic("oh no") }, always),
		do("render", nil, always, func(c *run.Common) {
			if err := c.DoStepIf.Set(failing{"no such thing"}); err != nil {
				t.Fatal(err)
			}
		}),
	))
	b := r.build("b")
	if got := r.results(b); b.Results != config.Exception || got != "err=exception crash=exception render=exception" {
		t.Errorf("got %v: %s", b.Results, got)
	}
	for name, want := range map[string]string{"err": "it broke\n", "crash": "oh no", "render": "doStepIf: no such thing"} {
		if got := r.log(b, name, "err.text", "t"); !strings.Contains(got, want) {
			t.Errorf("log of %s: %q", name, got)
		}
	}
}

// failing is a renderable that fails.
type failing struct{ text string }

func (f failing) Render(context.Context, prop.Props) (any, error) { return nil, errors.New(f.text) }
func (f failing) AppendCanonical(dst []byte) []byte               { return append(dst, f.text...) }

// rendered is a renderable made of a function.
type rendered func(context.Context, prop.Props) (any, error)

func (f rendered) Render(ctx context.Context, p prop.Props) (any, error) { return f(ctx, p) }
func (f rendered) AppendCanonical(dst []byte) []byte                     { return append(dst, "rendered"...) }

func template[V any](t *testing.T, fn func(prop.Props) any) (out prop.Template[V]) {
	t.Helper()
	if err := out.Set(rendered(func(_ context.Context, p prop.Props) (any, error) { return fn(p), nil })); err != nil {
		t.Fatal(err)
	}
	return out
}

// doStepIf gets the step, hideStepIf the result and the step.
func TestStepCallbacks(t *testing.T) {
	name := func(o any) any {
		v, _ := o.(prop.Attributes).Attribute("name")
		return v
	}
	var doArgs, hideArgs []any
	c := run.Common{Name: prop.Of("a"), FlunkOnFailure: true}
	c.DoStepIf = template[bool](t, func(p prop.Props) any {
		doArgs = p.(prop.Arguments).Arguments()
		return name(doArgs[0]) == "a"
	})
	c.HideStepIf = template[bool](t, func(p prop.Props) any {
		hideArgs = p.(prop.Arguments).Arguments()
		return hideArgs[0] == int64(config.Warnings) && name(hideArgs[1]) == "a"
	})
	r := newSite(t).start(oneBuilder(
		step{c, func(context.Context, *run.Running) (config.Result, error) { return config.Warnings, nil }}.make(),
		ends("b", config.Success),
	))
	b := r.build("b")
	steps := r.steps(b)
	if !steps[1].Hidden || steps[2].Hidden {
		t.Errorf("hidden: %v %v", steps[1].Hidden, steps[2].Hidden)
	}
	if len(doArgs) != 1 || len(hideArgs) != 2 {
		t.Errorf("arguments: %v, %v", doArgs, hideArgs)
	}
	for attr, want := range map[string]any{"results": int64(config.Warnings), "number": int64(1), "flunkOnFailure": true, "workername": "w"} {
		if got, _ := hideArgs[1].(prop.Attributes).Attribute(attr); got != want {
			t.Errorf("step.%s = %v, want %v", attr, got, want)
		}
	}
}

// Texts: description, descriptionDone, descriptionSuffix, updateBuildSummaryPolicy.
func TestStepTexts(t *testing.T) {
	var during string
	texts := func(c *run.Common) {
		c.Description, c.DescriptionDone = prop.Of(run.Text("cooking")), prop.Of(run.Text("cooked"))
		c.DescriptionSuffix = prop.Of(run.Text("soup"))
	}
	r := newSite(t).start(oneBuilder(
		do("a", func(_ context.Context, s *run.Running) (config.Result, error) {
			s.Describe("default", "default done")
			s.AddURL("docs", "http://docs/")
			during = "ran"
			return config.Success, nil
		}, texts),
		ends("b", config.Success, func(c *run.Common) { c.UpdateBuildSummaryPolicy = true }),
		ends("c", config.Failure, noFlunk, func(c *run.Common) { c.UpdateBuildSummaryPolicy = false }),
		ends("d", config.Warnings, func(c *run.Common) { c.UpdateBuildSummaryPolicy = []any{int64(config.Warnings)} }),
	))
	id := r.submit("b")
	if s := r.started("a"); s.StateString != "cooking soup" {
		t.Errorf("while running: %q", s.StateString)
	}
	b := r.finished(id)
	first := r.steps(b)[1]
	if got := first.StateString; got != "cooked soup" || during == "" {
		t.Errorf("done: %q", got)
	}
	if len(first.URLs) != 1 || first.URLs[0] != (state.URL{Name: "docs", URL: "http://docs/"}) {
		t.Errorf("urls: %v", first.URLs)
	}
	if b.StateString != "build successful b d (warnings)" {
		t.Errorf("build: %q", b.StateString)
	}
}

// A line of 300,000 characters arrives whole.
func TestLongLine(t *testing.T) {
	r := newSite(t).start(oneBuilder(shell("long", "head -c 300000 /dev/zero | tr '\\0' x; echo; echo after")))
	b := r.build("b")
	if got := r.log(b, "long", "stdio", "o"); got != strings.Repeat("x", 300000)+"\nafter\n" {
		t.Errorf("%d bytes arrived", len(got))
	}
}

// The order of docs/requirements.md C3: later sources win, defaults only fill in.
func TestPropertyOrder(t *testing.T) {
	str := func(s string) prop.Template[any] { return prop.Of(any(s)) }
	var seen any
	snap := oneBuilder(do("set", func(_ context.Context, s *run.Running) (config.Result, error) {
		s.SetProperty("late", "from the step", "set")
		seen, _ = s.Property("rendered")
		return config.Success, nil
	}))
	snap.Master.Properties = map[string]any{"a": "global", "b": "global", "c": "global", "d": "global", "buildername": "x", "only": int64(1)}
	bd := snap.Builders[0]
	bd.Project = "p"
	snap.Projects = []*config.Project{{Name: "p"}}
	bd.Properties = map[string]prop.Template[any]{"c": str("builder"), "d": str("builder"), "branch": str("x"),
		"rendered": template[any](t, func(p prop.Props) any {
			b, _ := p.Property("b")
			n, _ := p.Property("buildnumber")
			return []any{b, n}
		})}
	bd.DefaultProperties = map[string]prop.Template[any]{"c": str("default"), "e": str("builder default"), "f": str("builder default")}
	w := snap.Workers[0]
	w.Properties = map[string]any{"d": "worker", "buildnumber": "x"}
	w.Machine = "big iron"
	w.DefaultProperties = map[string]any{"machine_name": "default", "d": "default", "f": "default", "g": "worker default"}
	r := newSite(t).start(config.New(*snap))
	branch := "main"
	b := r.build("b", func(s *sched.Buildset) {
		s.Properties = state.Properties{"b": {Value: "request", Source: "Force"}, "c": {Value: "request", Source: "Force"}}
		s.SourceStamps = []state.SourceStamp{{Branch: &branch, Repository: "repo", Codebase: "cb", Project: "prj"}}
	})
	got := r.properties(b)
	want := map[string]state.Property{
		"a": {Value: "global", Source: "global"}, "b": {Value: "request", Source: "Force"}, "c": {Value: "builder", Source: "Builder"},
		"d": {Value: "worker", Source: "Worker"}, "e": {Value: "builder default", Source: "Builder"},
		"f": {Value: "builder default", Source: "Builder"}, "g": {Value: "worker default", Source: "Worker"},
		"only": {Value: int64(1), Source: "global"}, "buildername": {Value: "b", Source: "Builder"},
		"builderid": {Value: b.BuilderID, Source: "Builder"}, "projectname": {Value: "p", Source: "Builder"},
		"buildnumber": {Value: int64(1), Source: "Build"}, "workername": {Value: "w", Source: "Worker"},
		"machine_name": {Value: "big iron", Source: "Worker"},
		"branch":       {Value: "main", Source: "Build"}, "repository": {Value: "repo", Source: "Build"},
		"codebase": {Value: "cb", Source: "Build"}, "project": {Value: "prj", Source: "Build"}, "revision": {Value: nil, Source: "Build"},
		"scheduler": {Value: "force", Source: "Scheduler"}, "late": {Value: "from the step", Source: "set"},
	}
	for name, p := range want {
		if !reflect.DeepEqual(got[name], p) {
			t.Errorf("%s: got %v, want %v", name, got[name], p)
		}
	}
	for _, name := range []string{"builddir", "basedir", "projectid"} {
		if got[name].Value == nil {
			t.Errorf("%s is not set", name)
		}
	}
	if l, ok := seen.([]any); !ok || l[0] != "request" || l[1] != int64(1) {
		t.Errorf("a rendered property saw %v", seen)
	}
}

// Every command that was sent is in the journal, under an id that no other command
// has, with how it ended.
func TestJournal(t *testing.T) {
	s := newSite(t)
	ids := map[string]bool{}
	for epoch := 1; epoch <= 2; epoch++ {
		r := s.start(oneBuilder(shell("a", "exit 3"), shell("b", "true")))
		b := r.build("b")
		var cmds []state.Command
		r.view(func(tx state.ReadTx) (err error) {
			cmds, err = tx.Commands(b.ID)
			return err
		})
		steps := r.steps(b)
		for i, rc := range []int64{3, 0} {
			c := cmds[i]
			if !c.Done || c.RC == nil || *c.RC != rc || c.StepID != steps[i+1].ID || c.Worker != "w" || len(c.ArgsHash) != 32 || c.Failure != "" {
				t.Errorf("command %d: %+v", i, c)
			}
			if ids[c.ID] || !strings.HasPrefix(c.ID, fmt.Sprintf("%d-%d.", epoch, b.ID)) {
				t.Errorf("id %q", c.ID)
			}
			ids[c.ID] = true
		}
		r.stop()
		s.close()
		s.open()
	}
}
