package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

const named = `
c = {}
c["title"] = "Frobnicator"
c["titleURL"] = "https://frob.example/"
c["buildbotURL"] = "https://ci.frob.example"
c["properties"] = {"site": "north"}
c["change_source"] = []
c["services"] = []
c["projects"] = [util.Project(name = "frob")]
c["workers"] = [worker.LocalWorker("l")]
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["builders"] = [util.BuilderConfig(name = "b", project = "frob", workernames = ["l"], factory = util.BuildFactory([
    steps.ShellCommand(command = ["echo", util.URLForBuild, util.Interpolate("at %(prop:site)s")]),
]))]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
`

// TestTopLevelKeys observes the keys of c that say who and where the master is.
func TestTopLevelKeys(t *testing.T) {
	m := newMaster(t, named)
	m.start()
	b := m.finished(m.force(m.builders()["b"], nil))
	checkResult(t, b, 0)
	out := m.stdio(b.ID, 1)
	if !strings.Contains(out, "\nhttps://ci.frob.example/builders/b/1 at north\n") {
		t.Errorf("stdio is %q", out)
	}
	res, err := http.Get(m.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Frobnicator", `href="https://frob.example/"`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not show %s", want)
		}
	}
	type project struct{ Name string }
	if p := one[project](m, "projects", "projects"); p.Name != "frob" {
		t.Errorf("project %q", p.Name)
	}
}
