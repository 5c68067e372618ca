package util

import (
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
)

// builder evaluates a BuilderConfig with these arguments besides name, worker and
// factory.
func builder(t *testing.T, args string) *config.Builder {
	t.Helper()
	return value[*config.Builder](t, `
lock = util.MasterLock("db", maxCount=3)
x = util.BuilderConfig(name="linux", workernames=["w"], factory=util.BuildFactory([steps.Echo("a")])`+args+`)`)
}

func render[T any](t *testing.T, tp prop.Template[T]) T {
	t.Helper()
	v, err := tp.Render(t.Context(), sample)
	if err != nil {
		t.Error(err)
	}
	return v
}

func TestBuilderConfigName(t *testing.T) {
	b := builder(t, "")
	equal(t, "name", b.Name, "linux")
	equal(t, "key", b.Key(), config.Key{Kind: config.KindBuilder, Name: "linux"})
	equal(t, "line", b.Pos().Line, 3)
}

func TestBuilderConfigFactory(t *testing.T) {
	equal(t, "factory", texts(builder(t, "").Factory), "a")
}

func TestBuilderConfigWorkernames(t *testing.T) {
	const before, after = `x = util.BuilderConfig("b", factory=util.BuildFactory(), `, `)`
	for args, want := range map[string][]string{
		`workername="a"`:                               {"a"},
		`workernames=["a", "b"]`:                       {"a", "b"},
		`workernames=("a", "b")`:                       {"a", "b"},
		`workernames="a"`:                              {"a"},
		`workername=["a", "b"]`:                        {"a", "b"},
		`workername="c", workernames=["a", "c"]`:       {"a", "c"},
		`workername=None, workernames=["a", "b", "a"]`: {"a", "b"},
	} {
		equal(t, args, value[*config.Builder](t, before+args+after).Workers, want)
	}
}

// The first arguments may be given by position, in the order of Buildbot.
func TestBuilderConfigPositional(t *testing.T) {
	b := value[*config.Builder](t, `x = util.BuilderConfig("a", "w", ["v"], "b", "c", util.BuildFactory([steps.Echo("e")]), ["t"])`)
	equal(t, "all", []any{b.Name, b.Workers, b.Builddir, b.WorkerBuilddir, texts(b.Factory), b.Tags},
		[]any{"a", []string{"v", "w"}, "b", "c", "e", []string{"t"}})
}

func TestBuilderConfigBuilddir(t *testing.T) {
	const before = `x = util.BuilderConfig(workername="w", factory=util.BuildFactory(), `
	for args, want := range map[string][2]string{
		`name="linux"`:               {"linux", "linux"},
		`name="Linux x64 (gcc/9.1)"`: {"Linux_x64__gcc_9_1_", "Linux_x64__gcc_9_1_"},
		`name="../größe"`:            {"___größe", "___größe"},
		`name="a", builddir="b"`:     {"b", "b"},
	} {
		b := value[*config.Builder](t, before+args+")")
		equal(t, args, [2]string{b.Builddir, b.WorkerBuilddir}, want)
	}
}

func TestBuilderConfigWorkerbuilddir(t *testing.T) {
	b := builder(t, `, builddir="b", workerbuilddir="c"`)
	equal(t, "directories", [2]string{b.Builddir, b.WorkerBuilddir}, [2]string{"b", "c"})
}

func TestBuilderConfigTags(t *testing.T) {
	equal(t, "tags", builder(t, `, tags=["fast", "gcc"]`).Tags, []string{"fast", "gcc"})
}

func TestBuilderConfigDescription(t *testing.T) {
	b := builder(t, `, description="*x*", description_format="markdown"`)
	equal(t, "description", b.Description, "*x*")
}

func TestBuilderConfigDescriptionFormat(t *testing.T) {
	equal(t, "markdown", builder(t, `, description_format="markdown"`).DescriptionFormat, "markdown")
	equal(t, "None", builder(t, `, description_format=None`).DescriptionFormat, "")
}

func TestBuilderConfigProject(t *testing.T) {
	b := builder(t, `, project="p"`)
	equal(t, "project", b.Project, "p")
	refs := map[config.Key]string{}
	for param, key := range b.Refs() {
		refs[key] = param
	}
	equal(t, "refs", refs, map[config.Key]string{{Kind: config.KindWorker, Name: "w"}: "workernames", {Kind: config.KindProject, Name: "p"}: "project"})
}

func TestBuilderConfigCollapseRequests(t *testing.T) {
	equal(t, "default", builder(t, "").CollapseRequests, (*bool)(nil))
	equal(t, "True", *builder(t, ", collapseRequests=True").CollapseRequests, true)
	equal(t, "False", *builder(t, ", collapseRequests=False").CollapseRequests, false)
}

