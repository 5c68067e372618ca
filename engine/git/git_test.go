package git

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"buildstar/config/prop"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]Version{
		"git version 2.39.5\n":                 {2, 39, 5},
		"git version 2.39.5 (Apple Git-154)\n": {2, 39, 5},
		"git version 2.47.0.windows.2":         {2, 47, 0},
		"git version 2.50-rc1":                 {2, 50, 0},
	} {
		if v, err := ParseVersion(text); err != nil || v != want {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	}
	for _, text := range []string{"", "git", "sh: git: not found", "git version x"} {
		if v, err := ParseVersion(text); err == nil {
			t.Errorf("%q: %v", text, v)
		}
	}
	if (Version{1, 8, 2}).Check() == nil || (Version{1, 8, 3}).Check() != nil || (Version{1, 9, 0}).Check() != nil {
		t.Error("the oldest version is not 1.8.3")
	}
}

// What git-check-ref-format refuses is refused, and what could be an option or a refspec.
func TestCheckRef(t *testing.T) {
	for _, name := range []string{"main", "HEAD", "feature/a-b", "refs/pull/7/head", "v1.0", "ä", "a@b", "a{b"} {
		if err := CheckRef(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "-f", "--upload-pack=x", "+main", "a:b", "refs/heads/*", "a b", "a\nb", "a..b", "a~1", "a^", "a?", "a[", `a\b`, "a@{1}", "@",
		"a.lock", "a.lock/b", "/a", "a/", "a//b", ".a", "a/.b", "a.",
	} {
		if CheckRef(name) == nil {
			t.Errorf("%q is accepted", name)
		}
		if name != "" && name != "@" && exec.Command("git", "check-ref-format", "--branch", name).Run() == nil && name[0] != '+' {
			t.Errorf("%q is refused, and git accepts it", name)
		}
	}
}

func TestCheckRevision(t *testing.T) {
	for rev, want := range map[string]bool{
		"0123456789012345678901234567890123456789": true, "v1.0": true, "HEAD~2": true, ":/fix it": true, "": false, "-f": false, "a\nb": false,
	} {
		if got := CheckRevision(rev) == nil; got != want {
			t.Errorf("%q: %v", rev, got)
		}
	}
	if !IsHash(strings.Repeat("0a", 20)) || !IsHash(strings.Repeat("0a", 32)) || IsHash("0a") || IsHash(strings.Repeat("0A", 20)) {
		t.Error("IsHash is wrong")
	}
}

func text(s string) prop.Template[*string] { return prop.Of(&s) }

func access(t *testing.T, a Auth, repourl string, port int64) *Access {
	t.Helper()
	x, err := a.Render(context.Background(), &prop.Map{}, repourl, port)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A password in the address leaves it, whatever it is made of.
func TestPasswordLeavesTheAddress(t *testing.T) {
	for repourl, want := range map[string]string{
		"https://u:p%40s%2Fs@host:8443/a/b.git": "https://host:8443/a/b.git https://u:p%40s%2Fs@host:8443/a/b.git\n",
		"https://u@host/a":                      "https://u@host/a ",
		"http://u:@host/a":                      "http://host/a http://u:@host/a\n",
		"git@host:a/b.git":                      "git@host:a/b.git ",
		"/a/b":                                  "/a/b ",
		"ssh://git@host:22/a":                   "ssh://git@host:22/a ",
	} {
		x := access(t, Auth{}, repourl, 22)
		got := x.URL + " "
		for _, f := range x.Files() {
			got += f.Content
		}
		if got != want {
			t.Errorf("%s: %q, want %q", repourl, got, want)
		}
	}
	for _, repourl := range []string{"", "-o", "https://u:hunter2%zz@host/a", "https://u:hunter2@/a", "a\nb", "https://u:hunter2%0a@host/"} {
		_, err := (&Auth{}).Render(context.Background(), &prop.Map{}, repourl, 22)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", repourl, err)
		}
	}
}

// git finds each password, and only where it belongs.
func TestGitFindsPasswords(t *testing.T) {
	yes := true
	x := access(t, Auth{
		AuthCredentials: prop.Of(&Login{"me", "p@s:s/w%"}),
		GitCredentials: &CredentialOptions{UseHTTPPath: &yes, Credentials: []prop.Template[string]{
			prop.Of("url=https://host/other.git\nusername=you\npassword=second"),
			prop.Of("protocol=http\r\nhost=plain:8080\r\npath=a\r\nusername=u\r\npassword=third\r\n"),
		}},
	}, "https://host/mine.git", 22)
	dir := filepath.Join(t.TempDir(), "it's a % dir")
	writeFiles(t, x, dir)
	for ask, want := range map[string]string{
		"protocol=https\nhost=host\npath=mine.git\n":   "username=me\npassword=p@s:s/w%\n",
		"protocol=https\nhost=host\npath=other.git\n":  "username=you\npassword=second\n",
		"protocol=http\nhost=plain:8080\npath=a\n":     "username=u\npassword=third\n",
		"protocol=https\nhost=elsewhere\npath=a.git\n": "",
	} {
		cmd := exec.Command("git", append(x.Options(dir), "credential", "fill")...)
		cmd.Stdin = strings.NewReader(ask + "\n")
		cmd.Env = environ(t, x, dir)
		out, err := cmd.Output()
		if got := strings.TrimPrefix(string(out), ask); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: %q, %v", ask, out, err)
		}
	}
	for _, word := range x.Options(dir) {
		if strings.Contains(word, "p@s") || strings.Contains(word, "second") {
			t.Errorf("the command line shows a password: %q", word)
		}
	}
}

