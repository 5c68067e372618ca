package steps

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
)

// Each test observes the effect of one argument (docs/requirements.md C4).

func TestShellCommandCommand(t *testing.T) {
	r := newRig(t)
	for src, want := range map[string]string{
		`"echo $((1+1)) a"`:                                                  "2 a\n",
		`["echo", "$((1+1)) a"]`:                                             "$((1+1)) a\n",
		`["echo", ["a", ["b"]]]`:                                             "a b\n",
		`["echo", util.Interpolate("%(prop:buildername)s")]`:                 "b\n",
		`util.Interpolate("echo %(prop:buildnumber)s")`:                      "\n",
		`util.Transform(lambda n: ["echo", n], util.Property("workername"))`: "w\n",
	} {
		o := r.run(one(src, ""))
		if strings.Contains(src, "buildnumber") {
			want = o.stdout()
			if strings.TrimSpace(want) == "" || strings.Trim(want, "0123456789\n") != "" {
				t.Errorf("%s: %q", src, want)
			}
		}
		if got := o.stdout(); got != want || o.build.Results != config.Success {
			t.Errorf("%s: %v, %q, want %q; %s", src, o.build.Results, got, want, o.log("err.text", "t"))
		}
	}
}

func TestShellCommandWorkdir(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]string{``: "/b/build\n", `workdir="x/y"`: "/b/x/y\n", `workdir=util.Property("buildername")`: "/b/b\n"} {
		if got := r.run(one(`"pwd"`, args)).stdout(); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q", args, got)
		}
	}
	abs := t.TempDir()
	if got := r.run(one(`"pwd"`, `workdir="`+abs+`"`)).stdout(); got != abs+"\n" {
		t.Errorf("absolute: %q", got)
	}
}

func TestShellCommandEnv(t *testing.T) {
	t.Setenv("FROM_WORKER", "worker")
	t.Setenv("GOES", "away")
	r := newRig(t)
	r.env = map[string]prop.Template[any]{"A": prop.Of(any("builder")), "B": prop.Of(any("builder"))}
	o := r.run(one(`"echo $A $B $C $D $E ${GOES-gone}"`,
		`env={"B": "step", "C": ["x", "y"], "D": "<${FROM_WORKER}>", "E": util.Property("workername"), "GOES": None}`))
	if got := o.stdout(); got != "builder step x:y <worker> w gone\n" {
		t.Errorf("got %q; %s", got, o.log("err.text", "t"))
	}
}

// A stock worker would crash if PYTHONPATH were removed.
func TestShellCommandEnvPythonpath(t *testing.T) {
	r := newRig(t)
	src := one(`"echo ${PYTHONPATH-gone}"`, `env={"PYTHONPATH": None}`)
	if o := r.run(src); o.build.Results != config.Success {
		t.Errorf("ours: %s", o.log("err.text", "t"))
	}
	r.stock = true
	if o := r.run(src); o.build.Results != config.Exception || !strings.Contains(o.log("err.text", "t"), "PYTHONPATH") {
		t.Errorf("stock: %v, %s", o.build.Results, o.log("err.text", "t"))
	}
}

func TestShellCommandWantStdout(t *testing.T) {
	o := newRig(t).run(one(`"echo out; echo err >&2"`, `want_stdout=False`))
	if got := o.log("stdio", "oe"); got != "err\n" {
		t.Errorf("got %q", got)
	}
}

func TestShellCommandWantStderr(t *testing.T) {
	o := newRig(t).run(one(`"echo out; echo err >&2"`, `want_stderr=False`))
	if got := o.log("stdio", "oe"); got != "out\n" {
		t.Errorf("got %q", got)
	}
}

func TestShellCommandUsePTY(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]string{"": "no", "usePTY=True": "yes"} {
		if got := r.run(one(`"test -t 1 && echo yes || echo no"`, args)).stdout(); strings.TrimSpace(got) != want {
			t.Errorf("%s: %q", args, got)
		}
	}
}

func TestShellCommandLogfiles(t *testing.T) {
	r := newRig(t)
	o := r.run(one(`"echo new >> a.log; echo more > b.log"`, `logfiles={"a": "a.log", "b": {"filename": "b.log"}}`))
	if a, b := o.log("a", "t"), o.log("b", "t"); a != "new\n" || b != "more\n" {
		t.Errorf("logs: %q, %q", a, b)
	}
	o = r.run(one(`"echo newer >> a.log"`, `logfiles={"a": {"filename": "a.log", "follow": True}}`))
	if a := o.log("a", "t"); a != "newer\n" {
		t.Errorf("followed log: %q", a)
	}
}

func TestShellCommandLazyLogfiles(t *testing.T) {
	r := newRig(t)
	const files = `logfiles={"a": "a.log", "none": "none.log"}`
	if got := r.run(one(`"echo new > a.log"`, files)).names(); !slices.Equal(got, []string{"stdio", "a", "none"}) {
		t.Errorf("logs: %v", got)
	}
	if got := r.run(one(`"echo new > a.log"`, files+`, lazylogfiles=True`)).names(); !slices.Equal(got, []string{"stdio", "a"}) {
		t.Errorf("lazy logs: %v", got)
	}
}

