package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const gatedWorkers = `
c = {}
c["workers"] = [worker.Worker("own", "p"), worker.Worker("stock", "p"), worker.LocalWorker("here")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
work = util.BuildFactory([steps.ShellCommand(command = "while [ ! -e {GO} ]; do sleep 0.1; done")])
c["builders"] = [util.BuilderConfig(name = n, workernames = [n], factory = work) for n in ["own", "stock", "here"]]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["own", "stock", "here"])]
`

// exits waits for a process to end by itself with status 0.
func exits(t *testing.T, what string, cmd *exec.Cmd) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(time.Minute):
		t.Errorf("%s does not end", what)
	}
}

// buildstar workers lists them and does to them what the page can (docs/requirements.md
// A5), be they ours, stock or local.
func TestWorkersCommand(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "go")
	m := newMaster(t, strings.ReplaceAll(gatedWorkers, "{GO}", gate))
	wantOutput(t, "no master runs on", 1, "workers", m.dir)
	wantOutput(t, "which worker?", 2, "workers", "stop")
	m.start()
	wantOutput(t, "never", 0, "workers", m.dir)
	own, stock := m.startOwn("own", "p"), m.startStock("stock", "p")
	for _, name := range []string{"own", "stock", "here"} {
		m.connected(name)
	}
	id := map[string]int64{}
	for name, builder := range m.builders() {
		id[name] = m.force(builder, nil)
	}
	m.waitFor("three builds run", func() bool { return len(get[build](m, "builds?complete=false", "builds")) == 3 })
	wantOutput(t, `no worker "nobody"`, 1, "workers", "pause", "nobody", m.dir)
	wantOutput(t, "pause it", 1, "workers", "stop", "here", m.dir)

	wantOutput(t, "", 0, "workers", "pause", "here", m.dir, "--reason", "a new disk")
	wantOutput(t, "", 0, "workers", "stop", "stock", m.dir, "--reason", "an old disk")
	out, status := buildstar(t, "workers", m.dir)
	if status != 0 {
		t.Errorf("status %d: %s", status, out)
	}
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	me := self.Username + "@127.0.0.1 (not logged in)"
	for name, want := range map[string][]string{
		"own": {"yes, since", "1", "-"}, "here": {"yes, since", "by " + me + ": a new disk"}, "stock": {"yes, since", "by " + me + ": an old disk"},
	} {
		for line := range strings.Lines(out) {
			for _, w := range want {
				if strings.HasPrefix(line, name+" ") && !strings.Contains(line, w) {
					t.Errorf("no %q in %q", w, line)
				}
			}
		}
	}
	wantOutput(t, "", 0, "workers", "kill", "own", m.dir)
	exits(t, "the killed worker", own)
	if b := m.lastOf(id["own"]); b.Results == nil || *b.Results != 5 || !strings.Contains(b.StateString, "killed by "+me) {
		t.Errorf("its build: %+v", b)
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	exits(t, "the stopped worker", stock)
	checkResult(t, m.finished(id["stock"]), 0)
	checkResult(t, m.finished(id["here"]), 0)

	wantOutput(t, "", 0, "workers", "unpause", "here", m.dir)
	out, status = buildstar(t, "workers", "--json", m.dir)
	var rows []struct {
		Name        string
		Paused      bool
		ConnectedTo []any `json:"connected_to"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || status != 0 || fmt.Sprint(rows) != "[{here false [map[masterid:1]]} {own false []} {stock false []}]" {
		t.Errorf("status %d, %v: %v", status, err, rows)
	}
	m.startOwn("own", "p")
	checkResult(t, m.finished(id["own"]), 0)

	m.configure(strings.NewReplacer("{GO}", gate, `worker.Worker("stock", "p"), `, "", `"stock", `, "").Replace(gatedWorkers))
	m.reconfig(0, `removed`)
	if out, _ := buildstar(t, "workers", m.dir); strings.Contains(out, "stock") || !strings.Contains(out, "own ") {
		t.Errorf("a worker that is no longer configured is listed: %s", out)
	}
}

// lastOf returns the newest build of a request once it ended.
func (m *master) lastOf(request int64) (b build) {
	m.t.Helper()
	m.waitFor("a build ended", func() bool {
		all := get[build](m, fmt.Sprintf("builds?buildrequestid=%d&order=-buildid&limit=1", request), "builds")
		if len(all) == 1 {
			b = all[0]
		}
		return len(all) == 1 && b.Results != nil
	})
	return b
}

// SIGHUP is a worker's own wish for a graceful stop: it gets no more builds, finishes
// those it has, and exits with 0.
func TestWorkerHangUp(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "go")
	m := newMaster(t, strings.ReplaceAll(gatedWorkers, "{GO}", gate))
	m.start()
	own := m.startOwn("own", "p")
	m.connected("own")
	first := m.force(m.builders()["own"], nil)
	m.waitFor("the build runs", func() bool { return len(get[build](m, "builds?complete=false", "builds")) == 1 })
	if err := own.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.waitFor("the worker is to stop", func() bool {
		out, _ := buildstar(t, "workers", m.dir)
		return strings.Contains(out, "by the worker itself")
	})
	second := m.force(m.builders()["own"], nil)
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	checkResult(t, m.finished(first), 0)
	exits(t, "the worker", own)
	m.startOwn("own", "p")
	checkResult(t, m.finished(second), 0)
}

const facts = `
c = {}
c["workers"] = [worker.Worker("own", "p"), worker.Worker("stock", "p")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
names = ["admin", "host", "access_uri", "version", "numcpus", "system", "basedir", "os_id", "os_id_like", "os_version_id", "os_version_codename"]
say = util.Interpolate(" ".join([n + "=%(worker:" + n + ")s" for n in names]))
work = util.BuildFactory([steps.ShellCommand(command = ["echo", say], logEnviron = False)])
c["builders"] = [util.BuilderConfig(name = n, workernames = [n], factory = work) for n in ["own", "stock"]]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["own", "stock"])]
`

// What a worker says of itself is stored, shown, and there for Interpolate; its
// environment is nowhere (docs/requirements.md A2.6, A2.7, B1).
func TestFacts(t *testing.T) {
	const secret = "fOx-9182-environment"
	t.Setenv("A_SECRET_OF_THE_WORKER", secret)
	m := newMaster(t, facts)
	m.start()
	password := filepath.Join(t.TempDir(), "password")
	dir := filepath.Join(t.TempDir(), "own")
	for name, text := range map[string]string{
		password: "p", filepath.Join(dir, "info", "admin"): "Ann\n", filepath.Join(dir, "info", "host"): "a box\n",
		filepath.Join(dir, "info", "access_uri"): "ssh://box\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	m.run(binary, "worker", "--master", fmt.Sprintf("127.0.0.1:%d", m.workers), "--name", "own", "--basedir", dir, "--password-file", password)
	m.startStock("stock", "p")
	type row struct {
		Info map[string]any `json:"workerinfo"`
	}
	for _, name := range []string{"own", "stock"} {
		m.connected(name)
		b := m.finished(m.force(m.builders()[name], nil))
		checkResult(t, b, 0)
		said, info := m.stdio(b.ID, 1), one[row](m, "workers/"+name, "workers").Info
		for _, fact := range []string{"version", "numcpus", "system", "basedir", "os_id", "os_id_like", "os_version_id", "os_version_codename"} {
			value, there := info[fact]
			if value == nil {
				value = ""
			}
			if want := fmt.Sprintf(" %s=%v", fact, value); !there || !strings.Contains(said, want) {
				t.Errorf("worker %s: %s is %v, and %q not in %q", name, fact, info[fact], want, said)
			}
		}
		if name == "own" && !strings.Contains(said, "admin=Ann host=a box access_uri=ssh://box ") {
			t.Errorf("the files in info/: %q", said)
		}
		page, err := http.Get(m.url("/workers/" + name))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(page.Body)
		page.Body.Close()
		if err != nil || !strings.Contains(string(text), "os_version_codename") || strings.Contains(string(text), secret) {
			t.Errorf("the page of %s: %v\n%s", name, err, text)
		}
	}
	m.stop()
	err := filepath.WalkDir(m.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s has the worker's environment", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
