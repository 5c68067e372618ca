package steps

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"buildstar/config"
	"buildstar/state"
)

// ignoring is a repository that ignores *.o, and the rig.
func ignoring(t *testing.T) (*rig, origin) {
	o := newOrigin(t, filepath.Join(t.TempDir(), "origin"))
	o.commit(".gitignore", "*.o\n")
	return newRig(t), o
}

func TestGitIncremental(t *testing.T) {
	r, o := ignoring(t)
	r.run(o.step("")).got(o.head())
	put(t, r.build("left.o"), nil)
	put(t, r.build("left"), nil)
	put(t, r.build("a"), []byte("dirty"))
	next := o.commit("b", "two")
	r.run(o.step("")).got(next)
	if got := content(t, r.build("a")) + content(t, r.build("b")) + content(t, r.build("left.o")) + content(t, r.build("left")); got != "onetwo" {
		t.Errorf("what was changed or left: %q", got)
	}
}

// What each method of mode full leaves.
func TestGitFull(t *testing.T) {
	for args, want := range map[string]string{
		`mode="full"`:                   ".gitignore a b",
		`mode="full", method="fresh"`:   ".gitignore a b",
		`mode="full", method="clean"`:   ".gitignore a b left.o",
		`mode="full", method="clobber"`: ".gitignore a b",
		`mode="full", method="copy"`:    ".gitignore a b",
	} {
		t.Run(args, func(t *testing.T) {
			r, o := ignoring(t)
			r.run(o.step(args)).got(o.head())
			put(t, r.build(".git", "mark"), nil)
			put(t, r.build("left.o"), nil)
			put(t, r.build("left"), nil)
			put(t, r.build("other", ".git", "HEAD"), []byte("ref: refs/heads/main\n")) // another clone
			put(t, r.build("a"), []byte("dirty"))
			next := o.commit("b", "two")
			r.run(o.step(args)).got(next)
			anew := strings.Contains(args, "clobber") || strings.Contains(args, "copy")
			if content(t, r.build(".git", "mark")) == "(none)" != anew {
				t.Errorf("cloned anew: %t", !anew)
			}
			if err := os.RemoveAll(r.build(".git")); err != nil {
				t.Fatal(err)
			}
			if got := listing(t, r.build()); got != want {
				t.Errorf("it holds %s", got)
			}
		})
	}
}

// With method copy, builds see a copy of a clone that is updated.
func TestGitCopy(t *testing.T) {
	r, o := ignoring(t)
	r.run(o.step(`mode="full", method="copy"`)).got(o.head())
	r.ran()
	next := o.commit("b", "two")
	r.run(o.step(`mode="full", method="copy"`)).got(next)
	for _, c := range r.ran() {
		if strings.Contains(c, "clone") {
			t.Errorf("it cloned: %s", c)
		}
	}
	if content(t, r.builddir("source", "b")) != "two" {
		t.Error("there is no source")
	}
}

func TestGitBranch(t *testing.T) {
	r, o := ignoring(t)
	main := o.head()
	o.git("checkout", "--quiet", "-b", "feature/x")
	feature := o.commit("f", "feature")
	o.git("tag", "v1")
	o.git("checkout", "--quiet", "main")
	o.git("update-ref", "refs/pull/7/head", feature)
	r.run(o.step(`branch="feature/x"`)).got(feature)
	if got := (origin{t, r.build()}).git("rev-parse", "--abbrev-ref", "HEAD"); got != "feature/x" {
		t.Errorf("the branch is %s", got)
	}
	r.run(o.step(``)).got(main)
	if content(t, r.build("f")) != "(none)" {
		t.Error("a file of the other branch is still there")
	}
	r.at("feature/x", "").run(o.step(`branch="main"`)).got(feature) // the build's wins
	r.at("v1", "").run(o.step(`mode="full", method="clobber"`)).got(feature)
	for _, mode := range []string{`mode="full", method="clobber"`, `mode="incremental"`} {
		r.at("refs/pull/7/head", "").run(o.step(mode)).got(feature)
		r.at("", "").run(o.step(mode)).got(main)
	}
}

// A branch that was pushed with force.
func TestGitForcedPush(t *testing.T) {
	r, o := ignoring(t)
	was := o.commit("b", "two")
	r.run(o.step("")).got(was)
	o.git("reset", "--quiet", "--hard", "HEAD~1")
	is := o.commit("c", "three")
	r.run(o.step("")).got(is)
	if content(t, r.build("b")) != "(none)" {
		t.Error("a file of the old commit is still there")
	}
}

