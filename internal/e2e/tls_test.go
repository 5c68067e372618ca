package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/internal/tlstest"
)

const secure = `
c = {}
c["workers"] = [worker.Worker("stock", "p"), worker.Worker("own", "p")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1", "tls_cert": "cert.pem", "tls_key": "key.pem"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["builders"] = [
    util.BuilderConfig(name = name, workernames = [name], factory = util.BuildFactory([steps.ShellCommand(command = "true")]))
    for name in ["stock", "own"]
]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["stock", "own"])]
`

// Both kinds of workers build over TLS.
func TestTLS(t *testing.T) {
	m := newMaster(t, secure)
	tlstest.Write(t, m.dir)
	m.start()
	ca := filepath.Join(m.dir, "cert.pem")
	t.Setenv("SSL_CERT_FILE", ca) // where the stock worker looks
	t.Setenv("BUILDSTAR_PASSWORD", "p")
	dir := filepath.Join(t.TempDir(), "stock")
	create := exec.Command("buildbot-worker", "create-worker", "--protocol=msgpack_experimental_v7", "--use-tls",
		dir, fmt.Sprintf("localhost:%d", m.workers), "stock", "p")
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("buildbot-worker create-worker: %v\n%s", err, out)
	}
	m.run("buildbot-worker", "start", "--nodaemon", dir)
	m.run(binary, "worker", "--master", fmt.Sprintf("wss://127.0.0.1:%d", m.workers), "--name", "own",
		"--basedir", filepath.Join(t.TempDir(), "own"), "--ca-file", ca)
	for name, id := range m.builders() {
		m.connected(name)
		checkResult(t, m.finished(m.force(id, nil)), 0)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "key.pem"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.reconfig(1, "master.star:", "read the certificate for workers")
	if log := m.log.String(); !strings.Contains(log, "the old one stays in force") {
		t.Error("the log does not say that the old configuration stays")
	}
}

// A master that cannot have its certificate does not start, and says where it is named.
func TestTLSMissing(t *testing.T) {
	m := newMaster(t, secure)
	out, status := buildstar(t, "start", m.dir)
	if status != 1 || !strings.Contains(out, "master.star:4:") || !strings.Contains(out, "cert.pem: no such file") {
		t.Errorf("status %d, %s", status, out)
	}
}
