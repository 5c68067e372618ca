package steps

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/state"
)

// origin is a repository to get sources from, with a work tree to commit in.
type origin struct {
	t   *testing.T
	dir string
}

// newOrigin makes a repository with one commit on the branch main. git does not see
// the configuration of who runs the tests.
func newOrigin(t *testing.T, dir string) origin {
	t.Helper()
	config := filepath.Join(t.TempDir(), "gitconfig")
	put(t, config, []byte("[user]\nname = a\nemail = a@b\n[init]\ndefaultBranch = main\n[protocol \"file\"]\nallow = always\n[gc]\nauto = 0\n"))
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	o := origin{t, dir}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	o.git("init", "--quiet")
	o.commit("a", "one")
	return o
}

// git runs git in the work tree and returns what it prints.
func (o origin) git(args ...string) string {
	o.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = o.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes a file, commits it and returns the revision.
func (o origin) commit(name, text string) string {
	o.t.Helper()
	put(o.t, filepath.Join(o.dir, name), []byte(text))
	o.git("add", "--all")
	o.git("commit", "--quiet", "--message", name)
	return o.head()
}

func (o origin) head() string { return o.git("rev-parse", "HEAD") }

// step is a file with a Git step for the repository.
func (o origin) step(args string) string {
	return with("Git", fmt.Sprintf("repourl=%q, logEnviron=False, %s", o.dir, args))
}

// at makes the rig's builds be for a branch and a revision; "" is none.
func (r *rig) at(branch, revision string) *rig {
	var s state.SourceStamp
	if branch != "" {
		s.Branch = &branch
	}
	if revision != "" {
		s.Revision = &revision
	}
	r.stamps = []state.SourceStamp{s}
	return r
}

// build is a path below workdir.
func (r *rig) build(elems ...string) string {
	return r.builddir(append([]string{"build"}, elems...)...)
}

// got checks that a build ended well at a revision: its property and its work tree.
func (o outcome) got(revision string) {
	o.rig.t.Helper()
	if p, source := o.property("got_revision"); o.results() != "git=success success" || p != revision || source != "Git" {
		o.rig.t.Errorf("%s, got_revision %v from %q, want %s\n%s%s", o.results(), p, source, revision, o.log("stdio", "hoe"), o.log("err.text", "t"))
	}
	if head := (origin{o.rig.t, o.rig.build()}).head(); head != revision {
		o.rig.t.Errorf("the work tree is at %s, want %s", head, revision)
	}
}

// fails checks that a build failed, and what its step says of that.
func (o outcome) fails(why string) {
	o.rig.t.Helper()
	if o.results() != "git=failure failure" || o.steps[0].StateString != "update ("+why+") (failure)" {
		o.rig.t.Errorf("%s, %q, want %q\n%s%s", o.results(), o.steps[0].StateString, why, o.log("stdio", "hoe"), o.log("err.text", "t"))
	}
}

// ran returns the commands of git that the newest builds sent, without --version.
func (r *rig) ran() (commands []string) {
	for _, c := range r.sent {
		if words, ok := c.Args["command"].([]any); ok && words[len(words)-1] != "--version" {
			commands = append(commands, strings.TrimSpace(fmt.Sprintln(words...)))
		}
	}
	r.sent = nil
	return commands
}
