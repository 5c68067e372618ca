package schedulers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
	"buildstar/state"
)

// eval runs a file and returns its variable x.
func eval(t *testing.T, src string) (star.Value, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", src,
		star.StringDict{"schedulers": Module.Value(env), "util": util.Module.Value(env)})
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return g["x"], env.Problems()
}

// force evaluates a ForceScheduler with these arguments besides name and
// builderNames.
func force(t *testing.T, args string) *Force {
	t.Helper()
	v, ps := eval(t, `x = schedulers.ForceScheduler("force", ["linux", "mac"]`+args+`)`)
	if ps != nil {
		t.Fatalf("%s: %v", args, ps)
	}
	return v.(*spec.Object).Value.(*Force)
}

func fire(t *testing.T, f *Force, fields map[string]any) sched.Buildset {
	t.Helper()
	set, err := f.Force(t.Context(), "", fields, sched.User{})
	if err != nil {
		t.Fatalf("%v: %v", fields, err)
	}
	return set
}

func fieldErrors(t *testing.T, f *Force, fields map[string]any) map[string]string {
	t.Helper()
	set, err := f.Force(t.Context(), "", fields, sched.User{})
	var fe *sched.FieldErrors
	if !errors.As(err, &fe) {
		t.Fatalf("%v: got %+v, %v", fields, set, err)
	}
	return fe.Fields
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %#v, want %#v", what, got, want)
	}
}

func TestForceSchedulerName(t *testing.T) {
	f := force(t, "")
	equal(t, "key", f.Key(), config.Key{Kind: config.KindScheduler, Name: "force"})
	equal(t, "type", f.Type(), "ForceScheduler")
	equal(t, "form", f.Form().Name, "force")
	equal(t, "enabled", f.Form().Enabled, true)
	equal(t, "buildset", fire(t, f, nil).Scheduler, "force")
	equal(t, "line", f.Pos().Line, 1)
}

func TestForceSchedulerBuilderNames(t *testing.T) {
	f := force(t, "")
	equal(t, "builders", f.Builders(), []string{"linux", "mac"})
	equal(t, "form", f.Form().BuilderNames, []string{"linux", "mac"})
	equal(t, "all", fire(t, f, nil).Builders, []string{"linux", "mac"})
	set, err := f.Force(t.Context(), "mac", nil, sched.User{})
	equal(t, "one", set.Builders, []string{"mac"})
	equal(t, "error", err, error(nil))
	if _, err := f.Force(t.Context(), "win", nil, sched.User{}); !errors.Is(err, state.ErrNotFound) || !strings.Contains(err.Error(), `"win"`) {
		t.Errorf("another builder: %v", err)
	}
	var refs []string
	for param, key := range f.Refs() {
		refs = append(refs, param+" "+key.String())
	}
	equal(t, "refs", refs, []string{`builderNames builder "linux"`, `builderNames builder "mac"`})
}

func TestForceSchedulerUsername(t *testing.T) {
	f := force(t, "")
	equal(t, "anonymous", fire(t, f, nil).Properties["owner"], state.Property{Value: "anonymous", Source: "Force Build Form"})
	equal(t, "blank", fire(t, f, map[string]any{"username": ""}).Properties["owner"].Value, any("anonymous"))
	equal(t, "given", fire(t, f, map[string]any{"username": "Ann <a@example.org>"}).Properties["owner"].Value, any("Ann <a@example.org>"))
	equal(t, "no address", len(fieldErrors(t, f, map[string]any{"username": "ann"})), 1)
	set, err := f.Force(t.Context(), "", map[string]any{"username": "eve"}, sched.User{Name: "ann", Email: "a@b.c"})
	equal(t, "logged in", set.Properties["owner"].Value, any("ann <a@b.c>"))
	equal(t, "error", err, error(nil))

	f = force(t, `, username=util.UserNameParameter("who", need_email=False, required=True)`)
	equal(t, "own", fire(t, f, map[string]any{"who": "ann"}).Properties["owner"].Value, any("ann"))
	equal(t, "required", fieldErrors(t, f, nil), map[string]string{"who": `"Your name:" is needed`})
}