func TestGitNoSuchBranch(t *testing.T) {
	r, o := ignoring(t)
	o.git("branch", "deep/gone") // its name ends like the one that is asked for
	o.git("branch", "was")
	r.at("gone", "").run(o.step("")).fails("no branch gone")
	r.at("refs/pull/1/head", "").run(o.step("")).fails("no branch refs/pull/1/head")
	r.at("was", "").run(o.step("")).got(o.head())
	o.git("branch", "-D", "was")
	r.at("was", "").run(o.step("")).fails("no branch was")
	r.at("main", "").run(o.step("")).got(o.head())
	if err := os.Rename(o.dir, o.dir+".away"); err != nil {
		t.Fatal(err)
	}
	r.at("main", "").run(o.step("")).fails("git fetch failed")
	r.at("main", "").run(o.step(`mode="full", method="clobber"`)).fails("git clone failed")
}

// Branches and revisions come from outside: they are no options and no refspecs.
func TestGitHostileNames(t *testing.T) {
	r, o := ignoring(t)
	for _, s := range [][2]string{{"--upload-pack=touch x", ""}, {"+refs/heads/*:refs/heads/*", ""}, {"a b", ""}, {"main", "--orphan=x"}, {"main", "-"}} {
		out := r.at(s[0], s[1]).run(o.step(""))
		if out.steps[0].Results != config.Exception || !strings.Contains(out.log("err.text", "t"), "of the build: ") {
			t.Errorf("%q: %s, %s", s, out.results(), out.log("err.text", "t"))
		}
	}
	if sent := r.ran(); sent != nil {
		t.Errorf("the worker was told: %q", sent)
	}
	// The name of a file is no revision.
	r.at("main", "").run(o.step("")).got(o.head())
	r.at("main", "a").run(o.step("")).fails("git checkout failed")
}

func TestGitRevision(t *testing.T) {
	for _, mode := range []string{`mode="incremental"`, `mode="full"`, `mode="full", method="clobber"`, `mode="full", method="copy"`, `shallow=True`} {
		t.Run(mode, func(t *testing.T) {
			r, o := ignoring(t)
			o.git("config", "uploadpack.allowAnySHA1InWant", "true")
			first := o.head()
			o.git("checkout", "--quiet", "-b", "side")
			side := o.commit("s", "side")
			hidden := o.commit("h", "hidden")
			o.git("update-ref", "refs/hidden", hidden)
			o.git("reset", "--quiet", "--hard", side)
			o.git("checkout", "--quiet", "main")
			second := o.commit("b", "two")
			r.at("main", first).run(o.step(mode)).got(first)
			r.at("main", second).run(o.step(mode)).got(second)
			r.at("main", first).run(o.step(mode)).got(first)
			r.at("main", side).run(o.step(mode)).got(side) // not on the branch
			r.at("", hidden).run(o.step(mode)).got(hidden) // on none
			r.at("main", "").run(o.step(mode)).got(second) // the newest
			r.at("", second[:12]).run(o.step(mode)).got(second)
			r.at("main", strings.Repeat("0a", 20)).run(o.step(mode)).fails("revision not found")
		})
	}
}

// A revision that is here already needs no fetch; with tags it does.
func TestGitTags(t *testing.T) {
	r, o := ignoring(t)
	first := o.head()
	r.at("main", first).run(o.step("")).got(first)
	r.ran()
	o.git("checkout", "--quiet", "-b", "side")
	o.commit("s", "side")
	o.git("tag", "v1")
	o.git("checkout", "--quiet", "main")
	r.at("main", first).run(o.step("")).got(first)
	fetches := func(c string) bool { return strings.Contains(c, "fetch") }
	if sent := r.ran(); slices.ContainsFunc(sent, fetches) {
		t.Errorf("it fetched: %q", sent)
	}
	tags := func() string { return (origin{t, r.build()}).git("tag") }
	if tags() != "" {
		t.Errorf("it has the tags %s", tags())
	}
	r.at("main", first).run(o.step("tags=True")).got(first)
	if tags() != "v1" {
		t.Errorf("it has the tags %q", tags())
	}
	if r.run(o.step(`tags=True, shallow=True, mode="full", method="clobber"`)).got(first); tags() != "v1" {
		t.Errorf("a shallow clone has the tags %q", tags())
	}
}

