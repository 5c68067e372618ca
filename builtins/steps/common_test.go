package steps

import (
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine/run"
)

const (
	bad  = `steps.ShellCommand(name="bad", command="exit 1"`
	warn = `steps.ShellCommand(name="warn", command="exit 2", decodeRC={0: util.SUCCESS, 2: util.WARNINGS}`
	next = `steps.ShellCommand(name="next", command="true")`
)

// expect runs files and compares steps' and builds' results.
func expect(t *testing.T, want map[string]string) {
	t.Helper()
	r := newRig(t)
	for src, results := range want {
		if got := r.run(src).results(); got != results {
			t.Errorf("%s\ngot  %s\nwant %s", src, got, results)
		}
	}
}

func TestShellCommandName(t *testing.T) {
	expect(t, map[string]string{
		`x = [steps.ShellCommand(command="true"), steps.ShellCommand(command="true")]`:              "shell=success shell_1=success success",
		`x = [steps.ShellCommand(name="make", command="true")]`:                                     "make=success success",
		`x = [steps.ShellCommand(name=util.Interpolate("on %(prop:workername)s"), command="true")]`: "on w=success success",
	})
}

func TestShellCommandHaltOnFailure(t *testing.T) {
	expect(t, map[string]string{
		`x = [` + bad + `), ` + next + `]`:                     "bad=failure next=success failure",
		`x = [` + bad + `, haltOnFailure=True), ` + next + `]`: "bad=failure failure",
	})
}

func TestShellCommandFlunkOnFailure(t *testing.T) {
	expect(t, map[string]string{
		`x = [` + bad + `)]`:                       "bad=failure failure",
		`x = [` + bad + `, flunkOnFailure=False)]`: "bad=failure success",
	})
}

func TestShellCommandFlunkOnWarnings(t *testing.T) {
	expect(t, map[string]string{
		`x = [` + warn + `)]`:                       "warn=warnings success",
		`x = [` + warn + `, flunkOnWarnings=True)]`: "warn=warnings failure",
	})
}

func TestShellCommandWarnOnWarnings(t *testing.T) {
	expect(t, map[string]string{`x = [` + warn + `, warnOnWarnings=True)]`: "warn=warnings warnings"})
}

func TestShellCommandWarnOnFailure(t *testing.T) {
	expect(t, map[string]string{
		`x = [` + bad + `, warnOnFailure=True, flunkOnFailure=False)]`: "bad=failure warnings",
		`x = [` + bad + `, warnOnFailure=True)]`:                       "bad=failure failure",
	})
}

func TestShellCommandAlwaysRun(t *testing.T) {
	const clean = `steps.ShellCommand(name="clean", command="true", alwaysRun=True)`
	expect(t, map[string]string{`x = [` + bad + `, haltOnFailure=True), ` + next + `, ` + clean + `]`: "bad=failure clean=success failure"})
}

func TestShellCommandDoStepIf(t *testing.T) {
	expect(t, map[string]string{
		`x = [` + bad + `, doStepIf=False)]`:                                                                             "bad=skipped success",
		`x = [` + bad + `, doStepIf=True)]`:                                                                              "bad=failure failure",
		`x = [` + bad + `, doStepIf=util.Property("none"))]`:                                                             "bad=skipped success",
		`x = [` + bad + `, doStepIf=lambda s: s.name == "good")]`:                                                        "bad=skipped success",
		`x = [` + bad + `, doStepIf=lambda s: s.getProperty("workername") == "w" and s.build.number > 0)]`:               "bad=failure failure",
		`x = [` + bad + `), ` + strings.TrimSuffix(next, ")") + `, doStepIf=lambda s: s.build.results == util.SUCCESS)]`: "bad=failure next=skipped failure",
		`x = [` + bad + `, doStepIf=lambda s: s.nonsense)]`:                                                              "bad=exception exception",
	})
}

func TestShellCommandHideStepIf(t *testing.T) {
	r := newRig(t)
	for arg, want := range map[string]bool{
		`hideStepIf=True`: true, `hideStepIf=False`: false,
		`hideStepIf=lambda results, s: results == util.FAILURE and s.name == "bad"`: true,
		`hideStepIf=lambda results, s: results == util.SUCCESS`:                     false,
	} {
		if got := r.run(`x = [` + bad + `, ` + arg + `)]`).steps[0].Hidden; got != want {
			t.Errorf("%s: hidden is %v", arg, got)
		}
	}
}

// texts runs one step and returns its state string while it runs and at its end, and
// the build's.
func texts(t *testing.T, r *rig, args string) (doing, done, build string) {
	t.Helper()
	o := r.runWith(one(`"echo up; sleep 60"`, args), func(b *run.Build) {
		row, err := r.step("shell")
		if err != nil {
			t.Error(err)
		}
		doing = row.StateString
		b.Stop("enough")
	})
	return doing, o.steps[0].StateString, o.build.StateString
}

