package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// eval runs a file and returns its variable x.
func eval(t *testing.T, src string) (star.Value, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", src, star.StringDict{"worker": Module.Value(env), "util": util.Module.Value(env)})
	if err != nil {
		t.Fatal(err)
	}
	return g["x"], env.Problems()
}

func node(t *testing.T, src string) *config.Worker {
	t.Helper()
	v, ps := eval(t, "x = "+src)
	if ps != nil {
		t.Fatal(ps)
	}
	return v.(*spec.Object).Value.(*config.Worker)
}

func TestWorkerName(t *testing.T) {
	w := node(t, `worker.Worker("bot-solaris", "pw")`)
	if w.Name != "bot-solaris" || w.Class != "Worker" || w.Local || w.Key() != (config.Key{Kind: config.KindWorker, Name: "bot-solaris"}) {
		t.Errorf("got %+v", w)
	}
	if p := w.Pos(); p.Line != 1 || p.File != "master.star" {
		t.Errorf("at %v", p)
	}
	if w := node(t, `worker.LocalWorker("here")`); w.Name != "here" || w.Class != "LocalWorker" || !w.Local || w.Workdir != "" {
		t.Errorf("got %+v", w)
	}
}

func TestWorkerPassword(t *testing.T) {
	w := node(t, `worker.Worker("a", "hunter2")`)
	if !w.Password.Matches("hunter2") || w.Password.Matches("hunter") {
		t.Error("the password does not let the worker in")
	}
	if config.Hash(w) == config.Hash(node(t, `worker.Worker("a", "other")`)) {
		t.Error("another password makes no other node")
	}
	j, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{string(j), fmt.Sprintf("%v %+v %#v %v", w, w, w, *w)} {
		if strings.Contains(out, "hunter2") {
			t.Errorf("the password is printed: %s", out)
		}
	}
}

func TestWorkerMaxBuilds(t *testing.T) {
	for src, want := range map[string]int{"": 0, ", max_builds=3": 3, ", max_builds=None": 0, ", max_builds=0": 0} {
		if w := node(t, `worker.Worker("a", "b"`+src+`)`); w.MaxBuilds != want {
			t.Errorf("Worker%s: %d", src, w.MaxBuilds)
		}
		if w := node(t, `worker.LocalWorker("a"`+src+`)`); w.MaxBuilds != want {
			t.Errorf("LocalWorker%s: %d", src, w.MaxBuilds)
		}
	}
}

// docs/requirements.md A3: an hour; None is none.
func TestWorkerKeepalive(t *testing.T) {
	for src, want := range map[string]time.Duration{
		"": time.Hour, ", keepalive_interval=60": time.Minute, `, keepalive_interval="5m"`: 5 * time.Minute, ", keepalive_interval=None": 0,
	} {
		if w := node(t, `worker.Worker("a", "b"`+src+`)`); w.Keepalive != want {
			t.Errorf("Worker%s: %v", src, w.Keepalive)
		}
		if w := node(t, `worker.LocalWorker("a"`+src+`)`); w.Keepalive != want {
			t.Errorf("LocalWorker%s: %v", src, w.Keepalive)
		}
	}
}

func TestWorkerProperties(t *testing.T) {
	const args = `properties={"os": "linux", "n": [1, True]}, defaultProperties={"d": None})`
	for _, src := range []string{`worker.Worker("a", "b", ` + args, `worker.LocalWorker("a", ` + args} {
		w := node(t, src)
		if !reflect.DeepEqual(w.Properties, map[string]any{"os": "linux", "n": []any{int64(1), true}}) ||
			!reflect.DeepEqual(w.DefaultProperties, map[string]any{"d": nil}) {
			t.Errorf("%s: got %#v, %#v", src, w.Properties, w.DefaultProperties)
		}
	}
}

func TestWorkerMachine(t *testing.T) {
	for _, src := range []string{`worker.Worker("a", "b", machine_name = "m")`, `worker.LocalWorker("a", machine_name = "m")`} {
		w := node(t, src)
		refs := maps.Collect(w.Refs())
		if want := (config.Key{Kind: config.KindMachine, Name: "m"}); w.Machine != "m" || refs["machine_name"] != want {
			t.Errorf("%s: got %q, which refers to %v", src, w.Machine, refs)
		}
	}
	v, ps := eval(t, `x = worker.Machine("m")`)
	if m := v.(*spec.Object).Value.(*config.Machine); ps != nil || m.Key() != (config.Key{Kind: config.KindMachine, Name: "m"}) {
		t.Errorf("got %+v, %v", m, ps)
	}
}