func TestShellCommandTimeout(t *testing.T) {
	r := newRig(t)
	o := r.run(one(`"echo up; sleep 60"`, `timeout=0.2`))
	if o.results() != "shell=failure failure" || o.steps[0].StateString != "'echo up; ...' (timed out) (failure)" {
		t.Errorf("got %s: %q", o.results(), o.steps[0].StateString)
	}
	r.run(one(`"true"`, ``))
	r.run(one(`"true"`, `timeout=None`))
	for i, want := range []any{0.2, int64(1200), nil} {
		if got := r.sent[i].Args["timeout"]; got != want {
			t.Errorf("command %d: timeout %v, want %v", i, got, want)
		}
	}
}

func TestShellCommandMaxTime(t *testing.T) {
	o := newRig(t).run(one(`"while :; do echo x; sleep 0.05; done"`, `maxTime=0.3`))
	if o.results() != "shell=failure failure" || !strings.Contains(o.steps[0].StateString, "timed out") {
		t.Errorf("got %s: %q", o.results(), o.steps[0].StateString)
	}
}

// A worker that does not know max_lines is interrupted by the master.
func TestShellCommandMaxLines(t *testing.T) {
	for name, stock := range map[string]bool{"ours": false, "stock": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stock = stock
			if o := r.run(one(`"seq 5"`, `max_lines=5`)); o.results() != "shell=success success" {
				t.Errorf("as many as allowed: %s", o.results())
			}
			o := r.run(one(`"seq 6; sleep 60"`, `max_lines=5`))
			if o.results() != "shell=failure failure" || !strings.Contains(o.steps[0].StateString, "too many lines") {
				t.Errorf("got %s: %q", o.results(), o.steps[0].StateString)
			}
			if got := o.log("stdio", "h"); !strings.Contains(got, "max lines") {
				t.Errorf("the log does not say why: %q", got)
			}
		})
	}
}

func TestShellCommandLogEnviron(t *testing.T) {
	t.Setenv("SOME_VARIABLE", "shown")
	r := newRig(t)
	for args, want := range map[string]bool{"": true, "logEnviron=True": true, "logEnviron=False": false} {
		if got := strings.Contains(r.run(one(`"true"`, args)).log("stdio", "h"), "SOME_VARIABLE=shown"); got != want {
			t.Errorf("%s: the environment is logged: %v", args, got)
		}
	}
}

func TestShellCommandInterruptSignal(t *testing.T) {
	r := newRig(t)
	o := r.runWith(one(`"trap 'echo got it; exit 7' INT; echo up; while :; do sleep 0.05; done"`, `interruptSignal="INT"`),
		func(b *run.Build) { b.Stop("stopped") })
	if o.results() != "shell=cancelled cancelled" || o.stdout() != "up\ngot it\n" {
		t.Errorf("got %s: %q", o.results(), o.stdout())
	}
}

func TestShellCommandSigtermTime(t *testing.T) {
	r := newRig(t)
	o := r.runWith(one(`"trap 'echo got it; exit 7' TERM; echo up; while :; do sleep 0.05; done"`, `sigtermTime=5`),
		func(b *run.Build) { b.Stop("stopped") })
	if o.results() != "shell=cancelled cancelled" || o.stdout() != "up\ngot it\n" || r.sent[0].SigtermTime != 5 {
		t.Errorf("got %s: %q, %v", o.results(), o.stdout(), r.sent[0].SigtermTime)
	}
}

func TestShellCommandInitialStdin(t *testing.T) {
	if got := newRig(t).run(one(`["cat"]`, `initialStdin=util.Interpolate("for %(prop:workername)s")`)).stdout(); got != "for w\n" {
		t.Errorf("got %q", got)
	}
}

func TestShellCommandDecodeRC(t *testing.T) {
	r := newRig(t)
	for src, want := range map[string]string{
		one(`"exit 3"`, ``): "shell=failure success", // flunkOnFailure is off here
		one(`"exit 3"`, `decodeRC={0: util.SUCCESS, 3: util.WARNINGS}`): "shell=warnings success",
		one(`"exit 3"`, `decodeRC={3: util.SUCCESS}`):                   "shell=success success",
		one(`"exit 0"`, `decodeRC={3: util.SUCCESS}`):                   "shell=failure success",
		one(`"exit 3"`, `decodeRC={3: util.SKIPPED}`):                   "shell=skipped success",
	} {
		src = strings.TrimSuffix(src, ")]") + ", flunkOnFailure=False)]"
		if got := r.run(src).results(); got != want {
			t.Errorf("%s: %s, want %s", src, got, want)
		}
	}
}

// A file that the worker cannot remove, a command that is not there and the like.
func TestShellCommandFailures(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for src, want := range map[string]string{
		one(`["/no/such/program"]`, ``):                                  "shell=failure failure",
		one(`"true"`, `workdir="`+file+`/x"`):                            "failure",
		one(`util.Property("none")`, ``):                                 "shell=exception exception",
		one(`["echo", util.Property("none")]`, ``):                       "shell=exception exception",
		one(`"true"`, `env={"A": util.Transform(lambda: 3)}`):            "shell=exception exception",
		one(`"true"`, `logfiles=util.Transform(lambda: {"stdio": "x"})`): "shell=exception exception",
	} {
		o := r.run(src)
		if got := o.results(); !strings.HasSuffix(got, want) && !strings.HasSuffix(got, "exception") {
			t.Errorf("%s: %s, want %s", src, got, want)
		}
		if strings.HasSuffix(want, "exception") && len(o.log("err.text", "t")) < 10 {
			t.Errorf("%s: the log says %q", src, o.log("err.text", "t"))
		}
	}
}
