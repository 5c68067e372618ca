package changes

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

// fakeSSH is an ssh that notes its arguments and files, and reaches this machine only.
const fakeSSH = `#!/bin/sh
cd "$(dirname "$0")"
for word; do
  echo "word $word" >> log
  case $word in
  IdentityFile=*) echo "key $(cat "${word#*=}") $(stat -c %a "${word#*=}")" >> log;;
  UserKnownHostsFile=*) echo "hosts $(cat "${word#*=}")" >> log;;
  esac
done
eval "$word"
`

func TestGitPollerSSH(t *testing.T) {
	for args, want := range map[string][]string{
		`sshPrivateKey = "our key"`:                                           {"key our key 600", "word IdentitiesOnly=yes"},
		`sshPrivateKey = "our key", sshHostKey = "ssh-ed25519 AAAA"`:          {"hosts * ssh-ed25519 AAAA", "word StrictHostKeyChecking=yes"},
		`sshPrivateKey = "our key", sshKnownHosts = "host1 ssh-ed25519 BBBB"`: {"hosts host1 ssh-ed25519 BBBB", "word StrictHostKeyChecking=yes"},
	} {
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(fakeSSH), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		r := started(t)
		h := newHost(t)
		p := newPoller(t, h, "ssh://git@example.org"+r.bare, ", "+args)
		p.finds()
		r.push("main", "second")
		p.finds("main: second")
		log, err := os.ReadFile(filepath.Join(bin, "log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range append(want, "word git@example.org", "word BatchMode=yes") {
			if !strings.Contains("\n"+string(log), "\n"+line+"\n") {
				t.Errorf("%s: %q is missing in %s", args, line, log)
			}
		}
		if left := grep(t, h.dir, "our key"); left != "" {
			t.Errorf("the key is left in %s", left)
		}
	}
}

func TestGitPollerPassword(t *testing.T) {
	r := started(t)
	server := httptest.NewServer(nil)
	defer server.Close()
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := &cgi.Handler{
		Path: strings.TrimSpace(string(backend)) + "/git-http-backend",
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.bare), "GIT_HTTP_EXPORT_ALL=1"},
	}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if user, pw, _ := q.BasicAuth(); user != "me" || pw != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, q)
	})
	address := server.URL + "/remote.git"
	withPassword := strings.Replace(address, "://", "://me:hunter2@", 1)
	for _, tt := range []struct{ url, args string }{
		{address, `, auth_credentials = ("me", "hunter2")`},
		{address, fmt.Sprintf(`, git_credentials = util.GitCredentialOptions(credentials = ["url=%s\nusername=me\npassword=hunter2"])`, server.URL)},
		{withPassword, ""},
	} {
		h := newHost(t)
		p := newPoller(t, h, tt.url, tt.args)
		p.finds()
		r.push("main", "push"+tt.args)
		if got := p.poll(); len(got) != 1 || got[0].Repository != address {
			t.Errorf("%s: got %+v", tt.args, got)
		}
		if left := grep(t, h.dir, "hunter2"); left != "" {
			t.Errorf("%s: the password is left in %s", tt.args, left)
		}
	}
	p := newPoller(t, newHost(t), address, `, auth_credentials = ("me", "wrong-one")`)
	p.failed("Authentication failed")
	if err := p.gitPoll.poll(t.Context()); strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("the error shows the password: %v", err)
	}
}

// grep returns a file below a directory that has a text in it.
func grep(t *testing.T, dir, text string) (found string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			found = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
