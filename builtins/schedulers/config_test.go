package schedulers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

func load(t *testing.T, src string) (*config.Snapshot, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "master.star")
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := starlark.Load(t.Context(), file, starlark.Options{
		Modules: []*spec.Module{worker.Module, util.Module, Module}, Function: call.Renderable,
	})
	return s, err
}

const whole = `
lock = util.MasterLock("db", maxCount=2)
c = {
    "workers": [worker.Worker("a", "pw"), worker.LocalWorker("b", max_builds=2)],
    "builders": [util.BuilderConfig("x", workernames=["a", "b"], factory=util.BuildFactory(),
        locks=[lock.access("counting")], properties={"p": lambda props: "v" + "1"})],
    "schedulers": [schedulers.ForceScheduler("force", ["x"])],
    "protocols": {"msgpack_experimental_v7": {"port": 0}},
}
`

// The vocabulary makes a snapshot: nodes, references and locks are found.
func TestWholeConfig(t *testing.T) {
	s, err := load(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	b := s.Builder("x")
	if b == nil || s.Worker("a") == nil || !s.Worker("b").Local || s.Scheduler("force") == nil || len(s.Locks) != 1 || s.Locks[0].Name != "db" {
		t.Fatalf("got %+v", s)
	}
	v, err := b.Properties["p"].Render(t.Context(), &prop.Map{})
	if v != "v1" || err != nil {
		t.Errorf("property: %v, %v", v, err)
	}
}

// A reload sees what changed, and nothing else.
func TestWholeConfigDiff(t *testing.T) {
	old, err := load(t, whole)
	if err != nil {
		t.Fatal(err)
	}
	same, err := load(t, "# moved\n\n"+whole)
	if err != nil {
		t.Fatal(err)
	}
	if d := config.Compare(old, same); !d.Empty() {
		t.Errorf("moving lines changes %+v", d)
	}
	builder := config.Key{Kind: config.KindBuilder, Name: "x"}
	for name, edit := range map[string]struct{ from, to string }{
		"a function":  {`"v" + "1"`, `"v" + "2"`},
		"a lock mode": {`"counting"`, `"exclusive"`},
		"workers":     {`["a", "b"]`, `["a"]`},
	} {
		next, err := load(t, replace(t, whole, edit.from, edit.to))
		if err != nil {
			t.Fatal(err)
		}
		if d := config.Compare(old, next); len(d.Changed) != 1 || d.Changed[0] != builder {
			t.Errorf("%s: got %+v", name, d)
		}
	}
	next, err := load(t, replace(t, whole, `"pw"`, `"other"`))
	if err != nil {
		t.Fatal(err)
	}
	if d := config.Compare(old, next); len(d.Changed) != 1 || d.Changed[0].Name != "a" {
		t.Errorf("a password: got %+v", d)
	}
}

func TestWholeConfigProblems(t *testing.T) {
	for edit, want := range map[[2]string]string{
		{`["a", "b"]`, `["a", "bb"]`}:                        "undefined-worker",
		{`"force", ["x"]`, `"force", ["y"]`}:                 "undefined-builder",
		{`worker.LocalWorker("b"`, `worker.LocalWorker("a"`}: "duplicate-name",
	} {
		_, err := load(t, replace(t, whole, edit[0], edit[1]))
		ps, ok := err.(prop.Problems)
		if !ok || len(ps) == 0 || ps[0].Code != want {
			t.Errorf("%v: got %v", edit, err)
		}
	}
}

func replace(t *testing.T, s, from, to string) string {
	t.Helper()
	if !strings.Contains(s, from) {
		t.Fatalf("%q is not there", from)
	}
	return strings.Replace(s, from, to, 1)
}
