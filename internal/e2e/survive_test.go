package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const retried = `
c = {}
c["workers"] = [worker.Worker("stock", "p"), worker.LocalWorker("here")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
def command(name):
    return """p=%s/pid-%s; if test -e $p; then echo the other: $(cat $p); ! test -e /proc/$(cat $p)/exe; else echo $$ >$p.part; mv $p.part $p; trap '' TERM; exec sleep 600; fi""" % (basedir, name)

c["builders"] = [util.BuilderConfig(name = n, workernames = [n], factory = util.BuildFactory([steps.ShellCommand(command = command(n))])) for n in ["stock", "here"]]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["stock", "here"])]
`

// Builds of workers that do not outlive the master, or the connection, are built again, but
// not before what they ran is gone.
func TestOthersAreRetried(t *testing.T) {
	m := newMaster(t, retried)
	w := m.newWire()
	m.start()
	m.startStock("stock", "p")
	ids := m.builders()
	begins := func(name string) (request int64) {
		t.Helper()
		pid := filepath.Join(m.dir, "pid-"+name)
		if err := os.RemoveAll(pid); err != nil {
			t.Fatal(err)
		}
		m.connected(name)
		request = m.force(ids[name], nil)
		m.waitFor("the command on "+name, func() bool {
			_, err := os.Stat(pid)
			return err == nil
		})
		return request
	}
	again := func(request int64) {
		t.Helper()
		checkResult(t, m.finished(request), 0)
		builds := get[build](m, fmt.Sprintf("buildrequests/%d/builds", request), "builds")
		if len(builds) != 2 || *builds[0].Results != 5 {
			t.Errorf("request %d: %+v", request, builds)
		}
	}
	stock, here := begins("stock"), begins("here")
	m.kill()
	m.start()
	again(stock)
	again(here)
	stock = begins("stock")
	w.heal() // which cuts what is connected
	again(stock)
}

// nextVersion builds this program with one migration more.
func nextVersion(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	migrations, err := filepath.Abs("../../state/sqlite/migrations")
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(migrations, "9999_next.sql"): filepath.Join(dir, "next.sql")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"next.sql":     "ALTER TABLE builds ADD COLUMN color TEXT NOT NULL DEFAULT 'red'; CREATE TABLE colors (build_id INTEGER REFERENCES builds (id))",
		"overlay.json": string(overlay),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program = filepath.Join(dir, "buildstar")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-race", "-o", program, "buildstar")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

const upgraded = `
c = {}
c["workers"] = [worker.Worker("own", "o")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
gates = " && ".join(["echo %d; while ! test -e {GATES}/go-%d; do sleep 0.05; done" % (i, i) for i in range(3)])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["own"], factory = util.BuildFactory([
    steps.ShellCommand(name = "gates", command = gates + "; echo end"),
    steps.ShellCommand(name = "more", command = "echo more"),
]))]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
`

// A build goes on while its master becomes another version, with another schema of the
// database, is killed, and becomes the version before again.
func TestUpgradeWhileBuilding(t *testing.T) {
	next := nextVersion(t)
	gates := t.TempDir()
	m := newMaster(t, strings.ReplaceAll(upgraded, "{GATES}", gates))
	m.start()
	m.startOwn("own", "o")
	m.connected("own")
	request := m.force(m.builders()["b"], nil)
	passes := func(gate int) {
		t.Helper()
		m.waitFor(fmt.Sprint("gate ", gate), func() bool {
			logs, err := tryGet[logRow](m, "builds/1/steps/gates/logs", "logs")
			return err == nil && len(logs) == 1 && strings.Contains(m.raw(logs[0].LogID), fmt.Sprintf("\n%d\n", gate))
		})
	}
	open := func(gate int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(gates, fmt.Sprint("go-", gate)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	passes(0)
	old := m.cmd
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = old.Wait() // its status says whether it ended well
	}()
	m.launch(next, "restart")
	<-ended
	if status := old.ProcessState.ExitCode(); status != 0 {
		t.Errorf("the old version exited with %d", status)
	}
	if backups, err := filepath.Glob(filepath.Join(m.dir, "state.sqlite.schema*")); err != nil || len(backups) != 1 {
		t.Errorf("backups: %v, %v", backups, err)
	}
	open(0)
	passes(1)
	m.kill()
	m.launch(next, "start")
	open(1)
	passes(2)
	m.kill()
	m.start() // one version back
	open(2)
	b := m.finished(request)
	checkResult(t, b, 0)
	if b.Number != 1 {
		t.Errorf("build: %+v", b)
	}
	var said strings.Builder
	for line := range strings.Lines(m.stdio(b.ID, 1)) {
		if len(line) == 2 || line == "end\n" {
			said.WriteString(line)
		}
	}
	if said.String() != "0\n1\n2\nend\n" {
		t.Errorf("the log: %q", said.String())
	}
	if logs := m.log.String(); !strings.Contains(logs, "bringing the database up to date") {
		t.Error("nothing was brought up to date")
	}
}
