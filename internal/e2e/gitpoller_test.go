package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// polled looks only when it is asked to, so that the tests decide when.
const polled = `
c = {}
c["workers"] = [worker.LocalWorker("l")]
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}
c["change_source"] = changes.GitPoller(repourl = "{REPO}", branches = True, pollInterval = 0, pollAtLaunch = True, name = "repo")
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["l"], collapseRequests = False, factory = util.BuildFactory([
    steps.Git(repourl = util.Property("repository")),
    steps.ShellCommand(command = "echo at $(git log -1 --format=%s)"),
]))]
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "main", change_filter = util.ChangeFilter(branch = "main"), builderNames = ["b"])]
`

const lookedFirst = "looked for the first time"

// gitRepo is a bare repository with a commit, and a work tree to push from.
type gitRepo struct {
	t          *testing.T
	bare, work string
}

func newGitRepo(t *testing.T) *gitRepo {
	t.Helper()
	dir := t.TempDir()
	r := &gitRepo{t, filepath.Join(dir, "r.git"), filepath.Join(dir, "work")}
	r.git(dir, "init", "-q", "--bare", "-b", "main", r.bare)
	r.git(dir, "init", "-q", "-b", "main", r.work)
	r.push("zero")
	return r
}

func (r *gitRepo) git(dir string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@d")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// push pushes a commit for each message and returns the revisions.
func (r *gitRepo) push(messages ...string) (revisions []string) {
	r.t.Helper()
	for _, m := range messages {
		r.git(r.work, "commit", "-q", "--allow-empty", "-m", m)
		revisions = append(revisions, r.git(r.work, "rev-parse", "HEAD"))
	}
	r.git(r.work, "push", "-q", r.bare, "main")
	return revisions
}

type changeRow struct {
	ChangeID                               int64
	Revision, Branch, Repository, Comments string
}

func (m *master) revisions() (all []string) {
	m.t.Helper()
	for _, c := range get[changeRow](m, "changes?order=changeid", "changes") {
		all = append(all, c.Revision)
	}
	return all
}

// A push to a repository is seen by its poller, scheduled, and built at its revision.
func TestGitPollerBuilds(t *testing.T) {
	r := newGitRepo(t)
	m := newMaster(t, strings.ReplaceAll(polled, "{REPO}", r.bare))
	m.start()
	m.waitFor(lookedFirst, func() bool { return strings.Contains(m.log.String(), lookedFirst) })
	want := r.push("one", "two")
	m.post("changesources/1", "poll", nil, nil)
	var builds []build
	m.waitFor("both commits are built", func() bool {
		builds = get[build](m, "builds?complete=true&order=buildid", "builds")
		return len(builds) == 2
	})
	if got := m.revisions(); !slices.Equal(got, want) {
		t.Errorf("changes of %q, want %q", got, want)
	}
	for i, b := range builds {
		checkResult(t, b, 0)
		if out, want := m.stdio(b.ID, 2), "\nat "+[]string{"one", "two"}[i]+"\n"; !strings.Contains(out, want) {
			t.Errorf("build %d printed %q, want %q", b.ID, out, want)
		}
	}
	type source struct {
		Name  string
		Error *string
	}
	if s := one[source](m, "changesources", "changesources"); s.Name != "repo" || s.Error != nil {
		t.Errorf("the change source is %+v", s)
	}
	if err := os.Rename(r.bare, r.bare+".gone"); err != nil {
		t.Fatal(err)
	}
	m.post("changesources/1", "poll", nil, nil)
	m.waitFor("the source says what is wrong", func() bool {
		s := one[source](m, "changesources/1", "changesources")
		return s.Error != nil && strings.Contains(*s.Error, "does not appear to be a git repository")
	})
}

// However the master is killed while it polls, each commit is a change once.
func TestGitPollerKilled(t *testing.T) {
	r := newGitRepo(t)
	m := newMaster(t, strings.ReplaceAll(polled, "{REPO}", r.bare))
	m.start()
	m.waitFor(lookedFirst, func() bool { return strings.Contains(m.log.String(), lookedFirst) })
	var want []string
	for round := range 6 {
		var messages []string
		for i := range 5 {
			messages = append(messages, fmt.Sprint("push ", round, ".", i))
		}
		want = append(want, r.push(messages...)...)
		m.post("changesources/1", "poll", nil, nil)
		if round%2 == 1 { // or at once, before or while git runs
			m.waitFor("a change", func() bool { return len(m.revisions()) > 5*round })
		}
		m.kill()
		m.start() // and polls at launch
	}
	m.waitFor("all changes", func() bool { return len(m.revisions()) >= len(want) })
	m.post("changesources/1", "poll", nil, nil)
	if got := m.revisions(); !slices.Equal(got, want) {
		t.Errorf("changes of %q, want %q", got, want)
	}
}

// A git that waits for a silent server ends with the master, and with its poller.
func TestGitPollerSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	url := fmt.Sprintf("git://%s/r.git", l.Addr())
	m := newMaster(t, strings.ReplaceAll(polled, "{REPO}", url))
	m.start()
	accept := func() net.Conn {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	gone := func(c net.Conn) {
		t.Helper()
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	c := accept()
	m.configure(strings.ReplaceAll(polled, "{REPO}", url+"2"))
	m.reconfig(0, "repo")
	gone(c)
	c = accept()
	if status := m.stop(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	gone(c)
}
