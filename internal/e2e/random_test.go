package e2e

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	kills = flag.Int("kills", 6, "how many times TestRandomKills kills something")
	seed  = flag.Uint64("seed", 1, "what TestRandomKills begins with")
)

const (
	crowdWorkers  = 4
	crowdBuilders = 20
	crowdLines    = 40
)

// crowded is twenty builders on four workers of ours. Each step prints numbered lines
// with pauses, one of them on both streams and into a file.
const crowded = `
c = {}
names = ["w%d" % i for i in range(4)]
c["workers"] = [worker.Worker(w, "p") for w in names]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
count = "i=0; while [ $i -lt 40 ]; do echo line $i; %s sleep 0.05; i=$((i+1)); done"
f = util.BuildFactory([
    steps.ShellCommand(name = "one", command = "rm -f log.txt; " + count % "", haltOnFailure = True),
    steps.ShellCommand(name = "two", command = count % "echo err $i >&2; echo file $i >> log.txt;", logfiles = {"log": "log.txt"}, haltOnFailure = True),
    steps.SetPropertyFromCommand(name = "set", command = "echo value", property = "p", haltOnFailure = True),
    steps.FileUpload(name = "upload", workersrc = "log.txt", masterdest = util.Interpolate("got/%(prop:buildername)s-%(prop:buildnumber)s"), haltOnFailure = True),
    steps.ShellCommand(name = "three", command = [ "sh", "-c", util.Interpolate("rm log.txt; echo %(prop:p)s; " + count % "")], haltOnFailure = True),
])
c["builders"] = [util.BuilderConfig(name = "b%d" % i, workernames = [names[i % 4]], factory = f) for i in range(20)]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b%d" % i for i in range(20)])]
`

// crowd is a master and its workers, each of which may be killed.
type crowd struct {
	*master
	random  *rand.Rand
	homes   []string // of the workers
	workers []*exec.Cmd
	ids     map[string]int64
	asked   []int64 // requests
}

