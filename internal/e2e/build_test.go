package e2e

import (
	"fmt"
	"strings"
	"testing"
)

const threeWorkers = `
c = {}
names = ["stock", "own", "local"]
c["workers"] = [worker.Worker("stock", "s"), worker.Worker("own", "o"), worker.LocalWorker("local")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}

def factory():
    return util.BuildFactory([
        steps.ShellCommand(name = "greet", command = ["echo", util.Interpolate("Hello %(prop:who)s from %(prop:workername)s")]),
        steps.ShellCommand(name = "env", command = "echo $GREETING; echo to-stderr >&2; exit 0", env = {"GREETING": "grüezi"}, logEnviron = False),
    ])

kinds = {
    "hello": factory(),
    "long": util.BuildFactory([steps.ShellCommand(command = ["python3", "-c", "print('x' * 300000); print('end')"], logEnviron = False)]),
    "fails": util.BuildFactory([
        steps.ShellCommand(name = "bad", command = "exit 3", haltOnFailure = True),
        steps.ShellCommand(name = "never", command = "true"),
        steps.ShellCommand(name = "always", command = "true", alwaysRun = True),
    ]),
    "hangs": util.BuildFactory([steps.ShellCommand(command = "echo started; sleep 600", logEnviron = False)]),
    "silent": util.BuildFactory([steps.ShellCommand(command = "sleep 600", timeout = 1)]),
}

c["builders"] = [
    util.BuilderConfig(name = kind + "-" + w, workernames = [w], factory = kinds[kind])
    for w in names
    for kind in kinds
]
c["schedulers"] = [schedulers.ForceScheduler(
    name = "force",
    builderNames = [b.name for b in c["builders"]],
    properties = [util.StringParameter(name = "who", default = "nobody")],
)]
`

// TestThreeKindsOfWorkers runs the same builds on a stock worker, on our own and on
// a local one, at the same time.
func TestThreeKindsOfWorkers(t *testing.T) {
	m := newMaster(t, threeWorkers)
	m.start()
	m.startStock("stock", "s")
	m.startOwn("own", "o")
	for _, w := range []string{"stock", "own", "local"} {
		m.connected(w)
	}
	ids := m.builders()
	for _, w := range []string{"stock", "own", "local"} {
		t.Run(w, func(t *testing.T) {
			m := m.in(t)
			t.Run("hello", func(t *testing.T) { m.in(t).hello(ids["hello-"+w], w) })
			t.Run("long line", func(t *testing.T) { m.in(t).longLine(ids["long-"+w]) })
			t.Run("failure", func(t *testing.T) { m.in(t).failure(ids["fails-"+w]) })
			t.Run("stopped", func(t *testing.T) { m.in(t).stopped(ids["hangs-"+w]) })
			t.Run("silent", func(t *testing.T) { m.in(t).silent(ids["silent-"+w]) })
		})
	}
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d after SIGTERM", status)
	}
}

// in returns m for a subtest.
func (m *master) in(t *testing.T) *master {
	n := *m
	n.t = t
	return &n
}

func (m *master) hello(builder int64, worker string) {
	b := m.finished(m.force(builder, map[string]any{"who": "Jürg"}))
	checkResult(m.t, b, 0)
	if want, got := "Hello Jürg from "+worker+"\n", m.stdio(b.ID, 1); !strings.Contains(got, want) {
		m.t.Errorf("stdio of greet is %q, without %q", got, want)
	}
	got := m.stdio(b.ID, 2)
	if !strings.Contains(got, "grüezi\n") || !strings.Contains(got, "to-stderr\n") {
		m.t.Errorf("stdio of env is %q", got)
	}
	if strings.Contains(got, "PATH=") {
		m.t.Errorf("logEnviron = False, and still stdio shows the environment: %q", got)
	}
}

func (m *master) longLine(builder int64) {
	b := m.finished(m.force(builder, nil))
	checkResult(m.t, b, 0)
	if !strings.Contains(m.stdio(b.ID, 1), "\n"+strings.Repeat("x", 300000)+"\nend\n") {
		m.t.Errorf("a line of 300,000 characters did not arrive whole")
	}
}

