package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/internal/debiantest"
	"buildstar/internal/dockertest"
)

// TestDebianImage builds in a container of Debian with Debian's own buildbot-worker, as a
// user who knows nothing of this machine would make it.
func TestDebianImage(t *testing.T) {
	image := os.Getenv(debiantest.Variable)
	if image == "" {
		t.Skip("make test-debian runs this")
	}
	m := newMaster(t, fmt.Sprintf(`
c = {
    "workers": [worker.DockerLatentWorker("docker-debian", None, %q, masterFQDN = %q, dockerfile = read_file("Dockerfile"), followStartupLogs = True)],
    "protocols": {"msgpack_experimental_v7": {"port": {WORKERS}}},
    "builders": [util.BuilderConfig("b", workernames = ["docker-debian"], factory = util.BuildFactory([
        steps.ShellCommand(command = "id -un; dpkg-query -W buildbot-worker; echo in > file"),
        steps.ShellCommand(command = ["cat", "file"]),
    ]))],
    "schedulers": [schedulers.ForceScheduler("force", ["b"])],
    "www": {"port": "tcp:{WEB}:interface=127.0.0.1"},
}`, dockertest.Host(), dockertest.Gateway()))
	const tac = `import os; from twisted.application import service; from buildbot_worker.bot import Worker; e = os.environ; ` +
		`application = service.Application("worker"); ` +
		`Worker(e["BUILDMASTER"], int(e["BUILDMASTER_PORT"]), e["WORKERNAME"], e["WORKERPASS"], "/home/ci", 3600, protocol=e["BUILDMASTER_PROTOCOL"]).setServiceParent(application)`
	dockerfile := fmt.Sprintf("FROM %s\nRUN useradd --create-home ci\nWORKDIR /home/ci\nRUN echo '%s' > buildbot.tac\nUSER ci\n"+
		"CMD [\"twistd3\", \"--pidfile=\", \"--nodaemon\", \"--no_save\", \"--logfile=-\", \"--python=buildbot.tac\"]\n", image, tac)
	if err := os.WriteFile(filepath.Join(m.dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	m.start()
	b := m.finished(m.force(m.builders()["b"], nil))
	checkResult(t, b, 0)
	if out := m.stdio(b.ID, 1); !strings.Contains(out, "ci\nbuildbot-worker\t") {
		t.Errorf("the first step printed %q", out)
	}
	if out := m.stdio(b.ID, 2); !strings.Contains(out, "in\n") {
		t.Errorf("the second step printed %q", out)
	}
	m.noContainers("docker-debian")
}
