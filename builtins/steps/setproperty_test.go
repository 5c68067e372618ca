package steps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"buildstar/engine/run"
)

func TestSetProperty(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]any{
		`"a", "b"`:                            "b",
		`property="a", value=3`:               int64(3),
		`property="a", value=None`:            nil,
		`property="a", value=["x", {"y": 1}]`: []any{"x", map[string]any{"y": int64(1)}},
		`property="a", value=util.Interpolate("<%(prop:workername)s>")`:       "<w>",
		`property=util.Transform(lambda: "a"), value=util.Property("nobody")`: nil,
		`property="a", value=lambda props: props.getProperty("workername")`:   "w",
	} {
		o := r.run(with("SetProperty", args))
		got, source := o.property("a")
		if !cmp.Equal(got, want) || source != "SetProperty" || o.results() != "SetProperty=success success" {
			t.Errorf("%s: %v from %q; %s", args, got, source, o.results())
		}
	}
	if o := r.run(with("SetProperty", `property=util.Interpolate("%(prop:none:-)s"), value=1`)); o.results() != "SetProperty=exception exception" {
		t.Errorf("an empty name: %s", o.results())
	}
}

func TestSetPropertySeenByTheNext(t *testing.T) {
	o := newRig(t).run(`x = [steps.SetProperty("a", "b", name="first"),
		steps.ShellCommand(command=["echo", util.Property("a")])]`)
	if o.stdout() != "b\n" {
		t.Errorf("got %q", o.stdout())
	}
	if _, source := o.property("a"); source != "first" {
		t.Errorf("source is %q, not the name of the step", source)
	}
}

func TestSetProperties(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]any{
		`{"a": 1, "b": util.Property("workername")}`: "w",
		`properties=lambda props: {"b": 5}`:          int64(5),
		``:                                           nil,
	} {
		o := r.run(with("SetProperties", args))
		if got, _ := o.property("b"); got != want || o.results() != "SetProperties=success success" {
			t.Errorf("%s: %v, %s", args, got, o.results())
		}
	}
	if o := r.run(with("SetProperties", `lambda props: 3`)); o.results() != "SetProperties=exception exception" {
		t.Errorf("no dict: %s", o.results())
	}
}

func TestSetPropertyFromCommandProperty(t *testing.T) {
	r := newRig(t)
	o := r.run(with("SetPropertyFromCommand", `command="echo ' x y '; echo err >&2", property="p"`))
	got, source := o.property("p")
	if got != "x y" || source != "setproperty" || o.log("property changes", "t") != "p: 'x y'\n" {
		t.Errorf("got %v from %s; %q", got, source, o.log("property changes", "t"))
	}
	if o.stdout() != " x y \n" || o.results() != "setproperty=success success" {
		t.Errorf("got %q, %s", o.stdout(), o.results())
	}
	o = r.run(with("SetPropertyFromCommand", `command="echo x; exit 1", property=util.Transform(lambda: "q")`))
	if got, source := o.property("q"); source != "" || o.results() != "setproperty=failure failure" {
		t.Errorf("a command that fails sets nothing: %v, %s", got, o.results())
	}
}

func TestSetPropertyFromCommandStrip(t *testing.T) {
	o := newRig(t).run(with("SetPropertyFromCommand", `command="echo ' x '", property="p", strip=False`))
	if got, _ := o.property("p"); got != " x \n" {
		t.Errorf("got %q", got)
	}
}

func TestSetPropertyFromCommandInclude(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]string{
		`includeStderr=True`:                                    "out\nerr",
		`includeStdout=False, includeStderr=True`:               "err",
		`includeStdout=False`:                                   "",
		`includeStderr=True, want_stderr=False`:                 "out",
		`includeStdout=True, includeStderr=False, usePTY=False`: "out",
	} {
		o := r.run(with("SetPropertyFromCommand", `command="echo out; echo err >&2", property="p", `+args))
		if got, _ := o.property("p"); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

func TestSetPropertyFromCommandExtract(t *testing.T) {
	r := newRig(t)
	const fn = "def f(rc, out, err):\n    return {'rc': rc, 'out': out.split(), 'err': err, 'who': util.Property('workername')}\n"
	for command, rc := range map[string]int64{`"echo a b; echo c >&2"`: 0, `"echo a b; echo c >&2; exit 3"`: 3} {
		o := r.run(fn + with("SetPropertyFromCommand", `command=`+command+`, extract_fn=f`))
		got := map[string]any{}
		for _, name := range []string{"rc", "out", "err", "who"} {
			got[name], _ = o.property(name)
		}
		want := map[string]any{"rc": rc, "out": []any{"a", "b"}, "err": "c\n", "who": "w"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s\n%s", command, d, o.log("err.text", "t"))
		}
		if (o.results() == "setproperty=success success") != (rc == 0) {
			t.Errorf("%s: %s", command, o.results())
		}
	}
	o := r.run(with("SetPropertyFromCommand", `command="echo a", includeStdout=False, extract_fn=lambda rc, out, err: {"o": out}`))
	if got, _ := o.property("o"); got != "" {
		t.Errorf("without stdout: %q", got)
	}
	for _, fn := range []string{`lambda rc, out, err: 3`, `lambda rc, out, err: {}["x"]`, `lambda rc, out, err: {"": 1}`} {
		o := r.run(with("SetPropertyFromCommand", `command="true", extract_fn=`+fn))
		if o.results() != "setproperty=exception exception" || len(o.log("err.text", "t")) < 10 {
			t.Errorf("%s: %s, %q", fn, o.results(), o.log("err.text", "t"))
		}
	}
}

func TestSetPropertyFromCommandStopped(t *testing.T) {
	o := newRig(t).runWith(with("SetPropertyFromCommand", `command="echo up; sleep 60", extract_fn=lambda rc, out, err: {"p": out}`),
		func(b *run.Build) { b.Stop("enough") })
	if got, source := o.property("p"); source != "" || o.results() != "setproperty=cancelled cancelled" {
		t.Errorf("got %v, %s", got, o.results())
	}
}

func TestSetPropertyFromCommandTooMuch(t *testing.T) {
	var c capture
	c.stdout = true
	for range 17 {
		c.take('o', make([]byte, 1<<20))
	}
	if c.err == nil || c.o.Len() != maxCapture {
		t.Errorf("%v, %d bytes", c.err, c.o.Len())
	}
}

func TestAssert(t *testing.T) {
	expect(t, map[string]string{
		with("Assert", `check=util.Property("workername").eq("w")`): "Assert=success success",
		with("Assert", `util.Property("workername").eq("x")`):       "Assert=failure failure",
		with("Assert", `util.Property("none")`):                     "Assert=failure failure",
		with("Assert", `lambda props: props.hasProperty("none")`):   "Assert=failure failure",
		with("Assert", `lambda props: fail("x")`):                   "Assert=exception exception",
	})
}

func TestLogRenderable(t *testing.T) {
	o := newRig(t).run(with("LogRenderable", `content={"a": [util.Property("workername"), None]}`))
	if got := o.log("Output", "t"); got != "{'a': ['w', None]}\n" || !strings.HasPrefix(o.results(), "LogRenderable=success") {
		t.Errorf("got %q, %s", got, o.results())
	}
}
