package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// startStock creates and runs a stock buildbot-worker.
func (m *master) startStock(name, password string) *exec.Cmd {
	m.t.Helper()
	dir := filepath.Join(m.t.TempDir(), name)
	create := exec.Command("buildbot-worker", "create-worker", "--protocol=msgpack_experimental_v7",
		dir, fmt.Sprintf("127.0.0.1:%d", m.workers), name, password)
	if out, err := create.CombinedOutput(); err != nil {
		m.t.Fatalf("buildbot-worker create-worker: %v (is Debian's buildbot-worker installed? make test does it)\n%s", err, out)
	}
	return m.run("buildbot-worker", "start", "--nodaemon", dir)
}

// startOwn runs our own worker.
func (m *master) startOwn(name, password string) *exec.Cmd {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return m.run(binary, "worker", "--master", fmt.Sprintf("ws://127.0.0.1:%d", m.workers), "--name", name,
		"--basedir", filepath.Join(m.t.TempDir(), name), "--password-file", file)
}

// run starts a process in a group of its own, and ends the group with the test.
func (m *master) run(name string, args ...string) *exec.Cmd {
	m.t.Helper()
	cmd := exec.Command(name, args...)
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
		if m.t.Failed() {
			m.t.Logf("log of %s:\n%s", name, log.tail(5000))
		}
	})
	return cmd
}

// connected waits until a worker is attached.
func (m *master) connected(name string) {
	m.t.Helper()
	type row struct {
		ConnectedTo []any `json:"connected_to"`
	}
	m.waitFor("worker "+name+" connected", func() bool {
		return len(one[row](m, "workers/"+name, "workers").ConnectedTo) > 0
	})
}

// builders returns the ids of the builders by name.
func (m *master) builders() map[string]int64 {
	m.t.Helper()
	type row struct {
		BuilderID int64
		Name      string
	}
	ids := make(map[string]int64)
	for _, b := range get[row](m, "builders", "builders") {
		ids[b.Name] = b.BuilderID
	}
	return ids
}

func checkResult(t *testing.T, b build, want int) {
	t.Helper()
	if b.Results == nil || *b.Results != want {
		got := -1
		if b.Results != nil {
			got = *b.Results
		}
		t.Errorf("build %d ended %d (%s), want %d", b.ID, got, b.StateString, want)
	}
}