func writeFiles(t *testing.T, x *Access, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range x.Files() {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func environ(t *testing.T, x *Access, dir string) []string {
	t.Helper()
	env, err := x.Env(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	for name, v := range env {
		list = append(list, name+"="+v)
	}
	return list
}

// ssh reads our options as they are meant, whatever the directory is called.
func TestSSHCommand(t *testing.T) {
	x := access(t, Auth{SSHPrivateKey: text("KEY"), SSHHostKey: text("ssh-ed25519 AAAA\n")}, "git@host:a", 2222)
	want := []File{{"ssh-key", "KEY\n"}, {"ssh-known-hosts", "* ssh-ed25519 AAAA\n"}}
	if d := cmp.Diff(want, x.Files()); d != "" {
		t.Error(d)
	}
	dir := filepath.Join(t.TempDir(), "it's a 100%h dir")
	writeFiles(t, x, dir)
	env, err := x.Env(dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", env["GIT_SSH_COMMAND"]+" -G host").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"batchmode yes", "port 2222", "identitiesonly yes", "identityfile " + strings.ReplaceAll(dir, "%", "%%") + "/ssh-key", "stricthostkeychecking true",
		"userknownhostsfile " + dir + "/ssh-known-hosts",
	} {
		if !strings.Contains(string(out), line+"\n") {
			t.Errorf("ssh does not say %q:\n%s", line, out)
		}
	}
	if _, err := x.Env(`/a"b`); err == nil {
		t.Error("a quote in the path is accepted")
	}
	if env, err := access(t, Auth{}, "git@host:a", 22).Env("/d"); err != nil || len(env) != 1 || env["GIT_TERMINAL_PROMPT"] != "0" {
		t.Errorf("without a key: %v, %v", env, err)
	}
	if got := join(`C:\bot\b`, "f"); got != "C:/bot/b/f" {
		t.Errorf("Windows: %s", got)
	}
}

func TestOldGit(t *testing.T) {
	key := access(t, Auth{SSHPrivateKey: text("KEY")}, "git@host:a", 22)
	password := access(t, Auth{AuthCredentials: prop.Of(&Login{"u", "p"})}, "https://h/", 22)
	open := access(t, Auth{}, "/a", 22)
	for v, want := range map[Version][3]bool{
		{1, 8, 2}: {false, false, false}, {2, 2, 9}: {false, false, true}, {2, 3, 0}: {true, false, true}, {2, 9, 0}: {true, true, true},
	} {
		if got := [3]bool{key.Check(v) == nil, password.Check(v) == nil, open.Check(v) == nil}; got != want {
			t.Errorf("%v: %v", v, got)
		}
	}
}

func TestAuthProblems(t *testing.T) {
	for name, x := range map[string]struct {
		a    Auth
		want string
	}{
		"nothing":          {Auth{}, ""},
		"host key alone":   {Auth{SSHHostKey: text("ssh-rsa A")}, "sshHostKey"},
		"known hosts":      {Auth{SSHKnownHosts: text("h ssh-rsa A")}, "sshKnownHosts"},
		"both":             {Auth{SSHPrivateKey: text("K"), SSHHostKey: text("ssh-rsa A"), SSHKnownHosts: text("h ssh-rsa A")}, "sshKnownHosts"},
		"empty":            {Auth{SSHPrivateKey: text(" \n")}, "sshPrivateKey"},
		"no type":          {Auth{SSHPrivateKey: text("K"), SSHHostKey: text("AAAA")}, "sshHostKey"},
		"several keys":     {Auth{SSHPrivateKey: text("K"), SSHHostKey: text("ssh-rsa A\nssh-rsa B")}, "sshHostKey"},
		"all as it should": {Auth{SSHPrivateKey: text("K"), SSHKnownHosts: text("h ssh-rsa A")}, ""},
	} {
		var got []string
		x.a.Check(func(_, param, _, _ string) { got = append(got, param) })
		if strings.Join(got, " ") != x.want {
			t.Errorf("%s: %v, want %s", name, got, x.want)
		}
	}
}

// What is wrong with a rendered value is said without showing it.
func TestRenderProblems(t *testing.T) {
	const secret = "hunter2"
	credential := func(text string) Auth {
		return Auth{GitCredentials: &CredentialOptions{Credentials: []prop.Template[string]{prop.Of(text)}}}
	}
	for name, a := range map[string]Auth{
		"ssh":          {AuthCredentials: prop.Of(&Login{"u", secret})},
		"no lines":     credential(secret),
		"unknown name": credential("protocol=https\nhost=h\nusername=u\npassword=" + secret + "\nx=1"),
		"no host":      credential("protocol=https\nusername=u\npassword=" + secret),
		"bad address":  credential("url=https://u:" + secret + "%zz@h/"),
		"nobody":       credential("url=https://h/"),
		"control":      credential("url=https://h/\nusername=u\npassword=" + secret + "\x01"),
	} {
		_, err := a.Render(context.Background(), &prop.Map{}, "git@host:a", 22)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A newline adds no line to what git reads.
	a := Auth{AuthCredentials: prop.Of(&Login{"u", secret + "\nhost=evil"})}
	if _, err := a.Render(context.Background(), &prop.Map{}, "https://h/", 22); err == nil || !strings.Contains(err.Error(), "control character") {
		t.Errorf("a newline in the password: %v", err)
	}
	for _, v := range []any{nil, secret, []any{"u"}, []any{"u", int64(3)}, []any{"", secret}, []any{"u", ""}} {
		if err := new(Login).FromValue(v); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func FuzzLogin(f *testing.F) {
	f.Add("url=https://u:p@h/p\nusername=u\npassword=p")
	f.Add("protocol=http\nhost=h:80\npath=a b\nusername=\xff\npassword=%")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := newLogin(text)
		if err != nil {
			return
		}
		line := l.line()
		if strings.Count(line, "\n") != 1 {
			t.Errorf("%q: more than one line", line)
		}
		var back login
		if err := back.setURL(strings.TrimSuffix(line, "\n")); err != nil || back.username != l.username || back.password != l.password {
			t.Errorf("%q became %q (%v)", l, back, err)
		}
	})
}

func FuzzCheckRef(f *testing.F) {
	f.Add("main")
	f.Add("a:b")
	f.Fuzz(func(t *testing.T, name string) {
		if CheckRef(name) == nil && (name == "" || strings.ContainsAny(name, "-+") && strings.IndexAny(name, "-+") == 0 || strings.ContainsAny(name, " \n\x00:*")) {
			t.Errorf("%q is accepted", name)
		}
	})
}