func TestForceSchedulerReason(t *testing.T) {
	f := force(t, "")
	set := fire(t, f, map[string]any{"reason": "because"})
	equal(t, "property", set.Properties["reason"], state.Property{Value: "because", Source: "Force Build Form"})
	equal(t, "reason", set.Reason, "A build was forced by 'anonymous': because")
	equal(t, "default", fire(t, f, nil).Properties["reason"].Value, any("force build"))
	f = force(t, `, reason=util.ChoiceStringParameter("why", choices=["a", "b"])`)
	equal(t, "own", fire(t, f, map[string]any{"why": "b"}).Properties["reason"].Value, any("b"))
	equal(t, "wrong", fieldErrors(t, f, map[string]any{"why": "c"}), map[string]string{"why": `"c" is not one of a, b`})
}

func TestForceSchedulerReasonString(t *testing.T) {
	for format, want := range map[string]string{
		"%(owner)s says %(reason)s": "anonymous says x%(owner)s",
		"100%% %(reason)8.1s|":      "100%        x|",
		"%%(owner)s":                "%(owner)s",
		"plain":                     "plain",
	} {
		f := force(t, fmt.Sprintf(", reasonString=%q", format))
		equal(t, format, fire(t, f, map[string]any{"reason": "x%(owner)s"}).Reason, want)
	}
}

func TestForceSchedulerButtonName(t *testing.T) {
	equal(t, "default", force(t, "").Form().ButtonName, "force")
	equal(t, "buttonName", force(t, `, buttonName="Go"`).Form().ButtonName, "Go")
}

func TestForceSchedulerLabel(t *testing.T) {
	equal(t, "default", force(t, "").Form().Label, "force")
	equal(t, "label", force(t, `, label="Force it"`).Form().Label, "Force it")
}

func str(s string) *string { return &s }

func TestForceSchedulerCodebases(t *testing.T) {
	f := force(t, "")
	equal(t, "default", fire(t, f, nil).SourceStamps, []state.SourceStamp{{}})
	equal(t, "filled in", fire(t, f, map[string]any{"branch": "dev", "revision": "1f", "repository": "git://x", "project": "p"}).SourceStamps,
		[]state.SourceStamp{{Branch: str("dev"), Revision: str("1f"), Repository: "git://x", Project: "p"}})

	f = force(t, `, codebases=["", util.CodebaseParameter("lib", branch=util.ChoiceStringParameter("which", choices=["main", "dev"]), repository="git://lib", project=None)]`)
	equal(t, "two", fire(t, f, map[string]any{"branch": "a", "lib_which": "dev", "lib_revision": "2e"}).SourceStamps, []state.SourceStamp{
		{Branch: str("a")}, {Codebase: "lib", Branch: str("dev"), Revision: str("2e"), Repository: "git://lib"}})
	equal(t, "wrong", fieldErrors(t, f, map[string]any{"lib_which": "x", "lib_project": "p"}), map[string]string{
		"lib_which": `"x" is not one of main, dev`, "lib_project": "there is no such field (did you mean \"project\"?)"})
	equal(t, "None", len(force(t, ", codebases=None").Codebases), 1)
}

func TestForceSchedulerProperties(t *testing.T) {
	f := force(t, `, properties=[
		util.StringParameter("opt", default="-O2"), util.IntParameter("jobs"), util.BooleanParameter("clean"),
		util.FixedParameter("pool", default=["a"]), util.StringParameter("must", required=True, regex="[a-z]+"), util.StringParameter("branch")]`)
	set := fire(t, f, map[string]any{"jobs": "4", "clean": "on", "must": "x", "pool": "b", "branch": "dev"})
	const source = "Force Build Form"
	equal(t, "properties", set.Properties, state.Properties{
		"opt": {Value: "-O2", Source: source}, "jobs": {Value: int64(4), Source: source}, "clean": {Value: true, Source: source},
		"pool": {Value: []any{"a"}, Source: source}, "must": {Value: "x", Source: source}, "branch": {Value: "dev", Source: source},
		"reason": {Value: "force build", Source: source}, "owner": {Value: "anonymous", Source: source}})
	equal(t, "a property and a source of one name", *set.SourceStamps[0].Branch, "dev")
	equal(t, "all that is wrong", fieldErrors(t, f, map[string]any{"jobs": "four", "must": "3", "clean": "perhaps", "optt": "x"}), map[string]string{
		"jobs": `want a whole number, got string "four"`, "must": `"3" does not match the pattern [a-z]+`,
		"clean": `want true or false, got "perhaps"`, "optt": `there is no such field (did you mean "opt"?)`})
}

