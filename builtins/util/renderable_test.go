package util

import (
	"bytes"
	"testing"

	"buildstar/config/prop"
)

func TestInterpolateFmtstring(t *testing.T) {
	for src, want := range map[string]string{
		`util.Interpolate("%(prop:branch)s-%(src::branch)s-%(worker:os_id)s")`: "main-dev-debian",
		`util.Interpolate(fmtstring="100%%")`:                                  "100%",
		`util.Interpolate("%(prop:gone:-none)s")`:                              "none",
	} {
		equal(t, src, renderedValue(t, "x = "+src), want)
	}
}

func TestInterpolateArgs(t *testing.T) {
	equal(t, "args", renderedValue(t, `x = util.Interpolate("%s/%03d", util.Property("branch"), 7)`), "main/007")
	equal(t, "function", renderedValue(t, `x = util.Interpolate("%s", lambda props: props.getProperty("branch") + "!")`), "main!")
}

func TestInterpolateKwargs(t *testing.T) {
	equal(t, "kwargs", renderedValue(t, `x = util.Interpolate("%(kw:a)s %(kw:b)s", a=1, b=util.Property("branch"))`), "1 main")
}

func TestInterpolateProblems(t *testing.T) {
	testProblems(t, []badCall{
		{`util.Interpolate("%(branch)s")`, "bad-interpolation", "fmtstring", `at character 3: "branch" has no selector`},
		{`util.Interpolate("%s %(kw:a)s", 1, a=2)`, "bad-interpolation", "fmtstring", "not both"},
		{`util.Interpolate(3)`, "wrong-type", "fmtstring", "want string, got int 3"},
		{`util.Interpolate()`, "missing-parameter", "fmtstring", "required"},
	})
}

func TestPropertyKey(t *testing.T) {
	equal(t, "name", renderedValue(t, `x = util.Property("branch")`), "main")
	equal(t, "missing", renderedValue(t, `x = util.Property(key="gone")`), nil)
	testProblems(t, []badCall{{`util.Property("")`, "bad-name", "key", "empty"}})
}

func TestPropertyDefault(t *testing.T) {
	equal(t, "plain", renderedValue(t, `x = util.Property("gone", "d")`), "d")
	equal(t, "renderable", renderedValue(t, `x = util.Property("gone", default=util.Interpolate("%(prop:branch)s!"))`), "main!")
	equal(t, "list", renderedValue(t, `x = util.Property("gone", default=[1, util.Property("branch")])`), []any{int64(1), "main"})
}

func TestPropertyDefaultWhenFalse(t *testing.T) {
	equal(t, "default", renderedValue(t, `x = util.Property("zero", "d")`), "d")
	equal(t, "False", renderedValue(t, `x = util.Property("zero", "d", defaultWhenFalse=False)`), int64(0))
}

func TestTransformFunction(t *testing.T) {
	equal(t, "function", renderedValue(t, "def f(): return \"called\"\nx = util.Transform(f)"), "called")
	equal(t, "what it returns renders", renderedValue(t, `x = util.Transform(lambda: util.Property("branch"))`), "main")
	testProblems(t, []badCall{{`util.Transform("f")`, "wrong-type", "function", "want function"}})
}

func TestTransformArgs(t *testing.T) {
	equal(t, "args", renderedValue(t, `x = util.Transform(lambda a, b: a.upper() + b, util.Property("branch"), "-x")`), "MAIN-x")
}

func TestTransformKwargs(t *testing.T) {
	equal(t, "kwargs", renderedValue(t, `x = util.Transform(lambda a, b: a * b, b=2, a=util.Property("branch"))`), "mainmain")
}

func TestRendererFn(t *testing.T) {
	const f = "def f(props): return \"<%s>\" % props.getProperty(\"branch\")\n"
	equal(t, "renderer", renderedValue(t, f+`x = util.renderer(f)`), "<main>")
	testProblems(t, []badCall{{`util.renderer(util.Property("a"))`, "wrong-type", "fn", "want function"}})
}

func TestRendererWithArgs(t *testing.T) {
	const f = "def f(props, *args, **kw): return [props.getProperty(\"branch\"), list(args), kw]\n"
	equal(t, "withArgs", renderedValue(t, f+`x = util.renderer(f).withArgs(util.Property("jobs"), k=util.Property("branch"))`),
		[]any{"main", []any{int64(4)}, map[string]any{"k": "main"}})
	equal(t, "withArgs twice", renderedValue(t, f+`x = util.renderer(f).withArgs(1, a=1, b=1).withArgs(2, b=2, c=2)`),
		[]any{"main", []any{int64(1), int64(2)}, map[string]any{"a": int64(1), "b": int64(2), "c": int64(2)}})
	// One renderer can be given different arguments.
	equal(t, "withArgs changes nothing", renderedValue(t, f+"r = util.renderer(f)\nr.withArgs(1)\nx = r"), []any{"main", []any{}, map[string]any{}})
	testProblems(t, []badCall{{f + `(util.renderer(f) + "x").withArgs(1)`, "wrong-type", "", "only util.renderer(f) has arguments"}})
}

