package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// outliving is a build with a step of each kind that a restart of the master may fall
// into. Each of them goes on once a file go-NAME is there.
const outliving = `
c = {}
c["workers"] = [worker.Worker("own", "o"), worker.Worker("child", "c")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}

def gate(name, before, after):
    return "%s; while ! test -e {GATES}/go-%s; do sleep 0.05; done; %s" % (before, name, after)

f = util.BuildFactory([
    steps.Git(name = "git", repourl = "ext::{GATES}/pack", config = {"protocol.ext.allow": "always"}, progress = False, haltOnFailure = True),
    steps.ShellCommand(name = "first", command = "seq 20000; head -c 6000000 /dev/urandom > big; mkdir dir; cp big dir/a; echo b > dir/b"),
    steps.ShellCommand(name = "shell", command = gate("shell", "seq 3000; echo in the file > log.txt", "seq 5; echo more >> log.txt; sleep 0.7; echo done >&2"),
        logfiles = {"log": "log.txt"}, lazylogfiles = True),
    steps.SetPropertyFromCommand(name = "property", command = gate("property", "echo one", "echo two"), property = "answer"),
    steps.FileUpload(name = "upload", workersrc = "big", masterdest = "got/big", blocksize = 2000),
    steps.DirectoryUpload(name = "directory", workersrc = "dir", masterdest = "got/dir", blocksize = 2000),
    steps.FileDownload(name = "download", mastersrc = "got/big", workerdest = "back", blocksize = 2000),
    steps.Trigger(name = "trigger", schedulerNames = ["below"], waitForFinish = True),
    steps.ShellCommand(name = "last", command = ["sh", "-c", util.Interpolate("echo '%(prop:answer)s'; cmp big back && echo same")]),
])
c["builders"] = [
    util.BuilderConfig(name = "b", workernames = ["own"], factory = f),
    util.BuilderConfig(name = "below", workernames = ["child"], factory = util.BuildFactory([
        steps.ShellCommand(name = "low", command = gate("trigger", "echo low", "echo high")),
    ])),
]
c["schedulers"] = [
    schedulers.ForceScheduler(name = "force", builderNames = ["b"]),
    schedulers.Triggerable(name = "below", builderNames = ["below"]),
]
`

// phases are the gates, in the order of the steps, and those whose end cannot be kept
// back, so that the kill comes when they are in the middle.
var phases = []string{"git", "shell", "property", "upload", "directory", "download", "trigger"}

// passing is a master whose builds have to pass gates.
type passing struct {
	*master
	gates string
}

// packed is a repository whose only transport waits at a gate.
func packed(t *testing.T) (gates string) {
	t.Helper()
	gates = t.TempDir()
	repo := filepath.Join(gates, "repo")
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch=main", repo}, {"-C", repo, "-c", "user.name=a", "-c", "user.email=a@b",
		"commit", "--quiet", "--allow-empty", "--message", "one"}} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	script := fmt.Sprintf("#!/bin/sh\ntouch %[1]s/at-git\nwhile ! test -e %[1]s/go-git; do sleep 0.05; done\nexec git upload-pack %[2]s\n", gates, repo)
	if err := os.WriteFile(filepath.Join(gates, "pack"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return gates
}

func newPassing(t *testing.T, gates string) *passing {
	p := &passing{newMaster(t, strings.ReplaceAll(outliving, "{GATES}", gates)), gates}
	for _, name := range append(slices.Clone(phases), "at") {
		os.Remove(filepath.Join(gates, "go-"+name))
	}
	os.Remove(filepath.Join(gates, "at-git"))
	p.start()
	p.startOwn("own", "o")
	p.startOwn("child", "c")
	p.connected("own")
	p.connected("child")
	return p
}

func (p *passing) open(name string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.gates, "go-"+name), nil, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// in waits until the build is in the middle of a phase.
func (p *passing) in(phase string) {
	p.t.Helper()
	p.waitFor("phase "+phase, func() bool {
		switch phase {
		case "git":
			_, err := os.Stat(filepath.Join(p.gates, "at-git"))
			return err == nil
		case "upload", "directory":
			parts, err := filepath.Glob(filepath.Join(p.dir, "got", ".upload-*"))
			return err == nil && len(parts) > 0 && p.runs(phase)
		case "download":
			return p.runs(phase)
		case "trigger":
			return len(get[build](p.master, "builds?complete=false", "builds")) == 2
		}
		return p.runs(phase)
	})
}

// runs reports whether a step runs.
func (p *passing) runs(name string) bool {
	steps, err := tryGet[step](p.master, "builds/1/steps", "steps")
	if err != nil || len(steps) == 0 {
		return false // the build has not begun
	}
	last := steps[len(steps)-1]
	return last.Name == name && !last.Complete
}

// picture is all that a build left behind, but for times, ids and the paths of the test.
func (p *passing) picture(b build) string {
	p.t.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "build %d: %s\n", *b.Results, b.StateString)
	type full struct {
		step
		URLs   []struct{ Name string } `json:"urls"`
		Hidden bool
	}
	for _, s := range get[full](p.master, fmt.Sprintf("builds/%d/steps", b.ID), "steps") {
		fmt.Fprintf(&out, "step %d %s: %d %s %v %t\n", s.Number, s.Name, *s.Results, s.StateString, s.URLs, s.Hidden)
		for _, l := range get[logRow](p.master, fmt.Sprintf("steps/%d/logs", s.StepID), "logs") {
			fmt.Fprintf(&out, "log %s %d %t\n%s", l.Name, l.NumLines, l.Complete, p.raw(l.LogID))
		}
	}
	props := get[map[string][2]any](p.master, fmt.Sprintf("builds/%d/properties", b.ID), "properties")
	text, err := json.Marshal(props)
	if err != nil {
		p.t.Fatal(err)
	}
	out.Write(text)
	return changing.ReplaceAllStringFunc(out.String(), func(s string) string {
		if strings.HasPrefix(s, "elapsedTime") {
			return "elapsedTime"
		}
		return "DIR"
	})
}

