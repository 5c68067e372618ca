package steps

import (
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// clean checks that a secret is nowhere but with git: not in what the worker was sent
// beside files, not in the logs, not in the clone, and in no file that is left.
func (o outcome) clean(secret string) {
	o.rig.t.Helper()
	for _, c := range o.rig.sent {
		if strings.Contains(fmt.Sprint(c.Args), secret) {
			o.rig.t.Errorf("the worker was sent %v", c.Args)
		}
	}
	for _, name := range o.names() {
		if strings.Contains(o.log(name, "hoet"), secret) {
			o.rig.t.Errorf("it is in the log %s", name)
		}
	}
	if strings.Contains(content(o.rig.t, o.rig.build(".git", "config")), secret) {
		o.rig.t.Error("the clone keeps it")
	}
	if left := listing(o.rig.t, o.rig.builddir()+".git-auth"); left != "" {
		o.rig.t.Errorf("left on the worker: %s", left)
	}
}

// sshServer serves ssh on a port of this machine, and lets the key in.
type sshServer struct {
	port         int
	key, hostKey string // a private key, a public one with its type
	user         string
}

// keyPair makes a key.
func keyPair(t *testing.T) (path, private, public string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v (is Debian's openssh-client installed? make test does it)\n%s", err, out)
	}
	return path, content(t, path), strings.TrimSpace(content(t, path+".pub"))
}

func serveSSH(t *testing.T) sshServer {
	t.Helper()
	const sshd = "/usr/sbin/sshd"
	hostFile, _, hostKey := keyPair(t)
	userFile, key, _ := keyPair(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // it is where sshd, started by root, locks itself in
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(t.TempDir(), "sshd_config")
	put(t, config, []byte("HostKey "+hostFile+"\nAuthorizedKeysFile "+userFile+".pub\nPermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			socket, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				t.Error(err)
				return
			}
			cmd := exec.Command(sshd, "-i", "-e", "-f", config)
			cmd.Stdin, cmd.Stdout = socket, socket
			if err := cmd.Start(); err != nil {
				t.Errorf("%v (is Debian's openssh-server installed? make test does it)", err)
			} else {
				wg.Go(func() { cmd.Wait() }) // it says how the connection ended
			}
			socket.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return sshServer{port: l.Addr().(*net.TCPAddr).Port, key: key, hostKey: hostKey, user: me.Username}
}

func TestGitSSH(t *testing.T) {
	r, o := ignoring(t)
	s := serveSSH(t)
	_, stranger, strange := keyPair(t)
	secret := strings.Split(s.key, "\n")[2] // a line of it
	far := origin{t, s.user + "@127.0.0.1:" + o.dir}
	step := func(key, args string) outcome {
		return r.run(far.step(fmt.Sprintf("port=%d, sshPrivateKey=%q, %s", s.port, key, args)))
	}
	hosts := fmt.Sprintf("[127.0.0.1]:%d %s\n", s.port, s.hostKey)
	for name, args := range map[string]string{"host key": fmt.Sprintf("sshHostKey=%q", s.hostKey), "known hosts": fmt.Sprintf("sshKnownHosts=%q", hosts)} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			out := step(s.key, `mode="full", method="clobber", `+args)
			out.got(o.head())
			out.clean(secret)
			next := o.commit("b", name)
			out = step(s.key, args)
			out.got(next)
			out.clean(secret)
		})
	}
	r.t = t
	for name, x := range map[string][2]string{
		"another host key":    {s.key, fmt.Sprintf("sshHostKey=%q", strange)},
		"other known hosts":   {s.key, fmt.Sprintf("sshKnownHosts=%q", "elsewhere "+s.hostKey)},
		"a key of a stranger": {stranger, fmt.Sprintf("sshHostKey=%q", s.hostKey)},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			out := step(x[0], x[1])
			out.fails("git fetch failed")
			out.clean(secret)
			if log := out.log("stdio", "e"); !strings.Contains(log, "verification failed") && !strings.Contains(log, "Permission denied") {
				t.Errorf("the log does not say why: %s", log)
			}
		})
	}
	r.t = t
	// The port of an address of the form ssh://host:port/ needs no argument.
	far.dir = fmt.Sprintf("ssh://%s@127.0.0.1:%d%s", s.user, s.port, o.dir)
	r.run(far.step(fmt.Sprintf("sshPrivateKey=%q, sshHostKey=%q", s.key, s.hostKey))).got(o.head())
}

// serveHTTP serves the repositories below a directory to who has a password.
func serveHTTP(t *testing.T, dir string, passwords map[string]string) *httptest.Server {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		repo, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
		if u, p, _ := req.BasicAuth(); u == "" || passwords[repo] != u+":"+p {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestGitPassword(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	o, sub := newOrigin(t, filepath.Join(dir, "main")), newOrigin(t, filepath.Join(dir, "sub"))
	const secret = "s3cr3t@/:%"
	s := serveHTTP(t, dir, map[string]string{"main": "me:" + secret, "sub": "you:other"})
	o.git("submodule", "--quiet", "add", sub.dir, "sub")
	put(t, filepath.Join(o.dir, ".gitmodules"), []byte("[submodule \"sub\"]\n\tpath = sub\n\turl = "+s.URL+"/sub/.git\n"))
	o.git("commit", "--quiet", "--all", "--message", "sub")
	far := origin{t, s.URL + "/main/.git"}
	inside := origin{t, strings.Replace(far.dir, "http://", "http://me:s3cr3t%40%2F%3A%25@", 1)}
	input := func(repo, user, password string) string {
		return fmt.Sprintf("util.GitCredentialInputRenderer(url=%q, username=%q, password=%q)", s.URL+"/"+repo+"/.git", user, password)
	}
	both := "git_credentials=util.GitCredentialOptions(credentials=[" + input("main", "me", secret) + ", " + input("sub", "you", "other") + "], use_http_path=True)"
	for name, src := range map[string]string{
		"auth_credentials":          far.step(`mode="full", method="clobber", auth_credentials=("me", ` + strconv.Quote(secret) + `)`),
		"auth_credentials rendered": far.step(`auth_credentials=("me", util.Property("none", default=` + strconv.Quote(secret) + `))`),
		"git_credentials":           far.step(`mode="full", method="clobber", submodules=True, ` + both),
		"in the address":            inside.step(`mode="full", method="clobber"`),
		"in the address, update":    inside.step(``),
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			out := r.run(src)
			out.got(o.head())
			out.clean(secret)
			if submodules := strings.Contains(src, "submodules"); submodules && content(t, r.build("sub", "a")) != "one" {
				t.Error("no submodule came")
			}
		})
	}
	r.t = t
	for name, args := range map[string]string{"none": ``, "wrong": `auth_credentials=("me", "wrong")`} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			r.run(far.step(`mode="full", method="clobber", ` + args)).fails("git clone failed")
		})
	}
	r.t = t
	bad := r.run(far.step(`auth_credentials=("me", util.Property("none", default="` + secret + `\nhost=evil"))`))
	if bad.results() != "git=exception exception" {
		t.Errorf("a newline in a password: %s", bad.results())
	}
	bad.clean(secret)
}