func TestForceSchedulerPriority(t *testing.T) {
	f := force(t, "")
	equal(t, "default", fire(t, f, nil).Priority, int64(0))
	equal(t, "given", fire(t, f, map[string]any{"priority": "7"}).Priority, int64(7))
	equal(t, "wrong", len(fieldErrors(t, f, map[string]any{"priority": "high"})), 1)
	f = force(t, `, priority=util.IntParameter("prio", default=3)`)
	equal(t, "own", fire(t, f, nil).Priority, int64(3))
	equal(t, "own, given", fire(t, f, map[string]any{"prio": int64(-1)}).Priority, int64(-1))
}

// What a client says besides the fields does no harm; the form cannot set an
// owner.
func TestForceHarmlessFields(t *testing.T) {
	set := fire(t, force(t, ""), map[string]any{"builderid": "3", "owner": "root", "builderNames": []any{"linux"}})
	equal(t, "owner", set.Properties["owner"].Value, any("anonymous"))
	equal(t, "builders", set.Builders, []string{"linux", "mac"})
}

// A request with many fields that do not exist gets a short answer.
func TestForceUnknownFieldsAreBounded(t *testing.T) {
	fields := map[string]any{}
	for i := range 1000 {
		fields[fmt.Sprint("x", i)] = "y"
	}
	equal(t, "errors", len(fieldErrors(t, force(t, ""), fields)), maxUnknown)
}

// Arguments may be given by position, in the order of Buildbot.
func TestForceSchedulerPositional(t *testing.T) {
	f := force(t, `, util.UserNameParameter("u"), util.StringParameter("r"), "%(reason)s", "B", ["c"], "L", [util.IntParameter("i")], util.IntParameter("p")`)
	equal(t, "all", []string{f.Username.Name, f.Reason.Name, f.ReasonString, f.ButtonName, *f.Codebases[0].Codebase, f.Label, f.Properties[0].Name, f.Priority.Name},
		[]string{"u", "r", "%(reason)s", "B", "c", "L", "i", "p"})
}

// The form has the shape that Buildbot's page was recorded to read.
func TestForceFormAsRecorded(t *testing.T) {
	v, ps := eval(t, `x = schedulers.ForceScheduler(
    name = "force",
    builderNames = ["linux-gcc", "linux-clang", "lint", "tests-flaky", "exceptional", "slow", "biglog", "win64"],
    label = "Force", buttonName = "Force build",
    username = util.UserNameParameter(label = "your name:", size = 80),
    reason = util.StringParameter("reason", label = "reason:", default = "because", required = True, size = 80),
    codebases = [util.CodebaseParameter("", label = "Main repo",
        branch = util.ChoiceStringParameter("branch", choices = ["main", "dev"], default = "main"),
        revision = "", repository = "", project = "")],
    properties = [
        util.BooleanParameter("clean", label = "Clean"),
        util.IntParameter("jobs", label = "Jobs", default = 4),
    ])`)
	if ps != nil {
		t.Fatal(ps)
	}
	got, err := json.Marshal(v.(*spec.Object).Value.(*Force).Form())
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/form.json")
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal(want, &b)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		x, _ := json.MarshalIndent(a, "", " ")
		y, _ := json.MarshalIndent(b, "", " ")
		t.Errorf("got %s\nwant %s", x, y)
	}
}

