package steps

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"buildstar/engine/run"
)

// The files of a clone that is broken are no reason to touch a repository above it.
func TestGitBroken(t *testing.T) {
	r, o := ignoring(t)
	outer := newOrigin(t, r.there) // the worker lives in a clone
	put(t, filepath.Join(r.there, "precious"), []byte("mine"))
	for _, mode := range []string{`mode="full"`, `mode="incremental"`} {
		if err := os.RemoveAll(r.builddir()); err != nil {
			t.Fatal(err)
		}
		put(t, r.build(".git", "x"), nil)
		r.run(o.step(mode)).fails("the clone is broken")
		r.run(o.step(mode + ", clobberOnFailure=True")).got(o.head())
		if content(t, filepath.Join(r.there, "precious")) != "mine" || outer.head() == o.head() {
			t.Fatal("the repository above was touched")
		}
	}
	// What is no clone makes way for one.
	if err := os.RemoveAll(r.build(".git")); err != nil {
		t.Fatal(err)
	}
	put(t, r.build("foreign"), nil)
	r.run(o.step("")).got(o.head())
	if content(t, r.build("foreign")) != "(none)" {
		t.Error("what was there is still there")
	}
}

func TestGitClobberOnFailure(t *testing.T) {
	r, o := ignoring(t)
	r.run(o.step("")).got(o.head())
	put(t, r.build(".git", "index.lock"), nil) // a git that was killed
	r.run(o.step("")).fails("git checkout failed")
	r.run(o.step("clobberOnFailure=True")).got(o.head())
	if err := os.Rename(o.dir, o.dir+".away"); err != nil {
		t.Fatal(err)
	}
	r.run(o.step("clobberOnFailure=True")).fails("git clone failed")
}

// retryFetch and retry do what failed again.
func TestGitRetry(t *testing.T) {
	r, o := ignoring(t)
	r.run(o.step("")).got(o.head())
	if err := os.Rename(o.dir, o.dir+".away"); err != nil {
		t.Fatal(err)
	}
	count := func(what string) (n int) {
		for _, c := range r.ran() {
			if strings.Contains(c, what) {
				n++
			}
		}
		return n
	}
	r.ran()
	r.run(o.step("retryFetch=True")).fails("git fetch failed")
	if n := count(" fetch "); n != 2 {
		t.Errorf("it fetched %d times", n)
	}
	r.run(o.step(`mode="full", method="clobber", retry=(0.001, 2)`)).fails("git clone failed")
	if n := count(" clone "); n != 3 {
		t.Errorf("it cloned %d times", n)
	}
	// The second clone succeeds: the first one's end brings the repository back.
	// The first clone fails and brings the repository back.
	far := origin{t, "git@host:" + o.dir}
	ssh := script(t, "if test -e "+o.dir+"; then shift; exec sh -c \"$*\"; fi; mv "+o.dir+".away "+o.dir+"; exit 1")
	out := r.run(far.step(`mode="full", method="clobber", retry=(0, 1), env={"GIT_SSH_VARIANT": "simple", "GIT_SSH": ` + ssh + `}`))
	out.got(o.head())
}

// script writes a shell script and returns its path, quoted.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	put(t, path, []byte("#!/bin/sh\n"+text+"\n"))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return strconv.Quote(path)
}

// A command that says nothing for too long is killed, and the step says which.
func TestGitTimeout(t *testing.T) {
	r, o := ignoring(t)
	o.dir = "git@host:a"
	r.change = func(args map[string]any) {
		if words, _ := args["command"].([]any); slices.Contains(words, any("clone")) { // the others have time
			args["timeout"] = 0.3
		}
	}
	r.run(o.step(`env={"GIT_SSH_VARIANT": "simple", "GIT_SSH": ` + script(t, "exec sleep 1000") + `}`)).fails("git clone timed out")
}