// alwaysUseLatest heeds the argument branch and nothing of the build.
func TestGitAlwaysUseLatest(t *testing.T) {
	r, o := ignoring(t)
	first := o.head()
	o.git("branch", "side")
	second := o.commit("b", "two")
	r.at("side", first).run(o.step("alwaysUseLatest=True")).got(second)
	r.at("side", "").run(o.step(`alwaysUseLatest=util.Property("none")`)).got(first)
	r.stamps = []state.SourceStamp{{Codebase: "other"}}
	r.run(o.step("")).fails("codebase not in build")
	r.run(o.step("alwaysUseLatest=True")).got(second)
}

func TestGitCodebase(t *testing.T) {
	r, o := ignoring(t)
	first := o.head()
	second := o.commit("b", "two")
	r.stamps = []state.SourceStamp{{Codebase: "lib", Revision: &first}, {Codebase: "app"}}
	out := r.run(`x = [
		steps.Git(repourl=` + strconv.Quote(o.dir) + `, codebase="lib", workdir="lib", getDescription={"always": True}),
		steps.Git(repourl=` + strconv.Quote(o.dir) + `, name="get", codebase=util.Property("none", default="app"), getDescription={"always": True}),
	]`)
	revisions, _ := out.property("got_revision")
	descriptions, _ := out.property("commit-description")
	want := map[string]any{"lib": first, "app": second}
	if out.results() != "git-lib=success get-app=success success" || !cmp.Equal(revisions, any(want)) {
		t.Errorf("%s, %v", out.results(), revisions)
	}
	if d, ok := descriptions.(map[string]any); !ok || len(d) != 2 || !strings.HasPrefix(first, d["lib"].(string)) {
		t.Errorf("descriptions: %v", descriptions)
	}
}

func TestGitShallow(t *testing.T) {
	r, o := ignoring(t)
	last := ""
	for _, name := range []string{"b", "c", "d"} {
		last = o.commit(name, name)
	}
	o.dir = "file://" + o.dir // from a path, git clones everything
	count := func() string { return (origin{t, r.build()}).git("rev-list", "--count", "HEAD") }
	for _, x := range [][2]string{
		{`shallow=True`, "1"}, {`mode="full", method="clobber", shallow=2`, "2"}, {`mode="full", method="clobber", shallow=False`, "5"},
	} {
		if r.run(o.step(x[0])).got(last); count() != x[1] {
			t.Errorf("%s: %s commits", x[0], count())
		}
	}
}

func TestGitFilters(t *testing.T) {
	r, o := ignoring(t)
	o.git("config", "uploadpack.allowFilter", "true")
	old := o.git("rev-parse", "HEAD:a")
	last := o.commit("a", "two")
	o.dir = "file://" + o.dir
	r.run(o.step(`filters=["blob:none"]`)).got(last)
	missing := origin{t, r.build()}.git("rev-list", "--objects", "--all", "--missing=print")
	if !strings.Contains(missing, "?"+old) {
		t.Errorf("it has the old file: %s", missing)
	}
}

func TestGitReference(t *testing.T) {
	r, o := ignoring(t)
	ref := filepath.Join(t.TempDir(), "reference")
	o.git("clone", "--quiet", "--bare", o.dir, ref)
	next := o.commit("b", "two")
	r.run(o.step(`reference=` + strconv.Quote(ref))).got(next)
	if got := content(t, r.build(".git", "objects", "info", "alternates")); !strings.Contains(got, ref) {
		t.Errorf("alternates: %q", got)
	}
}

func TestGitOrigin(t *testing.T) {
	r, o := ignoring(t)
	r.run(o.step(`origin="upstream"`)).got(o.head())
	if got := (origin{t, r.build()}).git("remote"); got != "upstream" {
		t.Errorf("the remote is %s", got)
	}
}

func TestGitConfig(t *testing.T) {
	r, o := ignoring(t)
	r.run(o.step(`config={"core.autocrlf": "true", "user.x": util.Interpolate("%(prop:none:-y)s")}`)).got(o.head())
	if content(t, r.build(".gitignore")) != "*.o\r\n" {
		t.Errorf("core.autocrlf did nothing: %q", content(t, r.build(".gitignore")))
	}
	for _, c := range r.ran() {
		if !strings.HasPrefix(c, "git -c core.autocrlf=true -c user.x=y ") {
			t.Errorf("without the configuration: %s", c)
		}
	}
}