func TestWorkerMissing(t *testing.T) {
	for _, src := range []string{`worker.Worker("a", "b"`, `worker.LocalWorker("a"`} {
		for args, want := range map[string]time.Duration{"": time.Hour, ", missing_timeout = 300": 5 * time.Minute,
			", missing_timeout = None": 0, ", missing_timeout = 0": 0} {
			if w := node(t, src+args+")"); w.MissingTimeout != want || w.NotifyOnMissing != nil {
				t.Errorf("%s%s: %v, %v", src, args, w.MissingTimeout, w.NotifyOnMissing)
			}
		}
		for arg, want := range map[string][]string{`"a@b"`: {"a@b"}, `["a@b", "joe"]`: {"a@b", "joe"}, "None": nil} {
			if w := node(t, src+", notify_on_missing = "+arg+")"); !slices.Equal(w.NotifyOnMissing, want) {
				t.Errorf("%s, %s: %v", src, arg, w.NotifyOnMissing)
			}
		}
	}
}

func TestWorkerLocks(t *testing.T) {
	for _, src := range []string{`worker.Worker("a", "b", `, `worker.LocalWorker("a", `} {
		w := node(t, src+`locks = [util.MasterLock("l").access("exclusive")])`)
		if len(w.Locks) != 1 || w.Locks[0].Lock.Name != "l" || !w.Locks[0].Exclusive {
			t.Errorf("%s: got %+v", src, w.Locks)
		}
	}
}

func TestLocalWorkerWorkdir(t *testing.T) {
	if w := node(t, `worker.LocalWorker("a", workdir="/srv/a")`); w.Workdir != "/srv/a" {
		t.Errorf("got %q", w.Workdir)
	}
	if w := node(t, `worker.LocalWorker("a", "sub/a")`); w.Workdir != "sub/a" {
		t.Errorf("got %q", w.Workdir)
	}
}

func TestWorkerProblems(t *testing.T) {
	long := strings.Repeat("a", 51)
	tests := []struct{ src, code, param, text string }{
		{`worker.Worker("", "b")`, "bad-name", "name", "empty"},
		{`worker.Worker("1a", "b")`, "bad-name", "name", "digit"},
		{`worker.Worker("a b", "b")`, "bad-name", "name", "' ' cannot be in a name"},
		{`worker.Worker("` + long + `", "b")`, "bad-name", "name", "51 characters, at most 50"},
		{`worker.LocalWorker("` + long + `")`, "bad-name", "name", "51 characters, at most 50"},
		{`worker.Worker("debug", "b")`, "bad-name", "name", `"debug" is reserved`},
		{`worker.LocalWorker("change")`, "bad-name", "name", `"change" is reserved`},
		{`worker.Worker("status", "b")`, "bad-name", "name", `"status" is reserved`},
		{`worker.Worker("a", "")`, "bad-value", "password", "empty"},
		{`worker.Worker("a")`, "missing-parameter", "password", "required"},
		{`worker.Worker("a", "b", max_builds=-1)`, "bad-value", "max_builds", "at least 0"},
		{`worker.Worker("a", "b", properties=[])`, "wrong-type", "properties", "dict"},
		{`worker.Worker("a", "b", 3)`, "too-many-arguments", "", "3 arguments"},
		{`worker.Worker("a", "b", keepalive_interval=0)`, "bad-value", "keepalive_interval", "at least 1, got 0"},
		{`worker.Worker("a", "b", keepalive_interval="hourly")`, "bad-value", "keepalive_interval", "want a duration"},
		{`worker.LocalWorker("a", keepalive_interval=[])`, "wrong-type", "keepalive_interval", "or None"},
		{`worker.Worker("a", "b", notify_on_missing=["x", 3])`, "wrong-type", "notify_on_missing", "item 2"},
		{`worker.LocalWorker("a", notify_on_missing="")`, "bad-value", "notify_on_missing", "is no mail address"},
		{`worker.Worker("a", "b", missing_timeout=-1)`, "bad-value", "missing_timeout", "at least 0"},
		{`worker.Worker("a", "b", locks=[util.MasterLock("l")])`, "wrong-type", "locks", "the lock \"l\" itself"},
		{`worker.LocalWorker("a", locks=util.Property("l"))`, "wrong-type", "locks", "want a plain value"},
		{`worker.Worker("a", "b", machine_name=1)`, "wrong-type", "machine_name", "string"},
		{`worker.Machine("")`, "bad-name", "name", "empty"},
		{`worker.LocalWorker("a", password="b")`, "not-supported", "password", "not supported yet"},
		{`worker.EC2LatentWorker("a", "b", instance_type="m1")`, "not-supported", "", "not supported yet"},
		{`worker.DockerLatentWorker("a", None, image="x")`, "not-supported", "", "not supported yet"},
		{`worker.Wroker("a", "b")`, "unknown-name", "", "there is no Wroker"},
	}
	for _, tt := range tests {
		_, ps := eval(t, "x = "+tt.src)
		if len(ps) != 1 || ps[0].Code != tt.code || ps[0].Param != tt.param || !strings.Contains(ps[0].Text, tt.text) {
			t.Errorf("%s: got %+v", tt.src, ps)
		}
	}
}

// 50 characters are allowed, whatever their size in bytes.
func TestWorkerLongestName(t *testing.T) {
	name := strings.Repeat("ß", 50)
	if w := node(t, `worker.Worker("`+name+`", "b")`); w.Name != name {
		t.Errorf("got %q", w.Name)
	}
}
