package steps

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// minimal is how each class is called with nothing but what it needs, and then ends
// well in a build whose master and worker have a file f.
var minimal = map[string]string{
	"ShellCommand": `command="true"`, "ShellSequence": `commands=[util.ShellArg("true")]`, "Configure": `command="true"`,
	"TreeSize": ``, "RemovePYCs": ``, "MasterShellCommand": `command="true"`,
	"SetProperty": `property="a", value=1`, "SetProperties": ``, "SetPropertyFromCommand": `command="true", property="a"`,
	"Assert": `check=True`, "LogRenderable": `content=1`,
	"MakeDirectory": `dir="d"`, "RemoveDirectory": `dir="d"`, "CopyDirectory": `src="build", dest="d"`, "FileExists": `file="build/f"`,
	"FileUpload": `workersrc="f", masterdest="x"`, "DirectoryUpload": `workersrc=".", masterdest="d"`,
	"MultipleFileUpload": `workersrcs="f", masterdest="d"`,
	"FileDownload":       `mastersrc="f", workerdest="x"`, "StringDownload": `s="x", workerdest="x"`,
	"JSONStringDownload": `o=1, workerdest="x"`, "JSONPropertiesDownload": `workerdest="x"`,
	"Trigger": `schedulerNames=["s"]`,
	"Git":     `repourl="../../origin"`, // from the work tree
}

// classes calls fn with each class and its minimal arguments, followed by a comma.
func classes(t *testing.T, fn func(t *testing.T, c *spec.Class, args string)) {
	t.Helper()
	for _, c := range Module.Classes {
		args, ok := minimal[c.Name]
		if !ok {
			t.Errorf("%s is not in the list", c.Name)
		}
		if args != "" {
			args += ", "
		}
		t.Run(c.Name, func(t *testing.T) { fn(t, c, args) })
	}
}

// The class-level defaults of docs/requirements.md C4.
func TestEveryStepDefaults(t *testing.T) {
	names := map[string]string{
		"ShellCommand": "shell", "Configure": "configure", "TreeSize": "treesize", "RemovePYCs": "remove_pyc",
		"SetPropertyFromCommand": "setproperty", "FileUpload": "upload", "DirectoryUpload": "upload", "MultipleFileUpload": "upload",
		"FileDownload": "download", "StringDownload": "string_download", "JSONStringDownload": "json_download",
		"JSONPropertiesDownload": "json_properties_download", "Trigger": "trigger", "Git": "git",
	}
	halts := " Git Configure MasterShellCommand MakeDirectory RemoveDirectory CopyDirectory FileExists "
	classes(t, func(t *testing.T, c *spec.Class, args string) {
		step := parse(t, with(c.Name, args))
		common := step[0].(run.Step).Common()
		want := names[c.Name]
		if want == "" {
			want = c.Name
		}
		name, _ := common.Name.Plain()
		if name != want || common.HaltOnFailure != strings.Contains(halts, " "+c.Name+" ") || !common.FlunkOnFailure ||
			common.WarnOnFailure || common.FlunkOnWarnings || common.WarnOnWarnings || common.AlwaysRun {
			t.Errorf("name %q, %+v", name, common)
		}
		if step[0].Type() != c.Name || step[0].Pos().Line != 1 {
			t.Errorf("type %s at %v", step[0].Type(), step[0].Pos())
		}
	})
}

// Every step takes the common arguments and hands them to the build, which treats all
// steps alike.
func TestEveryStepPassesOn(t *testing.T) {
	classes(t, func(t *testing.T, c *spec.Class, args string) {
		for _, flag := range []bool{true, false} {
			py := map[bool]string{true: "True", false: "False"}[flag]
			text := fmt.Sprintf(`name="n", haltOnFailure=%s, flunkOnFailure=%s, flunkOnWarnings=%s, warnOnWarnings=%s, warnOnFailure=%s,
				alwaysRun=%s, doStepIf=%s, hideStepIf=%s, description="a", descriptionDone=["b", "c"], descriptionSuffix="d",
				updateBuildSummaryPolicy=%s, locks=[util.MasterLock("l").access("exclusive")], workdir="w"`, py, py, py, py, py, py, py, py, py)
			common := parse(t, with(c.Name, args+text))[0].(run.Step).Common()
			got := []any{common.HaltOnFailure, common.FlunkOnFailure, common.FlunkOnWarnings, common.WarnOnWarnings, common.WarnOnFailure,
				common.AlwaysRun, common.UpdateBuildSummaryPolicy}
			doit, _ := common.DoStepIf.Plain()
			hide, _ := common.HideStepIf.Plain()
			for i, v := range append(got, doit, hide) {
				if v != flag {
					t.Errorf("flag %d is %v", i, v)
				}
			}
			name, _ := common.Name.Plain()
			a, _ := common.Description.Plain()
			b, _ := common.DescriptionDone.Plain()
			d, _ := common.DescriptionSuffix.Plain()
			locks, _ := common.Locks.Plain()
			w, _ := common.Workdir.Plain()
			if got := fmt.Sprint(name, a, b, d, len(locks), w); got != "nab cd1w" {
				t.Errorf("got %s", got)
			}
		}
	})
}

