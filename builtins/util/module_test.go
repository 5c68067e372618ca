package util

import (
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

func TestResults(t *testing.T) {
	g, ps := eval(t, `x = [util.SUCCESS, util.WARNINGS, util.FAILURE, util.SKIPPED, util.EXCEPTION, util.RETRY, util.CANCELLED]
y = util.Results[util.FAILURE]`)
	if ps != nil {
		t.Fatal(ps)
	}
	equal(t, "numbers", g["x"].String(), "[0, 1, 2, 3, 4, 5, 6]")
	equal(t, "word", g["y"].String(), `"failure"`)
	equal(t, "cancelled", int(config.Cancelled), 6)
}

// What Buildbot has and this master does not is told apart from what nobody has.
func TestUnsupportedNames(t *testing.T) {
	for _, name := range []string{"WithProperties", "SourceStampFilter", "NestedParameter", "InheritBuildParameter", "WorkerChoiceParameter",
		"FileParameter", "AnyPropertyParameter", "PatchParameter", "JanitorConfigurator", "GitHubAuth", "Authz", "Codebase"} {
		testProblems(t, []badCall{{"util." + name + "(1, b=2)", "not-supported", "", "not supported yet"}})
	}
	testProblems(t, []badCall{{`util.BuilderConfg("a")`, "unknown-name", "", `did you mean "BuilderConfig"?`}})
	for _, c := range Module.Classes {
		if _, ok := Module.Unsupported[c.Name]; ok {
			t.Errorf("%s is supported and not", c.Name)
		}
	}
}

// Every parameter can be described, and no unsupported one is also supported.
func TestClassesAreDeclaredWell(t *testing.T) {
	for _, c := range Module.Classes {
		d := spec.Describe(c)
		supported := map[string]bool{}
		for _, p := range d.Params {
			supported[p.Name] = true
		}
		for _, name := range d.Unsupported {
			if supported[name] {
				t.Errorf("%s: %s is supported and not", c.Full(), name)
			}
		}
		if d.Signature() == "" {
			t.Errorf("%s has no signature", c.Full())
		}
	}
}

// A secret is known by its name until it is needed, and takes part in no expression.
func TestSecret(t *testing.T) {
	g, ps := eval(t, `x = util.Secret("token")`)
	if ps != nil {
		t.Fatal(ps)
	}
	if s := g["x"].(*spec.Object).Value; s != (prop.Secret{Name: "token"}) {
		t.Errorf("got %#v", s)
	}
	testProblems(t, []badCall{{`util.Secret("")`, "bad-name", "name", "empty"}})
}
