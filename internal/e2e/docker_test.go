package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/internal/dockertest"
)

// docker runs Docker's client on the engine of the tests.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", append([]string{"--host", dockertest.Host()}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// containers are those that masters started.
func containers(t *testing.T, labels ...string) []string {
	t.Helper()
	args := []string{"ps", "--all", "--format", "{{.Names}}", "--filter", "label=buildstar.master"}
	for _, l := range labels {
		args = append(args, "--filter", "label="+l)
	}
	return strings.Fields(docker(t, args...))
}

// noContainers waits until the containers of a worker are gone.
func (m *master) noContainers(workers ...string) {
	m.t.Helper()
	for _, w := range workers {
		m.waitFor("no container of "+w, func() bool { return len(containers(m.t, "buildstar.worker="+w)) == 0 })
	}
}

// buildContext makes the archive of examples/docker: the static program and a Dockerfile.
func buildContext(t *testing.T, dockerfile, to string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "buildstar")
	build := exec.Command("go", "build", "-o", program, "buildstar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{{"Dockerfile", 0o644, []byte(dockerfile)}, {"buildstar", 0o755, data}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDockerExample runs examples/docker as docs/docker.md says.
func TestDockerExample(t *testing.T) {
	m := &master{t: t, dir: t.TempDir(), web: freePort(t), workers: freePort(t), log: &lockedBuffer{}}
	example := filepath.Join("..", "..", "examples", "docker")
	dockerfile, err := os.ReadFile(filepath.Join(example, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	buildContext(t, string(dockerfile), filepath.Join(m.dir, "context.tar"))
	config, err := os.ReadFile(filepath.Join(example, "master.star"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	for from, to := range map[string]string{
		`"unix:///var/run/docker.sock"`: fmt.Sprintf("%q, masterFQDN = %q", dockertest.Host(), dockertest.Gateway()),
		"tcp:8010:":                     "tcp:{WEB}:",
		"9989":                          "{WORKERS}",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("the example has no %s", from)
		}
		text = strings.ReplaceAll(text, from, to)
	}
	m.configure(text)
	m.start()
	b := m.finished(m.force(m.builders()["contained"], nil))
	checkResult(t, b, 0)
	if out := m.stdio(b.ID, 1); !strings.Contains(out, "buildstar ") {
		t.Errorf("the step printed %q", out)
	}
	m.noContainers("docker-1")
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d", status)
	}
}

// TestDockerStockWorker runs Debian's buildbot-worker in a container that has nothing of its
// own: it sees the programs of this machine, and may only read them.
func TestDockerStockWorker(t *testing.T) {
	dir := t.TempDir()
	const tac = `
import os
from twisted.application import service
from buildbot_worker.bot import Worker
application = service.Application('buildbot-worker')
Worker(os.environ['BUILDMASTER'], int(os.environ['BUILDMASTER_PORT']), os.environ['WORKERNAME'], os.environ['WORKERPASS'], '/work',
       3600, umask=None, protocol=os.environ['BUILDMASTER_PROTOCOL']).setServiceParent(application)
`
	if err := os.WriteFile(filepath.Join(dir, "buildbot.tac"), []byte(tac), 0o644); err != nil {
		t.Fatal(err)
	}
	m := newMaster(t, fmt.Sprintf(`
c = {
    "workers": [worker.DockerLatentWorker("docker-stock", "pw", %q, masterFQDN = %q, dockerfile = "FROM scratch\nENV PATH=/usr/bin:/bin\nCMD [\"true\"]\n",
        volumes = [d + ":" + d + ":ro" for d in ["/usr", "/bin", "/lib", "/lib64", "/etc"]] + ["%s:/work"],
        command = ["sh", "-c", "cd /work && exec twistd3 --pidfile= --nodaemon --no_save --logfile=- --python=buildbot.tac"],
        followStartupLogs = True)],
    "protocols": {"msgpack_experimental_v7": {"port": {WORKERS}}},
    "builders": [util.BuilderConfig("b", workernames = ["docker-stock"], factory = util.BuildFactory([steps.ShellCommand(command = "echo from; hostname")]))],
    "schedulers": [schedulers.ForceScheduler("force", ["b"])],
    "www": {"port": "tcp:{WEB}:interface=127.0.0.1"},
}`, dockertest.Host(), dockertest.Gateway(), dir))
	m.start()
	b := m.finished(m.force(m.builders()["b"], nil))
	checkResult(t, b, 0)
	if out := m.stdio(b.ID, 1); !strings.Contains(out, "from\n") {
		t.Errorf("the step printed %q", out)
	}
	m.noContainers("docker-stock")
}