var changing = regexp.MustCompile(`elapsedTime=[0-9.]+|/[^\s'"]*/TestKilledInEachPhase[^/\s'"]*/[0-9]+`)

// TestKilledInEachPhase kills the master in the middle of each kind of step, and changes
// the configuration while it is down. What the build leaves behind is what an undisturbed
// one does, to the byte.
func TestKilledInEachPhase(t *testing.T) {
	gates := packed(t)
	undisturbed := newPassing(t, gates)
	for _, phase := range phases {
		undisturbed.open(phase)
	}
	b := undisturbed.finished(undisturbed.force(undisturbed.builders()["b"], nil))
	checkResult(t, b, 0)
	want := undisturbed.picture(b)
	undisturbed.stop()

	for _, phase := range append(slices.Clone(phases), "stopped") {
		t.Run(phase, func(t *testing.T) {
			end := (*master).kill
			if phase == "stopped" {
				phase, end = "shell", func(m *master) { m.stop() }
			}
			p := newPassing(t, gates)
			for _, other := range phases {
				if other != phase {
					p.open(other)
				}
			}
			id := p.force(p.builders()["b"], nil)
			p.in(phase)
			end(p.master)
			p.configure(strings.ReplaceAll(strings.ReplaceAll(outliving, "{GATES}", gates), `"seq 3000;`, `"echo changed;`))
			if phase == "shell" { // it ends while nobody is there
				p.open(phase)
			}
			p.start()
			p.open(phase)
			b := p.finished(id)
			if got := p.picture(b); got != want {
				t.Errorf("the build is another one:\n%s", difference(got, want))
			}
			type interruption struct {
				Cause   string
				EndedAt *int64 `json:"ended_at"`
			}
			gaps := get[interruption](p.master, fmt.Sprintf("builds/%d/interruptions", b.ID), "interruptions")
			if len(gaps) != 1 || gaps[0].Cause != "master" || gaps[0].EndedAt == nil {
				t.Errorf("interruptions: %+v", gaps)
			}
			for _, file := range []string{"got/big", "got/dir/a", "got/dir/b"} {
				if _, err := os.Stat(filepath.Join(p.dir, file)); err != nil {
					t.Error(err)
				}
			}
			if parts, err := filepath.Glob(filepath.Join(p.dir, "got", ".upload-*")); err != nil || len(parts) > 0 {
				t.Errorf("left over: %v, %v", parts, err)
			}
			if n := len(get[build](p.master, "builds", "builds")); n != 2 {
				t.Errorf("%d builds, want 2", n)
			}
		})
	}
}

// difference returns the first lines in which two texts differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n%s\nwant:\n%s", i, strings.Join(g[i:min(i+8, len(g))], "\n"), strings.Join(w[i:min(i+8, len(w))], "\n"))
		}
	}
	return fmt.Sprintf("%d lines, want %d:\n%s", len(g), len(w), strings.Join(append(g, w...)[min(len(g), len(w)):], "\n"))
}

const onMaster = `
c = {}
c["workers"] = [worker.Worker("own", "o")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["own"], factory = util.BuildFactory([
    steps.MasterShellCommand(command = "test -e again || { echo $$ > pid.part; mv pid.part pid; sleep 600; }"),
]))]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
`

// TestMasterCommandKilled kills the master while it runs a command of a step: that does
// not outlive it, and the build is built again.
func TestMasterCommandKilled(t *testing.T) {
	m := newMaster(t, onMaster)
	m.start()
	m.startOwn("own", "o")
	m.connected("own")
	id := m.force(m.builders()["b"], nil)
	var pid string
	m.waitFor("the command runs", func() bool {
		data, err := os.ReadFile(filepath.Join(m.dir, "pid"))
		pid = strings.TrimSpace(string(data))
		return err == nil
	})
	m.kill()
	if err := os.WriteFile(filepath.Join(m.dir, "again"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	m.start()
	m.waitFor("the process is gone", func() bool {
		_, err := os.Stat("/proc/" + pid)
		return err != nil
	})
	checkResult(t, m.finished(id), 0)
	builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", id), "builds")
	if len(builds) != 2 || !strings.Contains(builds[0].StateString, "the master ended while step") {
		t.Errorf("builds: %+v", builds)
	}
}
