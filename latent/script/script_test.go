package script

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

// eval runs a file and returns its variable x.
func eval(t *testing.T, src string) (star.Value, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true, Function: call.Renderable}
	thread := &star.Thread{}
	env.Attach(thread)
	refuse := func(cannot bool) star.Value {
		return star.NewBuiltin("refuse", func(_ *star.Thread, _ *star.Builtin, args star.Tuple, _ []star.Tuple) (star.Value, error) {
			return nil, &prop.Refusal{Text: string(args[0].(star.String)), Cannot: cannot}
		})
	}
	g, err := star.ExecFileOptions(&syntax.FileOptions{While: true, Recursion: true}, thread, "master.star", src, star.StringDict{
		"worker": worker.Module.With(Worker).Value(env), "util": util.Module.Value(env),
		"fail_to_substantiate": refuse(false), "cannot_substantiate": refuse(true),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Freeze()
	env.Seal()
	return g["x"], env.Problems()
}

// node evaluates a worker with these arguments besides the required ones, which defs may
// define as start and stop.
func node(t *testing.T, defs, args string) *config.Worker {
	t.Helper()
	src := "start = lambda ctx: 'h'\nstop = lambda ctx, handle, fast: None\n"
	if strings.Contains(defs, "def start") {
		src = strings.TrimPrefix(src, "start = lambda ctx: 'h'\n")
	}
	if strings.Contains(defs, "def stop") {
		src = strings.TrimSuffix(src, "stop = lambda ctx, handle, fast: None\n")
	}
	v, ps := eval(t, src+defs+"\nx = worker.LatentWorker('w', None, start_instance = start, stop_instance = stop"+args+")\n")
	if ps != nil {
		t.Fatal(ps)
	}
	return v.(*spec.Object).Value.(*config.Worker)
}

func open(t *testing.T, defs, args string) latent.Backend {
	t.Helper()
	b, err := node(t, defs, args).Latent.Backend.(latent.Params).Open(latent.Env{
		Master: "tag", Binary: "/bin/buildstar", Basedir: t.TempDir(),
		Secret: func(_ context.Context, name string) (string, error) { return "secret of " + name, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLatentWorkerNode(t *testing.T) {
	w := node(t, "", "")
	if w.Class != "LatentWorker" || w.Name != "w" || w.Password != "" || w.Latent.BuildWait != 10*time.Minute ||
		w.Latent.CheckEvery != 10*time.Second || w.Latent.Missing != 20*time.Minute || w.Latent.MayBeIncompatible {
		t.Errorf("defaults: %+v, %+v", w, w.Latent)
	}
	v, ps := eval(t, `x = worker.LatentWorker(name = "w", password = "p", start_instance = lambda ctx: "h", stop_instance = lambda ctx, handle, fast: 1,
    max_builds = 2, properties = {"a": 1}, defaultProperties = {"b": 2}, keepalive_interval = 60, machine_name = "m",
    locks = [util.MasterLock("l").access("counting")], build_wait_timeout = -1, check_instance_interval = 5, missing_timeout = "1m",
    notify_on_missing = "admin@example.com", masterFQDN = "[::1]:9", caps = [util.InstanceCap("c", max_instances = 3)])`)
	if ps != nil {
		t.Fatal(ps)
	}
	w = v.(*spec.Object).Value.(*config.Worker)
	l := w.Latent
	if w.Password != "p" || w.MaxBuilds != 2 || w.Properties["a"] != int64(1) || w.DefaultProperties["b"] != int64(2) || w.Keepalive != time.Minute ||
		w.Machine != "m" || len(w.Locks) != 1 || l.BuildWait != -time.Second || l.CheckEvery != 5*time.Second || l.Missing != time.Minute ||
		!slices.Equal(w.NotifyOnMissing, []string{"admin@example.com"}) || l.MasterFQDN != "[::1]:9" || !reflect.DeepEqual(l.Caps, []config.InstanceCap{{Name: "c", MaxInstances: 3}}) {
		t.Errorf("got %+v, %+v", w, l)
	}
}

func TestLatentWorkerProblems(t *testing.T) {
	const ok = `start_instance = lambda ctx: "h", stop_instance = lambda ctx, handle, fast: None`
	for args, want := range map[string]string{
		`"w", "", ` + ok: "password is empty",
		`"w", None, start_instance = "x", stop_instance = lambda ctx, handle, fast: None`:         "want function",
		`"w", None, start_instance = lambda: "h", stop_instance = lambda ctx, handle, fast: None`: "takes no arguments; it is called with 1 argument",
		`"w", None, start_instance = lambda ctx: "h", stop_instance = lambda ctx: None`:           "it is called with 3 arguments",
		`"w", None, builds_may_be_incompatible = True, ` + ok:                                     "nothing says which",
		`"w", None, missing_timeout = 0, ` + ok:                                                   "at least 0.1",
		`"w", None, masterFQDN = "a b", ` + ok:                                                    "names no host",
		`"debug", None, ` + ok:                                                                    "reserved",
		`"w", None, notify_on_missing = "", ` + ok:                                                "is no mail address",
		`"w", None, caps = [util.InstanceCap("c", max_instances = 1)] * 2, ` + ok:                 "in the list twice",
	} {
		_, ps := eval(t, "x = worker.LatentWorker("+args+")")
		if len(ps) != 1 || !strings.Contains(ps[0].Text, want) {
			t.Errorf("%s: %+v", args, ps)
		}
	}
}

func TestStartInstance(t *testing.T) {
	b := open(t, `
def start(ctx):
    r = ctx.exec(["sh", "-c", "cat; echo $A >&2; exit 3"], env = {"A": "b"}, stdin = "in")
    ctx.log("log")
    print("print")
    return {"handle": "h%d" % ctx.instance, "info": [ctx.worker, ctx.password, ctx.master, ctx.props["p"], ctx.tag, ctx.binary, ctx.secret("s"),
        "%d" % r.rc, r.stdout, r.stderr]}
`, "")
	var log strings.Builder
	got, err := b.Start(t.Context(), latent.Launch{
		Ref: latent.Ref{Worker: "w", Attempt: 7}, Password: "pw", Host: "::1", Port: 9, Properties: map[string]any{"p": "prop"},
		Log: func(text string) { log.WriteString(text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := latent.Started{Handle: "h7", Info: []string{"w", "pw", "ws://[::1]:9", "prop", "tag", "/bin/buildstar", "secret of s", "3", "in", "b\n"}}
	if !reflect.DeepEqual(got, want) || log.String() != "log\nprint\n" {
		t.Errorf("got %q, log %q", got, log.String())
	}
}

func TestStartInstanceFails(t *testing.T) {
	for body, want := range map[string]string{
		`fail_to_substantiate("no quota")`:       "no quota",
		`cannot_substantiate("no such image")`:   "no such image",
		`return 3`:                               "returned int 3: want the handle",
		`return ""`:                              "want the handle",
		`return {"handle": "h", "infos": []}`:    `with "infos"`,
		`return {"handle": "h", "info": "x"}`:    "info: want list",
		`ctx.exec([])`:                           "argv: it is empty",
		`ctx.exec(["no-such-program-anywhere"])`: "not found",
		`ctx.exec(["sleep", "60"], timeout = 0)`: "it took longer than 0s",
		`ctx.sleep(-1)`:                          "want 0 to",
		`ctx.nothing`:                            "nothing",
	} {
		_, err := open(t, "def start(ctx):\n    "+body, "").Start(t.Context(), latent.Launch{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
		if cannot := strings.HasPrefix(body, "cannot"); errors.Is(err, latent.ErrCannotSubstantiate) != cannot {
			t.Errorf("%s: is the build's fault: %v", body, !cannot)
		}
	}
}

// An endless loop, a sleep and a program end with the call, and so does what the program
// started in its process group.
func TestStartInstanceCut(t *testing.T) {
	dir := t.TempDir()
	for _, body := range []string{
		"while True:\n        pass", "ctx.sleep(3600)", `ctx.exec(["sh", "-c", "(read x <` + dir + `/fifo) & touch ` + dir + `/runs; wait"])`,
	} {
		b := open(t, "def start(ctx):\n    "+body, "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := b.Start(ctx, latent.Launch{})
			done <- err
		}()
		if strings.Contains(body, "exec") {
			for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
				if _, err := os.Stat(filepath.Join(dir, "runs")); err == nil {
					tick.Stop()
					break
				}
			}
		}
		cancel()
		if err := <-done; err == nil {
			t.Errorf("%s: ended well", body)
		}
	}
}

func TestStopInstance(t *testing.T) {
	b := open(t, `
def stop(ctx, handle, fast):
    fail_to_substantiate("%s %d %s %s" % (ctx.worker, ctx.instance, handle, fast))
`, "")
	for want, ref := range map[string]latent.Ref{"w 3 h True": {Worker: "w", Attempt: 3, Handle: "h"}, "w 4 None True": {Worker: "w", Attempt: 4}} {
		if err := b.Stop(t.Context(), ref, true); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestCheckInstance(t *testing.T) {
	for body, want := range map[string]string{`(True, "fine")`: "true fine", `(False, None)`: "false "} {
		good, message, err := open(t, "", ", check_instance = lambda ctx, handle: "+body).(latent.Checker).Check(t.Context(), latent.Ref{Handle: "h"})
		if got := map[bool]string{true: "true ", false: "false "}[good] + message; err != nil || got != want {
			t.Errorf("%s: %q, %v", body, got, err)
		}
	}
	if _, _, err := open(t, "", ", check_instance = lambda ctx, handle: True").(latent.Checker).Check(t.Context(), latent.Ref{}); err == nil {
		t.Error("what is no pair is taken")
	}
	if good, _, err := open(t, "", "").(latent.Checker).Check(t.Context(), latent.Ref{}); !good || err != nil {
		t.Error("without check_instance it is not good")
	}
}

func TestIsCompatible(t *testing.T) {
	const fn = `, is_compatible_with_build = lambda ctx, handle, props: props["image"] == handle`
	for args, want := range map[string]bool{fn: false, fn + ", builds_may_be_incompatible = False": true, "": true} {
		w := node(t, "", args)
		if w.Latent.MayBeIncompatible == want {
			t.Errorf("%s: may be incompatible: %v", args, !want)
		}
		b, _ := w.Latent.Backend.(latent.Params).Open(latent.Env{})
		ok, err := b.(latent.Matcher).Matches(t.Context(), latent.Ref{Handle: "a"}, nil, nil, map[string]any{"image": "b"})
		if ok != want || err != nil {
			t.Errorf("%s: %v, %v", args, ok, err)
		}
	}
}

// What buildstar doctor shows of a scripted worker.
func TestExamine(t *testing.T) {
	for args, want := range map[string]latent.Finding{
		"": {Check: "list_instances", Text: "it is not given: there is nothing to examine"},
		`, list_instances = lambda ctx: [ctx.tag, "b"]`:                {Check: "list_instances", Text: "it returned 2 handles"},
		`, list_instances = lambda ctx: fail_to_substantiate("no VM")`: {Check: "list_instances", Health: latent.Ill, Text: "no VM"},
	} {
		var got []latent.Finding
		open(t, "", args).(latent.Doctor).Examine(t.Context(), func(f latent.Finding) { got = append(got, f) })
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: found %+v, want %+v", args, got, want)
		}
	}
}

func TestListInstances(t *testing.T) {
	refs, err := open(t, "", `, list_instances = lambda ctx: [ctx.tag, "b"]`).(latent.Lister).List(t.Context())
	if want := []latent.Ref{{Handle: "tag"}, {Handle: "b"}}; !reflect.DeepEqual(refs, want) || err != nil {
		t.Errorf("%v, %v", refs, err)
	}
}