// TestRandomKills kills the master or a worker of ours, at random moments, with SIGKILL,
// while twenty builds run. Every request ends in one build that succeeds; a build is only
// built again if its worker was killed; no line is there twice or missing; nothing is
// left running.
func TestRandomKills(t *testing.T) {
	c := &crowd{master: newMaster(t, crowded), random: rand.New(rand.NewPCG(*seed, 0))}
	if err := os.WriteFile(filepath.Join(c.dir, "password"), []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start()
	for i := range crowdWorkers {
		c.homes = append(c.homes, filepath.Join(t.TempDir(), fmt.Sprint("w", i)))
		c.workers = append(c.workers, c.worker(i))
	}
	c.ids = c.builders()
	for n := range *kills {
		c.topUp()
		// A moment that nothing tells of is what this is about.
		time.Sleep(time.Duration(c.random.IntN(2500)) * time.Millisecond)
		if victim := c.random.IntN(2 * crowdWorkers); victim < crowdWorkers && n%2 == 1 {
			t.Logf("kill %d: worker w%d", n, victim)
			c.workers[victim].Process.Kill()
			c.workers[victim].Wait()
			c.workers[victim] = c.worker(victim)
			continue
		}
		t.Logf("kill %d: the master", n)
		c.kill()
		c.start()
	}
	for _, id := range c.asked {
		c.check(id)
	}
	if open := get[build](c.master, "builds?complete=false", "builds"); len(open) > 0 {
		t.Errorf("still running: %v", open)
	}
	c.waitFor("no process is left", func() bool { return c.processes() == 0 })
}

// worker starts a worker in its own basedir, where an earlier life of it may have been.
func (c *crowd) worker(i int) *exec.Cmd {
	c.t.Helper()
	return c.run(binary, "worker", "--master", fmt.Sprintf("ws://127.0.0.1:%d", c.master.workers), "--name", fmt.Sprint("w", i),
		"--basedir", c.homes[i], "--password-file", filepath.Join(c.dir, "password"))
}

// topUp asks for a build of every builder that has none.
func (c *crowd) topUp() {
	c.t.Helper()
	busy := map[int64]bool{}
	type row struct{ BuilderID int64 }
	for _, r := range get[row](c.master, "buildrequests?complete=false", "buildrequests") {
		busy[r.BuilderID] = true
	}
	for _, id := range c.ids {
		if !busy[id] {
			c.asked = append(c.asked, c.force(id, nil))
		}
	}
}

// check checks what became of a request.
func (c *crowd) check(request int64) {
	c.t.Helper()
	c.t.Cleanup(func() {
		if r, err := tryGet[requestRow](c.master, fmt.Sprintf("buildrequests/%d", request), "buildrequests"); err == nil && len(r) == 1 && !r[0].Complete {
			c.t.Logf("request %d is not complete: %+v\n%s", request, r[0], c.text(fmt.Sprintf("/api/v2/buildrequests/%d/explain", request)))
		}
	})
	last := c.finished(request)
	if checkResult(c.t, last, 0); c.t.Failed() {
		for _, s := range get[step](c.master, fmt.Sprintf("builds/%d/steps", last.ID), "steps") {
			for _, l := range get[logRow](c.master, fmt.Sprintf("steps/%d/logs", s.StepID), "logs") {
				c.t.Logf("build %d, step %s (%s), log %s:\n%s", last.ID, s.Name, s.StateString, l.Name, c.raw(l.LogID))
			}
		}
		c.t.FailNow()
	}
	builds := get[build](c.master, fmt.Sprintf("buildrequests/%d/builds", request), "builds")
	for _, b := range builds[:len(builds)-1] {
		if b.Results == nil || *b.Results != 5 || !strings.Contains(b.StateString, "was started anew") {
			c.t.Errorf("build %d was built again: %d, %s", b.ID, *b.Results, b.StateString)
		}
	}
	var lines, errs, files strings.Builder
	for i := range crowdLines {
		fmt.Fprintf(&lines, "line %d\n", i)
		fmt.Fprintf(&errs, "err %d\n", i)
		fmt.Fprintf(&files, "file %d\n", i)
	}
	steps := get[step](c.master, fmt.Sprintf("builds/%d/steps", last.ID), "steps")
	if len(steps) != 6 {
		c.t.Fatalf("build %d has %d steps", last.ID, len(steps))
	}
	for n, want := range map[int][]string{1: {"line "}, 2: {"line ", "err "}, 5: {"line "}} {
		text := c.stdio(last.ID, n)
		for _, prefix := range want {
			whole := lines.String()
			if prefix == "err " {
				whole = errs.String()
			}
			if got := only(text, prefix); got != whole {
				c.t.Errorf("build %d, step %d: the lines %q are not what was printed:\n%s", last.ID, n, prefix, text)
			}
		}
		if n := strings.Count(text, "elapsedTime="); n != 1 {
			c.t.Errorf("build %d: %d ends of a command:\n%s", last.ID, n, text)
		}
	}
	l := one[logRow](c.master, fmt.Sprintf("builds/%d/steps/2/logs/log", last.ID), "logs")
	if got := only(c.raw(l.LogID), "file "); got != files.String() {
		c.t.Errorf("build %d: the file is %q", last.ID, got)
	}
}

type requestRow struct {
	request
	BuilderID int64
}

// text reads what an address answers.
func (m *master) text(path string) string {
	res, err := http.Get(m.url(path))
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// only returns the lines of a log that begin with something.
func only(text, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// processes counts those that run in a directory of a build.
func (c *crowd) processes() (n int) {
	c.t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, link := range links {
		dir, err := os.Readlink(link)
		for _, home := range c.homes {
			if err == nil && strings.HasPrefix(dir, home+"/") {
				n++
			}
		}
	}
	return n
}