func TestForceSchedulerProblems(t *testing.T) {
	with := func(args string) string { return `x = schedulers.ForceScheduler("force", ["linux"], ` + args + `)` }
	tests := []struct{ src, code, param, text string }{
		{`x = schedulers.ForceScheduler("a b", ["linux"])`, "bad-name", "name", "' ' cannot be in a name"},
		{`x = schedulers.ForceScheduler("", ["linux"])`, "bad-name", "name", "empty"},
		{`x = schedulers.ForceScheduler("a", [])`, "bad-value", "builderNames", "no builder is named"},
		{`x = schedulers.ForceScheduler("a", "linux")`, "wrong-type", "builderNames", "want list of strings"},
		{`x = schedulers.ForceScheduler("a")`, "missing-parameter", "builderNames", "required"},
		{with(`reason="why"`), "wrong-type", "reason", "want a parameter, got string"},
		{with(`reason=util.IntParameter("reason")`), "wrong-type", "reason", "one text"},
		{with(`username=util.CodebaseParameter("x")`), "wrong-type", "username", "one text"},
		{with(`priority=util.StringParameter("priority")`), "wrong-type", "priority", "one int"},
		{with(`priority=3`), "wrong-type", "priority", "want a parameter, got int 3"},
		{with(`properties=util.IntParameter("x")`), "wrong-type", "properties", "want list"},
		{with(`properties=[util.CodebaseParameter("x")]`), "wrong-type", "properties", "belongs into codebases"},
		{with(`properties=[util.IntParameter("x"), util.StringParameter("x")]`), "duplicate-name", "properties", `the field "x" is there already`},
		{with(`properties=[util.IntParameter("reason")]`), "duplicate-name", "properties", "in reason"},
		{with(`codebases=[]`), "bad-value", "codebases", "the list is empty"},
		{with(`codebases=["a", "a"]`), "duplicate-name", "codebases", `"a" stands there twice`},
		{with(`codebases=[util.CodebaseParameter("a", name=""), util.CodebaseParameter("b", name="", project=None, repository=None, revision=None)]`), "duplicate-name", "codebases", `the field "branch"`},
		{with(`codebases=[util.StringParameter("a")]`), "wrong-type", "codebases", "got another parameter"},
		{with(`codebases=[3]`), "wrong-type", "codebases", "item 1: want a name or a util.CodebaseParameter, got int 3"},
		{with(`codebases={"a": {}}`), "wrong-type", "codebases", "want list of names"},
		{with(`reasonString="%(who)s"`), "bad-interpolation", "reasonString", "cannot be filled in"},
		{with(`reasonString="%(prop:x)s"`), "bad-interpolation", "reasonString", "cannot be filled in"},
		{with(`reasonString="%(owner)d"`), "bad-interpolation", "reasonString", "%d wants a number"},
		{with(`reasonString="100%"`), "bad-interpolation", "reasonString", "cannot be filled in"},
		{with(`branch=3`), "not-supported", "branch", "not supported yet"},
		{with(`label=3`), "wrong-type", "label", "want string"},
		{with(`propertes=[]`), "unknown-parameter", "propertes", "no such parameter"},
		{`x = schedulers.Triggerable(name="a", builderNames=[])`, "bad-value", "builderNames", "no builder is named"},
		{`x = schedulers.Try_Userpass("a")`, "not-supported", "", "not supported yet"},
	}
	for _, tt := range tests {
		_, ps := eval(t, tt.src)
		if len(ps) != 1 || ps[0].Code != tt.code || ps[0].Param != tt.param || !strings.Contains(ps[0].Text, tt.text) {
			t.Errorf("%s: got %+v", tt.src, ps)
		}
	}
}

// Every argument is content: changing it makes another scheduler.
func TestForceSchedulerHash(t *testing.T) {
	seen := map[config.Digest]string{}
	for _, args := range []string{
		"", `, username=util.UserNameParameter("u")`, `, reason=util.StringParameter("r")`, `, reasonString="x"`, `, buttonName="x"`,
		`, codebases=["x"]`, `, label="x"`, `, properties=[util.IntParameter("x")]`, `, properties=[util.StringParameter("x")]`,
		`, properties=[util.StringParameter("x", regex="y")]`, `, priority=util.IntParameter("x")`,
	} {
		h := config.Hash(force(t, args))
		if other, ok := seen[h]; ok {
			t.Errorf("%q and %q have one hash", args, other)
		}
		seen[h] = args
	}
	if config.Hash(force(t, "")) != config.Hash(force(t, ", label=None")) {
		t.Error("equal schedulers have two hashes")
	}
}

// Forcing is safe from many goroutines at once.
func TestForceConcurrently(t *testing.T) {
	f := force(t, `, properties=[util.ChoiceStringParameter("a", choices=["x"], multiple=True, default=["x"])]`)
	done := make(chan error)
	for range 8 {
		go func() {
			_, err := f.Force(t.Context(), "linux", map[string]any{"a": []any{"x", ""}}, sched.User{})
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkForce(b *testing.B) {
	f := &Force{
		Name: "force", BuilderNames: []string{"linux"}, ReasonString: "%(owner)s: %(reason)s", Codebases: []*sched.Parameter{codebase("")},
		Username: &sched.Parameter{Type: sched.TypeUser, Name: "username", Default: ""},
		Reason:   &sched.Parameter{Type: sched.TypeText, Name: "reason", Default: "x"},
		Priority: &sched.Parameter{Type: sched.TypeInt, Name: "priority", Default: int64(0)},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Force(b.Context(), "linux", map[string]any{"branch": "dev"}, sched.User{}); err != nil {
			b.Fatal(err)
		}
	}
}