func TestFlattenListNestedlist(t *testing.T) {
	equal(t, "literal", renderedValue(t, `x = util.FlattenList(["x", [util.Property("branch"), ["y"]]])`), []any{"x", "main", "y"})
	equal(t, "renderable", renderedValue(t, `x = util.FlattenList(nestedlist=util.Property("list"))`), []any{"a", "b"})
	equal(t, "+", renderedValue(t, `x = util.FlattenList(["x"]) + [["y"]]`), []any{"x", "y"})
	equal(t, "+ from the right", renderedValue(t, `x = [["y"]] + util.FlattenList(["x"])`), []any{"y", "x"})
	testProblems(t, []badCall{{`util.FlattenList([], types=[])`, "not-supported", "types", "not supported yet"}})
}

func TestURLForBuild(t *testing.T) {
	equal(t, "alone", renderedValue(t, `x = util.URLForBuild`), "http://ci/1")
	equal(t, "in a string", renderedValue(t, `x = util.Interpolate("see %(kw:u)s", u=util.URLForBuild)`), "see http://ci/1")
}

func TestOperators(t *testing.T) {
	for src, want := range map[string]any{
		`util.Property("jobs") + 1`:                                                 int64(5),
		`1 + util.Property("jobs")`:                                                 int64(5),
		`util.Property("jobs") - 1`:                                                 int64(3),
		`10 - util.Property("jobs")`:                                                int64(6),
		`util.Property("jobs") * 2`:                                                 int64(8),
		`util.Property("jobs") / 8`:                                                 0.5,
		`util.Property("jobs") // 3`:                                                int64(1),
		`util.Property("jobs") % 3`:                                                 int64(1),
		`util.Property("branch") + "-x"`:                                            "main-x",
		`"x-" + util.Interpolate("%(prop:branch)s") + "-y"`:                         "x-main-y",
		`util.Property("list") + ["c"]`:                                             []any{"a", []any{"b"}, "c"},
		`util.Property("jobs") * (util.Property("jobs") - 1)`:                       int64(12),
		`util.Property("branch").eq("main")`:                                        true,
		`util.Property("branch").ne("main")`:                                        false,
		`util.Property("jobs").lt(5)`:                                               true,
		`util.Property("jobs").le(4)`:                                               true,
		`util.Property("jobs").gt(other=4)`:                                         false,
		`util.Property("jobs").ge(util.Property("zero", defaultWhenFalse = False))`: true,
		`util.Property("branch").in_(["main", "dev"])`:                              true,
		`util.Interpolate("%(prop:branch)s").eq("main")`:                            true,
		`(util.Property("jobs") + 1).eq(5)`:                                         true,
		`util.Transform(lambda: 3).gt(2)`:                                           true,
		`util.renderer(lambda p: "a").in_("abc")`:                                   true,
		`util.URLForBuild + "/x"`:                                                   "http://ci/1/x",
	} {
		equal(t, src, renderedValue(t, "x = "+src), want)
	}
}

// What hashes decides whether a reload restarts a thing: every argument counts,
// and nothing else.
func TestRenderablesCanonical(t *testing.T) {
	enc := func(src string) []byte { return value[prop.Renderable](t, src).AppendCanonical(nil) }
	if a, b := enc(`x = util.Interpolate("%(kw:a)s", a=1)`), enc("\n\nx = util.Interpolate(a=1, fmtstring=\"%(kw:a)s\")"); !bytes.Equal(a, b) {
		t.Error("the place or the order of arguments counts")
	}
	seen := map[string]string{}
	for _, src := range []string{
		`x = util.Property("a")`, `x = util.Property("a", "b")`, `x = util.Property("a", "b", False)`,
		`x = util.Interpolate("%s", 1)`, `x = util.Interpolate("%s", 2)`, `x = util.Interpolate("%(kw:a)s", a=2)`,
		`x = util.Transform(lambda: 1)`, `x = util.Transform(lambda a: 1, 1)`, `x = util.Transform(lambda a: 1, a=1)`,
		`x = util.renderer(lambda p: 1)`, `x = util.renderer(lambda p, a: 1).withArgs(1)`, `x = util.FlattenList([1])`, `x = util.URLForBuild`,
		`x = util.Property("a") + 1`, `x = util.Property("a").eq(1)`,
	} {
		e := string(enc(src))
		if other, ok := seen[e]; ok {
			t.Errorf("%s and %s have one encoding", src, other)
		}
		seen[e] = src
	}
}
