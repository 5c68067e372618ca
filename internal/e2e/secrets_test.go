package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const guarded = `
c = {}
c["secretsProviders"] = [secrets.SecretInAFile(dirname = "secrets")]
c["workers"] = [worker.Worker("own", util.Secret("own-password"))]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["own"], factory = util.BuildFactory([
    steps.ShellCommand(command = ["sh", "-c", "echo $TOKEN and $1", "x", util.Interpolate("user:%(secret:token)s")],
        env = {"TOKEN": util.Secret("token")}),
]))]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
`

// A password and arguments from files, shown nowhere; and files that others can read are
// refused, with the command that helps.
func TestSecrets(t *testing.T) {
	m := newMaster(t, guarded)
	dir := filepath.Join(m.dir, "secrets")
	put := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	wantOutput(t, "master.star is good", 0, "checkconfig", m.dir) // without any secret
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	put("own-password", "p4ssw0rd\n", 0o600)
	put("token", "t0ps3cret\n", 0o644)
	wantOutput(t, "run chmod go= "+filepath.Join(dir, "token"), 1, "start", m.dir)
	put("token", "t0ps3cret\n", 0o600)
	m.start()
	m.startOwn("own", "p4ssw0rd")
	m.connected("own")
	b := m.finished(m.force(m.builders()["b"], nil))
	checkResult(t, b, 0)
	text := m.stdio(b.ID, 1)
	if !strings.Contains(text, "<token> and user:<token>\n") {
		t.Errorf("the log: %s", text)
	}
	for what, text := range map[string]string{"stdio": text, "the master's log": m.log.String(), "the step": b.StateString} {
		if strings.Contains(text, "t0ps3cret") || strings.Contains(text, "p4ssw0rd") {
			t.Errorf("%s has a secret: %s", what, text)
		}
	}
}
