package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

const transfers = `
c = {}
names = ["stock", "own", "local"]
c["workers"] = [worker.Worker("stock", "s"), worker.Worker("own", "o"), worker.LocalWorker("local")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}

def dest(name):
    return util.Interpolate("up/%(prop:workername)s/" + name)

size = 20 * 1024 * 1024 + 1
f = util.BuildFactory([
    steps.FileDownload(mastersrc = "big", workerdest = "in/big", blocksize = 256 * 1024, mode = 0o640, maxsize = size, haltOnFailure = True),
    steps.FileUpload(workersrc = "in/big", masterdest = dest("big"), maxsize = size, keepstamp = True, haltOnFailure = True),
    steps.FileUpload(name = "exact", workersrc = "in/big", masterdest = dest("exact"), maxsize = size - 1, flunkOnFailure = False),
    steps.FileUpload(name = "missing", workersrc = "none", masterdest = dest("missing"), keepstamp = True, flunkOnFailure = False),
    steps.ShellCommand(command = "mkdir -p in/sub/deep && echo 1 > in/sub/deep/a && ln -sf deep/a in/sub/l && ln -f in/sub/deep/a in/sub/h", haltOnFailure = True),
    steps.DirectoryUpload(workersrc = "in", masterdest = dest("plain"), blocksize = 256 * 1024, haltOnFailure = True),
    steps.DirectoryUpload(workersrc = "in", masterdest = dest("gz"), compress = "gz", blocksize = 256 * 1024, haltOnFailure = True),
    steps.DirectoryUpload(name = "cut", workersrc = "in", masterdest = dest("cut"), maxsize = 100000, flunkOnFailure = False),
    steps.DirectoryUpload(name = "no directory", workersrc = "none", masterdest = dest("none"), flunkOnFailure = False),
    steps.MultipleFileUpload(workersrcs = ["in/s*", "in/b*"], glob = True, masterdest = dest("many"), blocksize = 256 * 1024, haltOnFailure = True),
    steps.SetPropertyFromCommand(command = "cat in/sub/deep/a", property = "one", haltOnFailure = True),
    steps.SetProperty("two", util.Interpolate("%(prop:one)s+1"), haltOnFailure = True),
    steps.JSONPropertiesDownload(workerdest = "props.json", haltOnFailure = True),
    steps.ShellCommand(name = "check", command = ["grep", "-q", '"two":"1+1"', "props.json"], haltOnFailure = True),
    steps.MakeDirectory(dir = "made/here"),
    steps.CopyDirectory(src = "build/in/sub", dest = "made/copy"),
    steps.FileExists(file = "made/copy/deep/a"),
    steps.RemoveDirectory(dir = "made"),
    steps.FileExists(name = "removed", file = "made/copy/deep/a", haltOnFailure = False, flunkOnFailure = False),
    steps.MasterShellCommand(command = util.Interpolate("cmp big up/%(prop:workername)s/big")),
])
c["builders"] = [util.BuilderConfig(name = "t-" + w, workernames = [w], factory = f) for w in names]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = [b.name for b in c["builders"]])]
`

// TestTransfers sends 20 MiB to each kind of worker and back, as a file and in
// directories, and compares them byte for byte.
func TestTransfers(t *testing.T) {
	m := newMaster(t, transfers)
	big := make([]byte, 20<<20+1)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(big)
	if err := os.WriteFile(filepath.Join(m.dir, "big"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	m.start()
	m.startStock("stock", "s")
	m.startOwn("own", "o")
	ids := m.builders()
	for _, w := range []string{"stock", "own", "local"} {
		t.Run(w, func(t *testing.T) {
			m := m.in(t)
			m.connected(w)
			b := m.finished(m.force(ids["t-"+w], nil))
			failed := map[string]bool{"exact": true, "missing": true, "cut": true, "no directory": true, "removed": true}
			for _, s := range get[step](m, fmt.Sprintf("builds/%d/steps", b.ID), "steps") {
				if want := failed[s.Name]; s.Results == nil || (*s.Results == 2) != want || !want && *s.Results != 0 {
					t.Errorf("step %s: %s", s.Name, s.StateString)
				}
			}
			checkResult(t, b, 0)
			up := filepath.Join(m.dir, "up", w)
			for _, name := range []string{"big", "plain/big", "gz/big", "many/big"} {
				if got, err := os.ReadFile(filepath.Join(up, name)); err != nil || !bytes.Equal(got, big) {
					t.Errorf("%s differs: %d bytes, %v", name, len(got), err)
				}
			}
			for _, name := range []string{"plain/sub/l", "gz/sub/h", "many/sub/deep/a"} {
				if got, err := os.ReadFile(filepath.Join(up, name)); err != nil || string(got) != "1\n" {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
			entries, err := os.ReadDir(up)
			if err != nil || len(entries) != 4 {
				t.Errorf("left on the master: %v, %v", entries, err)
			}
		})
	}
}
