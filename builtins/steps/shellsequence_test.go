package steps

import (
	"slices"
	"strings"
	"testing"

	"buildstar/engine/run"
)

func TestShellSequenceCommands(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]string{
		`commands=[util.ShellArg(command="echo a"), util.ShellArg(command=["echo", util.Property("workername")])]`: "a\nw\n",
		`[util.ShellArg("echo a"), util.ShellArg(""), util.ShellArg([]), util.ShellArg(util.Property("none"))]`:    "a\n",
		`commands=lambda props: [util.ShellArg("echo " + props.getProperty("workername"))]`:                        "w\n",
		`commands=[util.ShellArg("echo $A; pwd | tail -c 5")], env={"A": "b"}, workdir="else"`:                     "b\nelse\n",
	} {
		src := strings.ReplaceAll(with("ShellSequence", args), "lambda props: [util.ShellArg", "lambda props: [util.ShellArg")
		if o := r.run(src); o.stdout() != want || o.results() != "ShellSequence=success success" {
			t.Errorf("%s: %q, %s; %s", args, o.stdout(), o.results(), o.log("err.text", "t"))
		}
	}
	for _, args := range []string{`commands=lambda props: ["a"]`, `commands=lambda props: 3`, `commands=[util.ShellArg(util.Transform(lambda: 3))]`} {
		if o := r.run(with("ShellSequence", args)); o.results() != "ShellSequence=exception exception" {
			t.Errorf("%s: %s", args, o.results())
		}
	}
}

func TestShellArgLogname(t *testing.T) {
	o := newRig(t).run(with("ShellSequence", `[util.ShellArg("echo a", logname="x"), util.ShellArg("echo b"),
		util.ShellArg("echo c", logname=util.Interpolate("x")), util.ShellArg("echo d")]`))
	if !slices.Equal(o.names(), []string{"x", "stdio"}) || o.log("x", "o") != "a\nc\n" || o.stdout() != "b\nd\n" {
		t.Errorf("logs %v: %q, %q", o.names(), o.log("x", "o"), o.stdout())
	}
}

// The result of a sequence is made of those of its commands.
func TestShellArgResults(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]string{
		``:                     "failure a z",
		`haltOnFailure=True`:   "failure a",
		`flunkOnFailure=False`: "success a z",
		`flunkOnFailure=False, warnOnFailure=True`: "warnings a z",
		`flunkOnFailure=False, haltOnFailure=True`: "success a",
	} {
		o := r.run(with("ShellSequence", `[util.ShellArg("echo a; exit 1", `+args+`), util.ShellArg("echo z")]`))
		if got := o.steps[0].Results.String() + " " + strings.Join(strings.Fields(o.stdout()), " "); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
	for args, want := range map[string]string{`haltOnFailure=True`: "success", `warnOnWarnings=True`: "warnings", `flunkOnWarnings=True`: "failure"} {
		o := r.run(with("ShellSequence", `[util.ShellArg("exit 2", `+args+`)], decodeRC={0: util.SUCCESS, 2: util.WARNINGS}`))
		if got := o.steps[0].Results.String(); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
}

func TestShellSequenceStopped(t *testing.T) {
	o := newRig(t).runWith(with("ShellSequence", `[util.ShellArg("echo up; sleep 60"), util.ShellArg("echo never")]`),
		func(b *run.Build) { b.Stop("enough") })
	if o.stdout() != "up\n" || o.results() != "ShellSequence=cancelled cancelled" {
		t.Errorf("got %q, %s", o.stdout(), o.results())
	}
}

func TestConfigure(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "configure"), []byte("#!/bin/sh\necho configured $A\n"))
	o := r.run(`x = [steps.Configure(env={"A": "b"}), ` + next + `]`)
	if o.results() != "configure=failure failure" { // it may not be executed
		t.Errorf("got %s: %q", o.results(), o.log("stdio", "hoe"))
	}
	r.run(`x = [steps.ShellCommand(command="chmod +x configure")]`)
	o = r.run(`x = [steps.Configure(env={"A": "b"}), ` + next + `]`)
	if o.stdout() != "configured b\n" || o.results() != "configure=success next=success success" || o.steps[0].StateString != "configure" {
		t.Errorf("got %q, %s, %q", o.stdout(), o.results(), o.steps[0].StateString)
	}
	if o := r.run(with("Configure", `command=["echo", "other"], description="x", descriptionDone="y"`)); o.stdout() != "other\n" || o.steps[0].StateString != "y" {
		t.Errorf("got %q, %q", o.stdout(), o.steps[0].StateString)
	}
}

func TestRemovePYCs(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a.pyc", "sub/b.pyc", "sub/b.py"} {
		put(t, r.builddir("build", name), nil)
	}
	if o := r.run(with("RemovePYCs", ``)); listing(t, r.builddir("build")) != "sub/ sub/b.py" || o.results() != "remove_pyc=success success" {
		t.Errorf("got %s, %s", listing(t, r.builddir("build")), o.results())
	}
	if o := r.run(with("RemovePYCs", `command="echo other"`)); o.stdout() != "other\n" {
		t.Errorf("got %q", o.stdout())
	}
}

func TestTreeSize(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "f"), randomBytes(1<<20))
	o := r.run(with("TreeSize", ``))
	got, source := o.property("tree-size-KiB")
	if n, ok := got.(int64); !ok || n < 1024 || n > 1200 || source != "treesize" || o.results() != "treesize=success success" {
		t.Errorf("got %v from %q, %s", got, source, o.results())
	}
	if o := r.run(with("TreeSize", `command="echo none"`)); o.results() != "treesize=warnings success" {
		t.Errorf("no number: %s", o.results())
	}
	if o := r.run(with("TreeSize", `command="echo 3; exit 1"`)); o.results() != "treesize=failure failure" {
		t.Errorf("it fails: %s", o.results())
	}
}
