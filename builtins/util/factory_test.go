package util

import (
	"strings"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

func texts(f *config.Factory) string {
	var out []string
	for _, s := range f.Steps {
		out = append(out, s.(*echo).Text)
	}
	return strings.Join(out, " ")
}

func TestBuildFactorySteps(t *testing.T) {
	f := value[*factory](t, `x = util.BuildFactory([steps.Echo("a"), steps.Echo("b")])`)
	equal(t, "steps", texts(&f.node), "a b")
	f = value[*factory](t, `x = util.BuildFactory()`)
	equal(t, "no steps", texts(&f.node), "")
	g, ps := eval(t, "f = util.BuildFactory(steps=(steps.Echo(\"a\"),))\nf.addStep(steps.Echo(\"b\"))\nx = [s.text for s in f.steps]")
	equal(t, "attribute", g["x"].String(), `["a", "b"]`)
	equal(t, "problems", len(ps), 0)
}

func TestBuildFactoryAddStep(t *testing.T) {
	f := value[*factory](t, "x = util.BuildFactory()\nx.addStep(steps.Echo(\"a\"))\nx.addStep(step=steps.Echo(\"b\"))")
	equal(t, "addStep", texts(&f.node), "a b")
}

func TestBuildFactoryAddSteps(t *testing.T) {
	f := value[*factory](t, "x = util.BuildFactory([steps.Echo(\"a\")])\nx.addSteps([steps.Echo(\"b\"), steps.Echo(\"c\")])\nx.addSteps(steps=[])")
	equal(t, "addSteps", texts(&f.node), "a b c")
}

func TestBuildFactoryWorkdir(t *testing.T) {
	for src, want := range map[string]string{
		`util.BuildFactory()`: "build", `util.BuildFactory(workdir="src")`: "src", `util.BuildFactory(workdir=util.Property("branch"))`: "main",
	} {
		got, err := value[*factory](t, "x = "+src).node.Workdir.Render(t.Context(), sample)
		if got != want || err != nil {
			t.Errorf("%s: %q, %v", src, got, err)
		}
	}
}

// A builder sees the steps that its factory gets later.
func TestBuildFactoryIsShared(t *testing.T) {
	g, ps := eval(t, `
f = util.BuildFactory()
a = util.BuilderConfig("a", workername="w", factory=f)
b = util.BuilderConfig("b", workername="w", factory=f)
f.addStep(steps.Echo("late"))
`)
	equal(t, "problems", len(ps), 0)
	for _, name := range []string{"a", "b"} {
		equal(t, name, texts(g[name].(*spec.Object).Value.(*config.Builder).Factory), "late")
	}
}

func TestBuildFactoryProblems(t *testing.T) {
	testProblems(t, []badCall{
		{`util.BuildFactory([1])`, "wrong-type", "steps", "want a step, got int"},
		{`util.BuildFactory([steps.Echo("a"), "b"])`, "wrong-type", "steps", "item 2: want a step, got string"},
		{`util.BuildFactory([steps.Echo])`, "wrong-type", "steps", "call it: steps.Echo(...)"},
		{`util.BuildFactory(steps.Echo("a"))`, "wrong-type", "steps", "want list"},
		{`util.BuildFactory([util.Property("a")])`, "wrong-type", "steps", "want a step, got util.Property"},
		{`util.BuildFactory().addStep("a")`, "wrong-type", "step", "want a step, got string"},
		{`util.BuildFactory().addSteps([[]])`, "wrong-type", "steps", "want a step, got list"},
		{`util.BuildFactory().withSecrets([], [])`, "not-supported", "", "not supported yet"},
		{`util.BuildFactory(workdir=3)`, "wrong-type", "workdir", "want string"},
		{`util.BuildFactory([steps.Ehco("a")])`, "unknown-name", "", "did you mean"},
		{`util.BuildFactory([]).addStep(steps.Echo())`, "missing-parameter", "text", "required"},
		{`util.GNUAutoconf("x")`, "not-supported", "", "not supported yet"},
	})
}

// What a factory holds is its content, however it got there; where it stands is
// not.
func TestBuildFactoryContent(t *testing.T) {
	hash := func(src string) config.Digest { return config.Hash(value[*factory](t, src)) }
	a := hash(`x = util.BuildFactory([steps.Echo("a")])`)
	if hash("x = util.BuildFactory()\nx.addStep(steps.Echo(\"a\"))") != a {
		t.Error("addStep makes another factory than the list")
	}
	for _, other := range []string{`x = util.BuildFactory()`, `x = util.BuildFactory([steps.Echo("b")])`, `x = util.BuildFactory([steps.Echo("a")], workdir="w")`} {
		if hash(other) == a {
			t.Errorf("%s has the content of another", other)
		}
	}
}

// A factory cannot change once its file is done.
func TestBuildFactoryFrozen(t *testing.T) {
	g, _ := eval(t, `x = util.BuildFactory()`)
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	_, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "b.star", `f.addStep(steps.Echo("a"))`,
		star.StringDict{"f": g["x"], "steps": steps.Value(env)})
	if err == nil || !strings.Contains(err.Error(), "cannot add steps to a frozen util.BuildFactory") {
		t.Errorf("got %v", err)
	}
}

func TestBuildFactoryStepsAttributeIsFrozen(t *testing.T) {
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	_, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "b.star", `util.BuildFactory().steps.append(steps.Echo("a"))`,
		star.StringDict{"util": Module.Value(env), "steps": steps.Value(env)})
	if err == nil || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("got %v", err)
	}
}

var _ prop.Renderable = (*rendered)(nil)