func TestShellCommandDescription(t *testing.T) {
	r := newRig(t)
	for args, want := range map[string]string{
		``:                                "'echo up; ...'",
		`description="cooking"`:           "cooking",
		`description=["cooking", "soup"]`: "cooking soup",
		`description=util.Property("workername")`: "w",
	} {
		doing, done, _ := texts(t, r, args)
		if doing != want || done != want+" (cancelled)" {
			t.Errorf("%s: %q, %q", args, doing, done)
		}
	}
}

func TestShellCommandDescriptionDone(t *testing.T) {
	doing, done, _ := texts(t, newRig(t), `description="cooking", descriptionDone="cooked"`)
	if doing != "cooking" || done != "cooked (cancelled)" {
		t.Errorf("got %q, %q", doing, done)
	}
}

func TestShellCommandDescriptionSuffix(t *testing.T) {
	doing, done, _ := texts(t, newRig(t), `descriptionSuffix=["for", util.Property("workername")]`)
	if doing != "'echo up; ...' for w" || done != "'echo up; ...' for w (cancelled)" {
		t.Errorf("got %q, %q", doing, done)
	}
}

func TestShellCommandUpdateBuildSummaryPolicy(t *testing.T) {
	r := newRig(t)
	for src, want := range map[string]string{
		bad + `)`: "failed 'exit 1' (failure)",
		bad + `, updateBuildSummaryPolicy=False)`:                           "build failure",
		bad + `, updateBuildSummaryPolicy=[util.WARNINGS])`:                 "build failure",
		bad + `, updateBuildSummaryPolicy=[util.FAILURE])`:                  "failed 'exit 1' (failure)",
		`steps.ShellCommand(command="true", updateBuildSummaryPolicy=True)`: "build successful 'true'",
	} {
		if got := r.run(`x = [` + src + `]`).build.StateString; got != want {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
}

func TestShellCommandLocks(t *testing.T) {
	r := newRig(t)
	src := `lock = util.MasterLock("m")` + "\n" + one(`"true"`, `locks=[lock.access("exclusive")]`)
	lock := &config.Lock{Name: "m", MaxCount: 1}
	r.locks.Try(999, "someone", config.LockAccesses{{Lock: lock, Exclusive: true}}, "w")
	done := make(chan outcome)
	go func() { done <- r.run(src) }()
	r.await("steps/*/started", func() bool {
		row, err := r.step("shell")
		return err == nil && row.StateString == `acquiring lock "m" held by someone`
	})
	select {
	case o := <-done:
		t.Fatalf("the step did not wait: %s", o.results())
	default:
	}
	r.locks.ReleaseAll(999)
	if o := <-done; o.results() != "shell=success success" || o.steps[0].LocksAcquiredAt == 0 {
		t.Errorf("got %s, %+v", o.results(), o.steps[0])
	}
}

// What is wrong is said where it is written.
func TestShellCommandProblems(t *testing.T) {
	for args, want := range map[string]string{
		``: "missing", `command=3`: "list of strings", `command=[]`: "no words", `command=["a", 3]`: "item 2", `command=None`: "command",
		`command="a", env={"A": 3}`: `"A"`, `command="a", env=3`: "env",
		`command="a", timeout=-1`: "at least 0", `command="a", maxTime="x"`: "maxTime", `command="a", max_lines=0`: "at least 1",
		`command="a", interruptSignal="SIGKILL"`: "interruptSignal", `command="a", decodeRC=3`: "dict", `command="a", decodeRC={"a": 1}`: "decodeRC",
		`command="a", decodeRC={0: 77}`: "result", `command="a", logfiles={"a": 3}`: "path", `command="a", logfiles={"a": {"x": 1}}`: "unknown",
		`command="a", name=""`: "empty", `command="a", updateBuildSummaryPolicy=3`: "list of results",
		`command="a", updateBuildSummaryPolicy=[9]`: "item 1", `command="a", logEncoding="latin-1"`: "not supported yet",
		`command="a", useProgress=False`: "not supported yet", `command="a", progressMetrics=[]`: "not supported yet",
		`command="a", comand="b"`: "no such parameter", `command="a", want_stdout=3`: "want_stdout",
	} {
		_, ps := eval(t, `x = steps.ShellCommand(`+args+`)`)
		if len(ps) != 1 || !strings.Contains(ps.Error(), want) || ps[0].Pos.Line != 1 {
			t.Errorf("%s: %v", args, ps)
		}
	}
}

// The other classes of Buildbot are known, though not supported.
func TestUnsupportedSteps(t *testing.T) {
	for _, name := range []string{"SVN", "Compile", "VS2022", "HTTPStep", "Mock"} {
		_, ps := eval(t, `x = steps.`+name+`(a=1)`)
		if len(ps) != 1 || !strings.Contains(ps.Error(), "not supported yet") {
			t.Errorf("%s: %v", name, ps)
		}
	}
}