// Every step runs, is skipped, hidden and renamed.
func TestEveryStepRuns(t *testing.T) {
	r := newRig(t)
	newOrigin(t, filepath.Join(r.there, "origin"))
	classes(t, func(t *testing.T, c *spec.Class, args string) {
		put(t, r.builddir("build", "f"), nil)
		put(t, r.master("f"), nil)
		r.t = t
		o := r.run(with(c.Name, args+`name="n", hideStepIf=True, descriptionDone="done"`))
		if o.results() != "n=success success" || !o.steps[0].Hidden || !strings.HasPrefix(o.steps[0].StateString, "done") {
			t.Errorf("%s, %q: %s%s", o.results(), o.steps[0].StateString, o.log("stdio", "he"), o.log("err.text", "t"))
		}
		if o := r.run(with(c.Name, args+`doStepIf=False`)); o.steps[0].Results != config.Skipped {
			t.Errorf("not skipped: %s", o.results())
		}
	})
}

func TestEveryStepProblems(t *testing.T) {
	classes(t, func(t *testing.T, c *spec.Class, args string) {
		for bad, want := range map[string]string{
			`nonsense=1`: "no such parameter", `logEncoding="x"`: "not supported yet", `useProgress=False`: "not supported yet",
			`progressMetrics=[]`: "not supported yet", `name=""`: "empty", `updateBuildSummaryPolicy=3`: "list of results", `workdir=3`: "workdir",
		} {
			if _, ps := eval(t, with(c.Name, args+bad)); len(ps) != 1 || !strings.Contains(ps.Error(), want) {
				t.Errorf("%s: %v", bad, ps)
			}
		}
	})
	for src, want := range map[string]string{
		with("SetProperty", `"", 1`):                                                "empty",
		with("SetProperty", `"a"`):                                                  "value",
		with("SetProperties", `3`):                                                  "dict",
		with("MakeDirectory", `""`):                                                 "empty",
		with("RemoveDirectory", `dir=""`):                                           "empty",
		with("FileExists", ``):                                                      "file",
		with("CopyDirectory", `"a", ""`):                                            "dest",
		with("CopyDirectory", `"a", "b", timeout=-1`):                               "at least 0",
		with("SetPropertyFromCommand", `command="x"`):                               "property or extract_fn",
		with("SetPropertyFromCommand", `command="x", property="a", extract_fn=len`): "not both",
		with("SetPropertyFromCommand", `command="x", property=""`):                  "empty",
		with("SetPropertyFromCommand", `property="a"`):                              "command",
		with("SetPropertyFromCommand", `command="x", extract_fn=3`):                 "function",
		with("SetPropertyFromCommand", `command="x", extract_fn=lambda: {}`):        "argument",
		with("ShellSequence", ``):                                                   "commands",
		with("ShellSequence", `["true"]`):                                           "util.ShellArg",
		with("ShellSequence", `[util.ShellArg()]`):                                  "command",
		with("ShellSequence", `[util.ShellArg(command=3)]`):                         "list of strings",
		with("ShellSequence", `[util.ShellArg(command="a", nonsense=3)]`):           "no such parameter",
		with("FileUpload", `"a"`):                                                   "masterdest",
		with("FileUpload", `"", "b"`):                                               "empty",
		with("FileUpload", `"a", "b", mode="644"`):                                  "mode",
		with("FileUpload", `"a", "b", mode=0o10000`):                                "at most",
		with("FileUpload", `"a", "b", maxsize=-1`):                                  "at least 0",
		with("FileUpload", `"a", "b", blocksize=0`):                                 "at least 1",
		with("DirectoryUpload", `"a", "b", compress="zip"`):                         "gz or bz2",
		with("MultipleFileUpload", `[], "b"`):                                       "workersrcs",
		with("MultipleFileUpload", `[3], "b"`):                                      "list of strings",
		with("FileDownload", `"a", ""`):                                             "empty",
		with("FileDownload", `"a"`):                                                 "workerdest",
		with("StringDownload", `3, "b"`):                                            "string",
		with("MasterShellCommand", `"true", usePTY=True`):                           "not supported yet",
		with("MasterShellCommand", `"true", env={"A": 3}`):                          `"A"`,
	} {
		if _, ps := eval(t, src); len(ps) != 1 || !strings.Contains(ps.Error(), want) {
			t.Errorf("%s: %v", src, ps)
		}
	}
}

// Every step that runs a command on the worker takes the arguments of ShellCommand.
func TestEveryShellPassesOn(t *testing.T) {
	r := newRig(t)
	for class, args := range map[string]string{
		"ShellSequence": `commands=[util.ShellArg("cat", warnOnWarnings=True)]`, "Configure": `command="cat"`, "TreeSize": `command="cat"`,
		"RemovePYCs": `command="cat"`, "SetPropertyFromCommand": `command="cat", property="p"`,
	} {
		o := r.run(with(class, args+`, env={"A": "b"}, want_stdout=False, want_stderr=False, usePTY=True, logfiles={"f": "f.log"},
			lazylogfiles=True, timeout=7, maxTime=8, max_lines=9, logEnviron=False, interruptSignal="INT", sigtermTime=3,
			initialStdin="text", decodeRC={0: util.WARNINGS}`))
		c := r.sent[len(r.sent)-1]
		delete(c.Args, "workdir")
		want := map[string]any{
			"command": "cat", "env": map[string]any{"A": "b"}, "want_stdout": false, "want_stderr": false, "usePTY": true,
			"logfiles": map[string]any{"f": map[string]any{"filename": "f.log", "follow": false}}, "timeout": int64(7), "maxTime": int64(8),
			"max_lines": int64(9), "logEnviron": false, "interruptSignal": "INT", "sigtermTime": int64(3), "initial_stdin": "text",
		}
		if d := cmp.Diff(want, c.Args); d != "" || c.Name != "shell" {
			t.Errorf("%s: %s", class, d)
		}
		if o.steps[0].Results != config.Warnings || len(o.names()) > 2 {
			t.Errorf("%s: decodeRC and lazylogfiles: %s, %v", class, o.results(), o.names())
		}
	}
}
