package e2e

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const checkouts = `
c = {}
names = ["stock", "own", "local"]
c["workers"] = [worker.Worker("stock", "s"), worker.Worker("own", "o"), worker.LocalWorker("local")]
c["protocols"] = {"msgpack_experimental_v7": {"port": "tcp:{WORKERS}:interface=127.0.0.1"}}
c["www"] = {"port": "tcp:{WEB}:interface=127.0.0.1"}

def git(name, **kwargs):
    return steps.Git(name = name, repourl = "{REPOSITORY}", auth_credentials = ("me", "pass%word"), haltOnFailure = True, **kwargs)

f = util.BuildFactory([
    git("clone", mode = "full", method = "clobber", retry = (1, 1)),
    steps.ShellCommand(command = "echo dirty > a; touch left.o", haltOnFailure = True),
    git("clean", mode = "full", method = "clean", branch = "side"),
    git("fresh", mode = "full", clobberOnFailure = True),
    git("copy", mode = "full", method = "copy", getDescription = {"always": True}),
    git("update", logEnviron = False),
    steps.ShellCommand(name = "check", command = "cat a; ls -A . ../..", haltOnFailure = True, logEnviron = False),
])
c["builders"] = [util.BuilderConfig(name = "g-" + w, workernames = [w], factory = f) for w in names]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = [b.name for b in c["builders"]])]
`

// TestGitOnEveryWorker checks out a repository that asks for a password, in every mode,
// on each kind of worker.
func TestGitOnEveryWorker(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", repo, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.MkdirAll(repo, 0o777); err != nil {
		t.Fatal(err)
	}
	git("init", "--quiet", "--initial-branch=main")
	for name, text := range map[string]string{"a": "text of a\n", ".gitignore": "*.o\n"} {
		if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git("add", "--all")
	git("commit", "--quiet", "--message", "one")
	git("branch", "side")
	head := git("rev-parse", "HEAD")

	m := newMaster(t, strings.ReplaceAll(checkouts, "{REPOSITORY}", serveGit(t, repo)+"/.git"))
	m.start()
	m.startStock("stock", "s")
	m.startOwn("own", "o")
	ids := m.builders()
	for _, w := range []string{"stock", "own", "local"} {
		t.Run(w, func(t *testing.T) {
			m := m.in(t)
			m.connected(w)
			b := m.finished(m.force(ids["g-"+w], nil))
			checkResult(t, b, 0)
			for n, s := range get[step](m, fmt.Sprintf("builds/%d/steps", b.ID), "steps") {
				log := ""
				if n > 0 {
					log = m.stdio(b.ID, n)
				}
				if s.Results == nil || *s.Results != 0 {
					t.Errorf("step %s: %s\n%s", s.Name, s.StateString, log)
				}
				if strings.Contains(log, "pass%word") || strings.Contains(log, "pass%25word") {
					t.Errorf("the log of %s shows the password:\n%s", s.Name, log)
				}
				if s.Name == "check" && (!strings.Contains(log, "text of a\n") || strings.Contains(log, "left.o") || strings.Contains(log, "git-auth")) {
					t.Errorf("what is there at the end:\n%s", log)
				}
			}
			props := one[map[string][2]any](m, fmt.Sprintf("builds/%d/properties", b.ID), "properties")
			if got := props["got_revision"]; got[0] != head || got[1] != "Git" {
				t.Errorf("got_revision is %v, want %s", got, head)
			}
		})
	}
}

// serveGit serves a repository over http to who knows the password.
func serveGit(t *testing.T, repo string) string {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + repo, "GIT_HTTP_EXPORT_ALL=1"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if u, p, _ := req.BasicAuth(); u != "me" || p != "pass%word" {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