func TestGitSubmodules(t *testing.T) {
	r, o := ignoring(t)
	sub := newOrigin(t, filepath.Join(t.TempDir(), "sub"))
	deep := newOrigin(t, filepath.Join(t.TempDir(), "deep"))
	sub.git("submodule", "--quiet", "add", deep.dir, "deep")
	sub.git("commit", "--quiet", "--message", "deep")
	without := o.head()
	o.git("submodule", "--quiet", "add", sub.dir, "sub")
	o.git("commit", "--quiet", "--message", "sub")
	first := o.head()
	sub.commit("new", "new")

	r.run(o.step("")).got(first)
	if content(t, r.build("sub", "a")) != "(none)" {
		t.Error("submodules come unasked")
	}
	r.run(o.step("submodules=True")).got(first)
	if content(t, r.build("sub", "deep", "a")) != "one" || content(t, r.build("sub", "new")) != "(none)" {
		t.Error("after an update submodules are not what the commit says")
	}
	r.run(o.step("submodules=True, remoteSubmodules=True")).got(first)
	if content(t, r.build("sub", "new")) != "new" {
		t.Error("remoteSubmodules got nothing new")
	}
	put(t, r.build("sub", "a"), []byte("dirty"))
	put(t, r.build("sub", "deep", "left"), nil)
	r.run(o.step(`submodules=True, mode="full"`)).got(first)
	if content(t, r.build("sub", "a")) != "one" || content(t, r.build("sub", "new")) != "(none)" || content(t, r.build("sub", "deep", "left")) != "(none)" {
		t.Error("submodules are not clean")
	}
	r.run(o.step(`submodules=True, mode="full", method="clobber", shallow=True`)).got(first)
	if content(t, r.build("sub", "deep", "a")) != "one" {
		t.Error("a shallow clone has no submodules")
	}
	r.at("", without).run(o.step(`submodules=True, mode="full"`)).got(without)
	if content(t, r.build("sub", "a")) != "(none)" {
		t.Error("a submodule that is gone is still there")
	}
}

func TestGitDescription(t *testing.T) {
	r, o := ignoring(t)
	o.git("tag", "-a", "-m", "v1", "v1")
	o.git("tag", "light")
	o.commit("b", "two")
	short := o.head()[:10]
	for arg, want := range map[string]any{
		"False": nil, "True": "v1-1-g" + short[:7], `{"abbrev": 10}`: "v1-1-g" + short, `{"abbrev": 0}`: "v1",
		`{"match": "x*"}`: nil, `{"match": "x*", "always": True, "abbrev": 10}`: short, `{"tags": True, "match": "l*", "abbrev": 0}`: "light",
		`{"dirty": True, "abbrev": 0}`: "v1", `{"exclude": "v*"}`: nil, `{"long": True, "abbrev": 10, "all": False}`: "v1-1-g" + short,
	} {
		out := r.run(o.step("getDescription=" + arg))
		if got, _ := out.property("commit-description"); out.build.Results != config.Success || got != want {
			t.Errorf("%s: %v, want %v\n%s", arg, got, want, out.log("stdio", "hoe"))
		}
	}
}

func TestGitEnvironment(t *testing.T) {
	r, o := ignoring(t)
	out := r.run(with("Git", `repourl=`+strconv.Quote(o.dir)+`, env={"HELLO": "there"}, timeout=77`))
	out.got(o.head())
	if n := strings.Count(out.log("stdio", "h"), "HELLO=there"); n != 1 {
		t.Errorf("the environment is %d times in the log", n)
	}
	for _, c := range r.sent {
		if env, ok := c.Args["env"].(map[string]any); ok && (env["HELLO"] != "there" || env["GIT_TERMINAL_PROMPT"] != "0" || c.Args["timeout"] != int64(77)) {
			t.Errorf("%v", c.Args)
		}
	}
	if out := r.run(o.step("")); strings.Contains(out.log("stdio", "h"), "GIT_TERMINAL_PROMPT") {
		t.Error("logEnviron=False logs it")
	}
	for _, progress := range []string{"True", "False"} {
		r.ran()
		r.run(o.step("progress=" + progress)).got(o.head())
		if all := strings.Join(r.ran(), "\n"); strings.Contains(all, "--progress") != (progress == "True") {
			t.Errorf("progress=%s: %s", progress, all)
		}
	}
}