func (m *master) failure(builder int64) {
	b := m.finished(m.force(builder, nil))
	checkResult(m.t, b, 2)
	var ran []string
	for _, s := range get[step](m, fmt.Sprintf("builds/%d/steps", b.ID), "steps") {
		if s.Results != nil && *s.Results != 3 {
			ran = append(ran, s.Name)
		}
	}
	if got := strings.Join(ran, " "); got != "worker_preparation bad always" {
		m.t.Errorf("ran %s", got)
	}
}

func (m *master) stopped(builder int64) {
	id := m.force(builder, nil)
	var b build
	m.waitFor("the step prints", func() bool {
		builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", id), "builds")
		if len(builds) == 0 {
			return false
		}
		b = builds[0]
		logs, err := tryGet[logRow](m, fmt.Sprintf("builds/%d/steps/1/logs", b.ID), "logs")
		return err == nil && len(logs) > 0 && strings.Contains(m.raw(logs[0].LogID), "\nstarted\n")
	})
	m.post(fmt.Sprintf("builds/%d", b.ID), "stop", map[string]any{"reason": "enough"}, nil)
	b = m.finished(id)
	checkResult(m.t, b, 6)
}

func (m *master) silent(builder int64) {
	b := m.finished(m.force(builder, nil))
	checkResult(m.t, b, 2)
	if !strings.Contains(m.stdio(b.ID, 1), "1 seconds without output") {
		m.t.Errorf("stdio does not say that the command was silent: %q", m.stdio(b.ID, 1))
	}
}

const counting = `
c = {}
c["workers"] = [worker.LocalWorker("l%d" % i) for i in range(2)] + [worker.Worker("s0", "p"), worker.Worker("o0", "p")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
f = util.BuildFactory([steps.ShellCommand(
    command = "i=0; while [ $i -lt 150 ]; do echo line $i; i=$((i+1)); sleep 0.02; done",
    logEnviron = False,
)])
c["builders"] = [util.BuilderConfig(name = "b%d" % i, workernames = [w.name for w in c["workers"]], factory = f) for i in range(6)]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b%d" % i for i in range(6)])]
`

// TestKilled kills the master with SIGKILL during six concurrent builds, three
// times. Every request must still end in SUCCESS, no build may be left running, and
// every line that the API had shown must still be there.
func TestKilled(t *testing.T) {
	m := newMaster(t, counting)
	m.start()
	m.startStock("s0", "p")
	m.startOwn("o0", "p")
	m.connected("s0")
	m.connected("o0")
	var requests []int64
	for _, id := range m.builders() {
		requests = append(requests, m.force(id, nil))
	}
	for range 3 {
		shown := m.watchLogs(4)
		m.kill()
		m.start()
		for log, text := range shown {
			if got := m.raw(log); !strings.HasPrefix(got, text) {
				t.Errorf("log %d: %d bytes had been shown, %d are there and differ", log, len(text), len(got))
			}
		}
		for _, b := range get[build](m, "builds?complete=true", "builds") {
			checkResult(t, b, 5)
		}
	}
	for _, id := range requests {
		b := m.finished(id)
		checkResult(t, b, 0)
		text := m.stdio(b.ID, 1)
		for i := range 150 {
			if n := strings.Count(text, fmt.Sprintf("\nline %d\n", i)); n != 1 {
				t.Fatalf("build %d: line %d is there %d times", b.ID, i, n)
			}
		}
	}
	if left := get[build](m, "builds?complete=false", "builds"); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

// watchLogs reads the logs of running builds as a page does, until n of them have
// output, and returns what it was shown.
func (m *master) watchLogs(n int) map[int64]string {
	m.t.Helper()
	shown := make(map[int64]string)
	m.waitFor(fmt.Sprintf("%d builds print", n), func() bool {
		for _, b := range get[build](m, "builds?complete=false", "builds") {
			logs, err := tryGet[logRow](m, fmt.Sprintf("builds/%d/steps/1/logs", b.ID), "logs")
			if err != nil || len(logs) == 0 {
				continue
			}
			if text := m.raw(logs[0].LogID); strings.Contains(text, "\nline 20\n") {
				shown[logs[0].LogID] = text
			}
		}
		return len(shown) >= n
	})
	return shown
}
