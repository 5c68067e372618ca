package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// family is three levels of builds that wait for those below them, on each kind of
// worker. Each of the two in the middle asks for all of the lowest: half of those wait
// until the others are done. They sleep until the file go is there.
const family = `
c = {}
c["workers"] = [worker.Worker("stock", "s"), worker.Worker("own", "o"), worker.LocalWorker("local")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}

def builder(name, worker, *steps):
    return util.BuilderConfig(name = name + "-" + worker, workernames = [worker], factory = util.BuildFactory(list(steps)))

lowest = steps.ShellCommand(command = ["sh", "-c", "while ! test -e %s/go; do sleep 0.1; done" % basedir], logEnviron = False)
c["builders"] = (
    [builder("top", "own", steps.Trigger(schedulerNames = ["middle"], waitForFinish = True))] +
    [builder("middle", w, steps.Trigger(schedulerNames = ["low"], waitForFinish = True)) for w in ["stock", "local"]] +
    [builder("low", w.name, lowest) for w in c["workers"]]
)
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["top-own"])] + [
    schedulers.Triggerable(name = level, builderNames = [b.name for b in c["builders"] if b.name.startswith(level)])
    for level in ["middle", "low"]
]
`

type familyRequest struct {
	request
	BuilderID int64
	WaitedFor bool `json:"waited_for"`
}

// grow starts the family and waits until all of it is there.
func (m *master) grow() (request int64) {
	m.t.Helper()
	m.start()
	m.startStock("stock", "s")
	m.startOwn("own", "o")
	for _, w := range []string{"stock", "own", "local"} {
		m.connected(w)
	}
	request = m.force(m.builders()["top-own"], nil)
	m.waitFor("the whole family", m.grown)
	return request
}

// grown reports whether three of the lowest run and three wait.
func (m *master) grown() bool {
	return len(get[request](m, "buildrequests?complete=false&claimed=false", "buildrequests")) == 3 && m.lowest() == 3
}

// lowest counts the processes of the lowest builds.
func (m *master) lowest() (n int) {
	m.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range files {
		line, err := os.ReadFile(f) // the process may be gone
		if err == nil && bytes.HasPrefix(line, []byte("sh\x00-c\x00while")) && bytes.Contains(line, []byte(m.dir+"/go")) {
			n++
		}
	}
	return n
}

// results counts the results of the requests of each level.
func (m *master) results() map[string]int {
	m.t.Helper()
	names := map[int64]string{}
	for name, id := range m.builders() {
		names[id], _, _ = strings.Cut(name, "-")
	}
	n := map[string]int{}
	for _, r := range get[familyRequest](m, "buildrequests", "buildrequests") {
		level := names[r.BuilderID]
		if r.WaitedFor != (level != "top") {
			m.t.Errorf("waited_for of %+v", r)
		}
		n[fmt.Sprintf("%s %d", level, r.Results)]++
	}
	return n
}

// TestTriggerTreeStopped stops the build at the top half-way: all below it ends
// cancelled, nothing waits, and no process is left.
func TestTriggerTreeStopped(t *testing.T) {
	m := newMaster(t, family)
	id := m.grow()
	top := one[build](m, fmt.Sprintf("buildrequests/%d/builds", id), "builds")
	if top.StateString != "waiting for builds it triggered" {
		t.Errorf("the build at the top says %q", top.StateString)
	}
	if n := len(get[build](m, fmt.Sprintf("builds/%d/triggered_builds", top.ID), "builds")); n != 2 {
		t.Errorf("%d triggered builds", n)
	}
	m.post(fmt.Sprintf("builds/%d", top.ID), "stop", map[string]any{"reason": "enough"}, nil)
	checkResult(t, m.finished(id), 6)
	if got := fmt.Sprint(m.results()); got != "map[low 6:6 middle 6:2 top 6:1]" {
		t.Error(got)
	}
	for _, b := range get[build](m, "builds", "builds") {
		checkResult(t, b, 6)
	}
	m.waitFor("the processes are gone", func() bool { return m.lowest() == 0 })
}

// TestTriggerTreeKilled kills the master half-way. Builds that were lost trigger
// theirs anew; what the lost ones waited for is cancelled, and nothing is built twice.
func TestTriggerTreeKilled(t *testing.T) {
	m := newMaster(t, family)
	id := m.grow()
	m.kill()
	m.start()
	m.waitFor("the whole family again", m.grown)
	if err := os.WriteFile(filepath.Join(m.dir, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	checkResult(t, m.finished(id), 0)
	n := m.results()
	for _, level := range []string{"top", "middle", "low"} {
		delete(n, level+" 6")
	}
	if got := fmt.Sprint(n); got != "map[low 0:6 middle 0:2 top 0:1]" {
		t.Error(got)
	}
	m.waitFor("the processes are gone", func() bool { return m.lowest() == 0 })
	if open := get[build](m, "builds?complete=false", "builds"); len(open) > 0 {
		t.Errorf("still running: %v", open)
	}
}
