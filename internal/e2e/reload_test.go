package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const reloadable = `
c = {}
c["workers"] = [worker.Worker("w", "p"), worker.Worker("s", "p"), worker.LocalWorker("l")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["builders"] = [util.BuilderConfig(name = n, workernames = [w], factory = util.BuildFactory([
    steps.ShellCommand(command = "until test -e {GATE}; do sleep 0.02; done"), steps.ShellCommand(command = "echo first"),
])) for n, w in [("own", "w"), ("stock", "s"), ("local", "l")]]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = [b.name for b in c["builders"]])]
c["title"] = "{TITLE}"
`

func (m *master) page(path string) string {
	m.t.Helper()
	res, err := http.Get(m.url(path))
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(body)
}

// reconfig runs `buildstar reconfig` and checks what it says.
func (m *master) reconfig(status int, want ...string) {
	m.t.Helper()
	out, got := buildstar(m.t, "reconfig", m.dir)
	for _, w := range want {
		if !strings.Contains(out, w) {
			m.t.Errorf("reconfig does not say %q: %s", w, out)
		}
	}
	if got != status {
		m.t.Errorf("reconfig: status %d, want %d: %s", got, status, out)
	}
}

// Builds that run and workers that stay notice nothing of 20 reloads, good and
// broken; the next build is made of the new configuration.
func TestReloadDuringBuilds(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	text := func(title, echo string) string {
		return strings.NewReplacer("{GATE}", gate, "{TITLE}", title, "echo first", echo).Replace(reloadable)
	}
	m := newMaster(t, text("zero", "echo first"))
	m.start()
	m.startOwn("w", "p")
	m.startStock("s", "p")
	m.connected("w")
	m.connected("s")
	var running []int64
	for _, id := range m.builders() {
		running = append(running, m.force(id, nil))
	}
	m.waitFor("the builds run", func() bool { return len(get[build](m, "builds?complete=false", "builds")) == 3 })
	for i := range 20 {
		title := fmt.Sprint("title", i)
		m.configure(text(title, "echo second"))
		switch i % 4 {
		case 0:
			m.reconfig(0, "changed the top level")
		case 1:
			var done struct{ Generation int64 }
			m.post("masters/1", "reconfig", nil, &done)
			if done.Generation == 0 {
				t.Error("REST answered no generation")
			}
		case 2:
			if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			m.waitFor("the title "+title, func() bool { return strings.Contains(m.page("/about"), title) })
		case 3:
			m.configure(text(title, "echo second") + "worker.Worker('w', 'top secret', max_bulids = 1)\n")
			m.reconfig(1, "master.star:11", `"max_builds"`, "was not loaded")
			p := m.page("/")
			if !strings.Contains(p, "was not loaded") || !strings.Contains(p, "master.star:11") || strings.Contains(p, "top secret") {
				t.Errorf("the banner: %s", p)
			}
		}
	}
	m.configure(text("end", "echo second"))
	m.reconfig(0)
	if p := m.page("/"); strings.Contains(p, "was not loaded") {
		t.Error("the banner stays after a reload that worked")
	}
	if n := strings.Count(m.log.String(), "worker attached"); n != 3 {
		t.Errorf("workers attached %d times, want each once", n)
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, r := range running {
		b := m.finished(r)
		checkResult(t, b, 0)
		if got := m.stdio(b.ID, 2); !strings.Contains(got, "first") || b.Number != 1 {
			t.Errorf("the build that ran is number %d and said %q", b.Number, got)
		}
	}
	for _, id := range m.builders() {
		if got := m.stdio(m.finished(m.force(id, nil)).ID, 2); !strings.Contains(got, "second") {
			t.Errorf("the next build said %q", got)
		}
	}
}

// A file that is broken, missing or cannot be read leaves the old configuration in
// force and says so everywhere.
func TestReloadFails(t *testing.T) {
	m := newMaster(t, idle)
	m.start()
	file := filepath.Join(m.dir, "master.star")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := strings.ReplaceAll(idle, "{WEB}", fmt.Sprint(taken.Addr().(*net.TCPAddr).Port))
	for _, tt := range []struct {
		name, text, want string
		prepare          func() error
	}{
		{name: "syntax", text: "c = {\n", want: "master.star:"},
		{name: "several", text: "c = {'title': 3, 'builders': 4}\n", want: "4 problems"},
		{name: "empty", text: "", want: "neither c nor BuildmasterConfig"},
		{name: "port in use", text: busy, want: "address already in use"},
		{name: "missing", want: "no such file", prepare: func() error { return os.Remove(file) }},
		{name: "a folder", want: "master.star", prepare: func() error { os.Remove(file); return os.Mkdir(file, 0o755) }},
	} {
		if tt.prepare == nil {
			m.configure(tt.text)
		} else if err := tt.prepare(); err != nil {
			t.Fatal(err)
		}
		m.reconfig(1, tt.want, "was not loaded")
		if p := m.page("/"); !strings.Contains(p, "was not loaded") || !strings.Contains(p, "master.star") {
			t.Errorf("%s: no banner", tt.name)
		}
		if n := len(m.builders()); n != 2 {
			t.Errorf("%s: %d builders", tt.name, n)
		}
		body, err := http.Post(m.url("/api/v2/masters/1"), "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"reconfig"}`))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(body.Body)
		body.Body.Close()
		if body.StatusCode != 400 || !strings.Contains(string(answer), "not loaded") {
			t.Errorf("%s: REST: %d %s", tt.name, body.StatusCode, answer)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	m.configure(idle)
	m.reconfig(0, "nothing changed")
	wantOutput(t, "no master runs on", 1, "reconfig", t.TempDir())
}

// The page moves to another port, goes and comes back; reconfig works without it,
// and the lock file knows the address.
func TestReloadMovesThePage(t *testing.T) {
	m := newMaster(t, idle)
	m.start()
	first := m.url("/")
	url := func() string {
		data, err := os.ReadFile(filepath.Join(m.dir, "master.lock"))
		var says struct{ URL string }
		if err != nil || json.Unmarshal(data, &says) != nil {
			t.Fatalf("master.lock: %v %s", err, data)
		}
		return says.URL
	}
	m.web, m.workers = freePort(t), freePort(t)
	m.configure(idle)
	m.reconfig(0, "changed the top level")
	if url() != m.url("/") || len(m.builders()) != 2 {
		t.Errorf("master.lock says %s, want %s", url(), m.url("/"))
	}
	if res, err := http.Get(first); err == nil {
		res.Body.Close()
		t.Errorf("the old port still answers: %s", res.Status)
	}
	m.startOwn("w", "p") // at the new port for workers
	m.connected("w")

	m.configure(strings.Replace(idle, `c["www"]`, `www`, 1))
	m.reconfig(0, "changed the top level")
	if res, err := http.Get(m.url("/")); err == nil {
		res.Body.Close()
		t.Errorf("the page is still there: %s", res.Status)
	}
	if url() != "" {
		t.Errorf("master.lock says %q though there is no page", url())
	}
	m.reconfig(0, "nothing changed")
	m.configure("c = {")
	m.reconfig(1, "master.star:")
	m.configure(idle)
	m.reconfig(0, "changed the top level")
	if url() != m.url("/") || len(m.builders()) != 2 {
		t.Errorf("the page did not come back: %q", url())
	}
	if n := strings.Count(m.log.String(), "worker attached"); n != 2 {
		t.Errorf("workers attached %d times, want each once", n)
	}
}
