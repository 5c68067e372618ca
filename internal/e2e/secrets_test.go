package e2e

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
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

const passedOn = `
c = {}
c["secretsProviders"] = [secrets.SecretInAFile(dirname = "secrets")]
c["workers"] = [worker.LocalWorker("w")]
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["builders"] = [
    util.BuilderConfig(name = "top", workernames = ["w"], factory = util.BuildFactory([
        steps.SetProperty(property = "copied", value = util.Secret("token")),
        steps.ShellCommand(command = ["sh", "-c", "echo $0; cp /nowhere/$0 .", util.Secret("token")], flunkOnFailure = False),
        steps.Trigger(schedulerNames = ["next"], copy_properties = ["copied"],
            set_properties = {"login": util.Interpolate("user:%(secret:token)s"), "list": [util.Secret("token"), {"n": 1}]}),
        steps.Trigger(schedulerNames = ["night"], copy_properties = ["copied"]),
    ])),
    util.BuilderConfig(name = "below", workernames = ["w"], factory = util.BuildFactory([
        steps.ShellCommand(command = ["sh", "-c", "printf %s \"$0\" | sha256sum", util.Interpolate("%(prop:copied)s %(prop:login)s %(prop:list)s")]),
        steps.ShellCommand(command = ["echo", util.Property("login")]),
        steps.SetPropertyFromCommand(command = ["echo", "again", util.Property("copied")], property = "again"),
    ])),
]
c["schedulers"] = [
    schedulers.ForceScheduler(name = "force", builderNames = ["top"]),
    schedulers.Triggerable(name = "next", builderNames = ["below"]),
    schedulers.NightlyTriggerable(name = "night", builderNames = ["below"], month = 2, dayOfMonth = 29),
]
`

// A triggered build has the secrets of the one that asked for it, also when it is built
// again; nothing that the master keeps or shows has them.
func TestSecretsPassedOn(t *testing.T) {
	const token = "t0ps3cret"
	m := newMaster(t, passedOn)
	dir := filepath.Join(m.dir, "secrets")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	checkResult(t, m.finished(m.force(m.builders()["top"], nil)), 0)
	below := m.finished(2)
	checkResult(t, below, 0)
	whole := fmt.Sprintf("%x", sha256.Sum256([]byte(token+" user:"+token+" ['"+token+"', {'n': 1}]")))
	check := func(b build) {
		t.Helper()
		if got := m.stdio(b.ID, 1); !strings.Contains(got, whole) {
			t.Errorf("the build had other properties: %s", got)
		}
		if got := m.stdio(b.ID, 2); !strings.Contains(got, "\nuser:<token>\n") {
			t.Errorf("the log: %s", got)
		}
	}
	check(below)
	m.post(fmt.Sprintf("builds/%d", below.ID), "rebuild", map[string]any{}, nil)
	check(m.finished(3))
	for _, path := range []string{"buildsets/2/properties", "buildsets/3/properties", "builds/2/properties", "builds/3/properties", "buildsets", "builds?property=*", "buildrequests?property=*"} {
		if got := m.text("/api/v2/" + path); strings.Contains(got, token) {
			t.Errorf("%s shows the secret: %s", path, got)
		}
	}
	const shown = `user:\u003ctoken\u003e`
	if got := m.text("/api/v2/buildsets/2/properties"); !strings.Contains(got, shown) {
		t.Errorf("the properties of the buildset: %s", got)
	}
	m.stop()
	kept := false
	forms := [][]byte{[]byte(token), []byte(base64.StdEncoding.EncodeToString([]byte(token)))}
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return cmp.Or(err, fs.SkipDir)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		kept = kept || bytes.Contains(data, []byte(shown))
		for _, form := range forms {
			if bytes.Contains(data, form) {
				t.Errorf("%s has the secret", path)
			}
		}
		return err
	})
	if err != nil || !kept {
		t.Errorf("what is kept: %v; the property is there: %v", err, kept)
	}
	if strings.Contains(m.log.String(), token) {
		t.Error("the log of the master has the secret")
	}
}