// A clone that is stopped leaves no process behind, and the next build has its way.
func TestGitStop(t *testing.T) {
	r, o := ignoring(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	left := make(chan string, 1)
	go func() { left <- gone(t, fifo) }()
	bin := t.TempDir()
	private := r.builddir() + ".git-auth"
	put(t, filepath.Join(bin, "ssh"), []byte("#!/bin/sh\ntest -s "+private+"/ssh-key || exit 1\nexec 3>"+fifo+"; echo up >&2; sleep 1000\n"))
	if err := os.Chmod(filepath.Join(bin, "ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	far := origin{t, "git@host:a"}
	args := `progress=False, sshPrivateKey="KEY", env={"PATH": [` + strconv.Quote(bin) + `, "${PATH}"]}`
	out := r.runWith(far.step(args), func(b *run.Build) { b.Stop("enough") })
	if out.results() != "git=cancelled cancelled" {
		t.Errorf("%s\n%s", out.results(), out.log("stdio", "hoe"))
	}
	if left := listing(t, private); left != "" {
		t.Errorf("left on the worker: %s", left)
	}
	<-left
	r.run(o.step("")).got(o.head())
}

// A worker without git is no fault of the source.
func TestGitNotInstalled(t *testing.T) {
	r, o := ignoring(t)
	out := r.run(o.step(`env={"PATH": "/nonexistent"}`))
	if out.results() != "git=exception exception" || !strings.Contains(out.log("err.text", "t"), "not installed") {
		t.Errorf("%s, %s", out.results(), out.log("err.text", "t"))
	}
	fake := t.TempDir()
	put(t, filepath.Join(fake, "git"), []byte("#!/bin/sh\necho git version 1.7.1\n"))
	if err := os.Chmod(filepath.Join(fake, "git"), 0o755); err != nil {
		t.Fatal(err)
	}
	out = r.run(o.step(`env={"PATH": [` + strconv.Quote(fake) + `, "${PATH}"]}`))
	if out.results() != "git=exception exception" || !strings.Contains(out.log("err.text", "t"), "1.7.1 is too old") {
		t.Errorf("%s, %s", out.results(), out.log("err.text", "t"))
	}
}

func TestGitProblems(t *testing.T) {
	for args, want := range map[string]string{
		``: "repourl", `""`: "empty", `"--upload-pack=x"`: "option", `"/a", branch="a:b"`: "branch", `"/a", branch=""`: "branch",
		`"/a", mode="update"`: "incremental", `"/a", mode="full", method="export"`: "clobber", `"/a", mode="full", shallow=True`: "shallow",
		`"/a", shallow="yes"`: "number of commits", `"/a", shallow=-1`: "number of commits", `"/a", port=0`: "port",
		`"/a", retry=3`: "(delay, repeats)", `"/a", retry=(1, -1)`: "(delay, repeats)", `"/a", timeout=-1`: "timeout",
		`"/a", getDescription={"tag": True}`: "no option", `"/a", getDescription={"abbrev": "x"}`: "want int", `"/a", getDescription=3`: "dict",
		`"/a", config={"autocrlf": "true"}`: "core.autocrlf", `"/a", sshHostKey="ssh-rsa A"`: "sshPrivateKey",
		`"/a", auth_credentials=("u",)`: "password", `"/a", git_credentials=["x"]`: "git_credentials", `"/a", env={"A": 1}`: "env",
	} {
		if _, ps := eval(t, with("Git", args)); len(ps) != 1 || !strings.Contains(ps.Error(), want) {
			t.Errorf("%s: %v", args, ps)
		}
	}
	r := newRig(t)
	for args, want := range map[string]string{
		`"/a", mode=util.Property("x", default="y")`: "mode", `"/a", mode="full", method=util.Property("x", default="y")`: "method",
		`util.Property("x", default="-o")`: "repourl", `"/a", branch=util.Property("x", default="a:b")`: "branch",
		`"/a", config=util.Property("x", default={"a": "b"})`: "config",
	} {
		out := r.run(with("Git", args))
		if out.results() != "git=exception exception" || !strings.Contains(out.log("err.text", "t"), "render "+want) {
			t.Errorf("%s: %s, %s", args, out.results(), out.log("err.text", "t"))
		}
	}
}