func TestBuilderConfigLocks(t *testing.T) {
	locks := render(t, builder(t, `, locks=[lock.access("counting", count=2), lock.access("exclusive")]`).Locks)
	if len(locks) != 2 || locks[0].Lock.Name != "db" || locks[0].Count != 2 || locks[0].Exclusive || !locks[1].Exclusive {
		t.Errorf("got %+v", locks)
	}
	if config.Hash(builder(t, "")) == config.Hash(builder(t, `, locks=[lock.access("counting")]`)) {
		t.Error("locks make no other builder")
	}
}

func TestBuilderConfigEnv(t *testing.T) {
	b := builder(t, `, env={"A": "1", "B": util.Property("branch"), "C": ["x", util.Interpolate("%(prop:jobs)s")], "D": None}`)
	equal(t, "A", render(t, b.Env["A"]), any("1"))
	equal(t, "B", render(t, b.Env["B"]), any("main"))
	equal(t, "C", render(t, b.Env["C"]), any([]any{"x", "4"}))
	equal(t, "D", render(t, b.Env["D"]), any(nil))
	equal(t, "D is set", b.Env["D"].IsSet(), true)
}

func TestBuilderConfigProperties(t *testing.T) {
	b := builder(t, `, properties={"a": [1, True], "b": util.Property("branch")}`)
	equal(t, "a", render(t, b.Properties["a"]), any([]any{int64(1), true}))
	equal(t, "b", render(t, b.Properties["b"]), any("main"))
}

func TestBuilderConfigDefaultProperties(t *testing.T) {
	equal(t, "a", render(t, builder(t, `, defaultProperties={"a": 1.5}`).DefaultProperties["a"]), any(1.5))
}

func TestBuilderConfigProblems(t *testing.T) {
	call := func(args string) string { return `util.BuilderConfig(` + args + `)` }
	with := func(args string) string {
		return call(`"linux", workernames=["w"], factory=util.BuildFactory(), ` + args)
	}
	testProblems(t, []badCall{
		{call(`"", workername="w", factory=util.BuildFactory()`), "bad-name", "name", "empty"},
		{call(`"_x", workername="w", factory=util.BuildFactory()`), "bad-name", "name", `begins with "_"`},
		{call(`"a", factory=util.BuildFactory()`), "missing-parameter", "workernames", "at least one worker"},
		{call(`"a", workernames=[], factory=util.BuildFactory()`), "missing-parameter", "workernames", "at least one worker"},
		{call(`"a", workernames=3, factory=util.BuildFactory()`), "wrong-type", "workernames", "want string or list of strings, got int 3"},
		{call(`"a", workernames=["a", 3], factory=util.BuildFactory()`), "wrong-type", "workernames", "item 2: want string, got int 3"},
		{call(`"a", workername="w"`), "missing-parameter", "factory", "required"},
		{call(`"a", workername="w", factory=[]`), "wrong-type", "factory", "want a factory, got list"},
		{call(`"a", workername="w", factory=util.BuildFactory`), "wrong-type", "factory", "call it"},
		{with(`tags=["a", "b", "a"]`), "bad-value", "tags", `"a" stands there twice`},
		{with(`tags="a"`), "wrong-type", "tags", "want list of strings"},
		{with(`description_format="html"`), "bad-value", "description_format", "markdown"},
		{with(`collapseRequests=lambda m, b, r1, r2: True`), "not-supported", "collapseRequests", "not supported yet"},
		{with(`collapseRequests="yes"`), "wrong-type", "collapseRequests", "want bool"},
		{with(`locks=[util.MasterLock("a")]`), "wrong-type", "locks", `the lock "a" itself`},
		{with(`locks=["a"]`), "wrong-type", "locks", "want a lock access"},
		{with(`env=["A=1"]`), "wrong-type", "env", "want dict"},
		{with(`nextWorker=lambda b, w, r: w[0]`), "not-supported", "nextWorker", "not supported yet"},
		{with(`nextBuild=lambda b, r: r[0]`), "not-supported", "nextBuild", "not supported yet"},
		{with(`canStartBuild=lambda b, w, r: True`), "not-supported", "canStartBuild", "not supported yet"},
		{with(`do_build_if=lambda b: True`), "not-supported", "do_build_if", "not supported yet"},
		{with(`slavenames=["a"]`), "old-name", "slavenames", "Buildbot 0.8"},
		{with(`category="a"`), "not-supported", "category", "tags"},
		{with(`tag=["a"]`), "unknown-parameter", "tag", `did you mean "tags"?`},
	})
}

func TestProject(t *testing.T) {
	p := value[*config.Project](t, `x = util.Project("p", slug="s", description="d", description_format="markdown")`)
	equal(t, "name", p.Key(), config.Key{Kind: config.KindProject, Name: "p"})
	equal(t, "others", []string{p.Slug, p.Description, p.DescriptionFormat}, []string{"s", "d", "markdown"})
	equal(t, "default slug", value[*config.Project](t, `x = util.Project(name="p")`).Slug, "p")
	testProblems(t, []badCall{
		{`util.Project("")`, "bad-name", "name", "empty"},
		{`util.Project("p", description_format="rst")`, "bad-value", "description_format", "markdown"},
	})
}
