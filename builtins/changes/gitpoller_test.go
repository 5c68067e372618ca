package changes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/engine/change"
)

// The first poll adds nothing; then each new commit is a change, oldest first.
func TestGitPollerRepourl(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, "")
	p.finds()
	p.finds()
	r.push("main", "second", "third line\n\nand more")
	hash := r.git("rev-parse", "HEAD")
	got := p.poll()
	want := change.Input{
		Author: "Ann <ann@example.org>", Committer: "Carl <carl@example.org>", Comments: "third line\nand more", Branch: "main",
		Revision: hash, When: 1_600_000_003_000, Files: []string{"third.txt"}, Repository: r.bare,
	}
	if len(got) != 2 || got[0].Comments != "second" || !reflect.DeepEqual(got[1], want) {
		t.Errorf("got %+v, want second and %+v", got, want)
	}
	p.finds()
	if p.Key() != (config.Key{Kind: config.KindChangeSource, Name: r.bare}) || p.Type() != "GitPoller" {
		t.Errorf("it is %v, a %s", p.Key(), p.Type())
	}
}

// By default the poller looks at the repository's default branch only.
func TestGitPollerDefaultBranch(t *testing.T) {
	r := started(t)
	r.push("trunk", "of trunk")
	r.git("--git-dir", r.bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
	p := newPoller(t, newHost(t), r.bare, "")
	p.finds()
	r.push("main", "of main")
	r.push("trunk", "more")
	p.finds("trunk: more")
	r.git("--git-dir", r.bare, "update-ref", "--no-deref", "HEAD", r.git("rev-parse", "trunk"))
	p.failed("names no branch")
}

// A push to a repository that was empty is found.
func TestGitPollerEmptyRepository(t *testing.T) {
	r := newRemote(t)
	p := newPoller(t, newHost(t), r.bare, "")
	p.finds()
	r.push("main", "first", "second")
	p.finds("main: first", "main: second")
}

func TestGitPollerBranches(t *testing.T) {
	for args, want := range map[string][]string{
		`branches = ["main", "refs/heads/b", "nowhere"]`: {"b: 2", "main: 1"},
		`branches = ("c",)`: {"c: 3"},
		`branches = True`:   {"b: 2", "c: 3", "main: 1"},
		`branches = lambda ref: ref.startswith("refs/heads/") and ref != "refs/heads/main"`: {"b: 2", "c: 3"},
		`branches = lambda ref: ref == "refs/pull/1/head"`:                                  {"refs/pull/1/head: 1"},
		`branches = ["refs/pull/1/head"]`:                                                   {"refs/pull/1/head: 1"},
		`branches = None`:                                                                   {"main: 1"},
		`branches = lambda ref: None`:                                                       nil,
	} {
		r := started(t)
		r.git("push", "-q", "origin", "main:refs/pull/1/head", "main:b", "main:c")
		p := newPoller(t, newHost(t), r.bare, ", "+args)
		p.finds()
		for i, branch := range []string{"main", "b", "c"} {
			r.git("checkout", "-q", "--detach", "origin/"+branch)
			r.commit(fmt.Sprint(i + 1))
			r.git("push", "-q", "origin", "HEAD:"+branch)
		}
		r.git("push", "-q", "origin", "origin/main:refs/pull/1/head")
		p.finds(want...)
	}
	r := started(t)
	newPoller(t, newHost(t), r.bare, `, branches = lambda ref: fail("no idea")`).failed("no idea")
}

func TestGitPollerBranch(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, `, branch = "b"`)
	p.finds()
	r.push("main", "1")
	p.finds()
	r.push("b", "2")
	p.finds("b: first", "b: 1", "b: 2") // nothing was seen before
	r.push("b", "3")
	p.finds("b: 3")
}

func TestGitPollerWorkdir(t *testing.T) {
	r := started(t)
	h := newHost(t)
	for _, tt := range []struct{ args, dir string }{
		{"", filepath.Join(h.dir, "gitpoller-work")},
		{`, workdir = "a/b"`, filepath.Join(h.dir, "a", "b")},
		{fmt.Sprintf(`, workdir = %q`, filepath.Join(r.work, "clones")), filepath.Join(r.work, "clones")},
	} {
		h.memory = nil
		newPoller(t, h, r.bare, tt.args).finds()
		newPoller(t, h, r.bare, tt.args+`, name = "other"`).finds()
		if got, _ := filepath.Glob(tt.dir + "/*/HEAD"); len(got) != 2 { // they do not share a clone
			t.Errorf("%s: clones %q", tt.args, got)
		}
	}
}

func TestGitPollerGitbin(t *testing.T) {
	r := started(t)
	bin := filepath.Join(t.TempDir(), "our git")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\necho \"$0\" >> \"$0.log\"\nexec git \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	newPoller(t, newHost(t), r.bare, fmt.Sprintf(`, gitbin = %q`, bin)).finds()
	if log, err := os.ReadFile(bin + ".log"); err != nil || !strings.Contains(string(log), bin) {
		t.Errorf("it did not run: %q, %v", log, err)
	}
	newPoller(t, newHost(t), r.bare, `, gitbin = "/no/such/git"`).failed("/no/such/git")
}

func TestGitPollerUsetimestamps(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, `, usetimestamps = False`)
	p.finds()
	r.push("main", "second")
	if got := p.poll(); len(got) != 1 || got[0].When != 0 {
		t.Errorf("got %+v", got)
	}
}

// A time that no change can have is that of its arrival.
func TestGitPollerStrangeTime(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, "")
	p.finds()
	for _, date := range []string{"99999999999999", "0"} {
		r.raw("Ann <a@b>", date, "strange")
		if got := p.poll(); len(got) != 1 || got[0].When != 0 {
			t.Errorf("%s: got %+v", date, got)
		}
	}
}

func TestGitPollerCategory(t *testing.T) {
	for args, want := range map[string]string{
		`category = "push"`: "push",
		`category = lambda c: c["branch"] + "/" + c["files"][0] + "/" + c["author"] + "/" + c["project"]`: "main/second.txt/Ann <ann@example.org>/p",
		`category = lambda c: None`: "",
	} {
		r := started(t)
		p := newPoller(t, newHost(t), r.bare, `, project = "p", `+args)
		p.finds()
		r.push("main", "second")
		if got := p.poll(); len(got) != 1 || got[0].Category != want {
			t.Errorf("%s: got %+v", args, got)
		}
	}
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, `, category = lambda c: c["nothing"]`)
	p.finds()
	r.push("main", "second")
	p.failed("category")
}

func TestGitPollerCodebaseAndProject(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, `, codebase = "base", project = "proj"`)
	p.finds()
	r.push("main", "second")
	if got := p.poll(); len(got) != 1 || got[0].Codebase == nil || *got[0].Codebase != "base" || got[0].Project != "proj" {
		t.Errorf("got %+v", got)
	}
}

// Names, messages and files need not be UTF-8.
func TestGitPollerEncoding(t *testing.T) {
	for args, want := range map[string]string{"": "caf\ufffd", `, encoding = "latin-1"`: "café", `, encoding = "koi8_r"`: "cafИ"} {
		r := started(t)
		p := newPoller(t, newHost(t), r.bare, args)
		p.finds()
		r.write("caf\xe9", "")
		r.git("add", "-A")
		r.raw("\xe9 <a@b>", "1", "caf\xe9")
		r.push("main", "é")
		got := p.poll()
		who := strings.TrimPrefix(want, "caf") + " <a@b>"
		if len(got) != 2 || got[0].Comments != want || got[0].Author != who || got[0].Files[0] != want || got[1].Comments != "é" {
			t.Errorf("%s: got %+v", args, got)
		}
	}
}

func TestGitPollerName(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, `, name = "n"`)
	if p.Key().Name != "n" {
		t.Errorf("key %v", p.Key())
	}
	p = newPoller(t, newHost(t), "https://u:hunter2@example.org/r.git", "")
	if p.Key().Name != "https://example.org/r.git" {
		t.Errorf("key %v", p.Key())
	}
}

func TestGitPollerBuildPushesWithNoCommits(t *testing.T) {
	for _, yes := range []bool{false, true} {
		r := started(t)
		args := `, branches = True`
		if yes {
			args += `, buildPushesWithNoCommits = True`
		}
		p := newPoller(t, newHost(t), r.bare, args)
		p.finds()
		r.push("main", "second")
		p.finds("main: second")
		r.push("same")
		r.git("push", "-q", "origin", "HEAD~:refs/heads/older") // the tip of no branch
		var want []string
		if yes {
			want = []string{"older: first", "same: second"}
		}
		p.finds(want...)
		r.git("push", "-q", "--force", "origin", "HEAD~:refs/heads/same")
		if yes {
			want = []string{"same: first"}
		}
		p.finds(want...)
	}
}

func TestGitPollerOnlyTags(t *testing.T) {
	r := started(t)
	r.git("tag", "v1")
	r.git("push", "-q", "origin", "v1")
	p := newPoller(t, newHost(t), r.bare, `, only_tags = True`)
	p.finds()
	r.push("main", "second", "third")
	p.finds()
	r.git("tag", "-a", "-m", "two", "v2")
	r.git("tag", "tree", "HEAD^{tree}") // of no commit
	r.git("push", "-q", "origin", "v2", "tree")
	p.finds("refs/tags/v2: second", "refs/tags/v2: third")
	p.finds()
}

// A branch that is removed is forgotten; what was merged from it is not new.
func TestGitPollerRemovedBranch(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, `, branches = True`)
	p.finds()
	r.push("topic", "work")
	p.finds("topic: work")
	r.git("push", "-q", "origin", "topic:main", ":topic")
	p.finds()
	r.git("checkout", "-q", "--detach")
	r.git("branch", "-q", "-D", "topic")
	r.push("topic/two", "more") // in the place of the file of topic
	p.finds("topic/two: more")
	r.git("push", "-q", "origin", ":topic/two")
	p.finds()
	if len(p.seen.Heads) != 1 {
		t.Errorf("it remembers %v", p.seen.Heads)
	}
}

// After a forced push only the commits that are new become changes.
func TestGitPollerForcedPush(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, "")
	r.push("main", "second")
	p.finds()
	r.git("reset", "-q", "--hard", "HEAD~")
	r.push("main", "instead", "of it")
	p.finds("main: instead", "main: of it")
	r.git("reset", "-q", "--hard", "HEAD~2")
	r.push("main")
	p.finds()
}

// Of a merge the files are those that it brings to its branch.
func TestGitPollerMerge(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, "")
	p.finds()
	r.git("checkout", "-q", "-b", "side")
	r.commit("on side")
	r.git("checkout", "-q", "main")
	r.commit("meanwhile")
	r.clock++
	r.git("merge", "-q", "--no-ff", "-m", "merge side", "side")
	r.git("mv", "first.txt", "renamed.txt")
	r.git("rm", "-q", "on.txt")
	r.write("a\nb \"c\"", "")
	r.push("main", "last")
	got := p.poll()
	want := []string{"main: on side", "main: meanwhile", "main: merge side", "main: last"}
	if !reflect.DeepEqual(tell(got), want) {
		t.Fatalf("got %q", tell(got))
	}
	if f := got[2].Files; !reflect.DeepEqual(f, []string{"on.txt"}) {
		t.Errorf("the merge has files %q", f)
	}
	if f := got[3].Files; !reflect.DeepEqual(f, []string{"a\nb \"c\"", "first.txt", "last.txt", "on.txt", "renamed.txt"}) {
		t.Errorf("the last has files %q", f)
	}
}

// A commit that two branches share is a change of one of them.
func TestGitPollerSharedCommits(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, ", branches = True")
	p.finds()
	r.push("main", "1", "2")
	r.push("b", "3")
	p.finds("b: 1", "b: 2", "b: 3")
	r.push("c", "4")
	p.finds("c: 4")
}

// A big push becomes changes in several transactions; one that stops in between is gone
// on with, also when the branch has moved on.
func TestGitPollerBigPush(t *testing.T) {
	r := started(t)
	h := newHost(t)
	p := newPoller(t, h, r.bare, "")
	p.finds()
	const n = 2*batch + 10
	var want []string
	var in strings.Builder
	for i := range n {
		msg := fmt.Sprint("big ", i)
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter C <c@d> %d +0000\ndata %d\n%s\n", r.clock, len(msg), msg)
		if i == 0 {
			fmt.Fprintf(&in, "from refs/heads/main^0\n")
		}
		want = append(want, "main: "+msg)
	}
	r.feed(r.work, in.String(), "fast-import", "--quiet")
	r.push("main")

	h.failAdd = os.ErrDeadlineExceeded // of the first
	p.failed("timeout")
	counted := &countingHost{host: h, left: 1}
	p.gitPoll.host = counted
	if err := p.gitPoll.poll(t.Context()); err == nil {
		t.Fatal("the poll did not stop in between")
	}
	got := tell(h.take())
	if len(got) != batch {
		t.Fatalf("%d changes before it stopped", len(got))
	}
	r.push("main", "after")
	p = newPoller(t, h, r.bare, "") // another life
	got = append(got, tell(p.poll())...)
	if want = append(want, "main: after"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %d changes, want %d: %q", len(got), len(want), got)
	}
}

// The clone can be lost or broken, and locks can be left in it.
func TestGitPollerBrokenClone(t *testing.T) {
	r := started(t)
	h := newHost(t)
	newPoller(t, h, r.bare, "").finds()
	clones, err := filepath.Glob(filepath.Join(h.dir, "gitpoller-work", "*"))
	if err != nil || len(clones) != 1 {
		t.Fatalf("clones %q, %v", clones, err)
	}
	for i, breakIt := range []func() error{
		func() error { return os.RemoveAll(clones[0]) },
		func() error { return os.WriteFile(clones[0]+"/refs/polled/heads/main.lock", nil, 0o666) },
		func() error { return os.WriteFile(clones[0]+"/packed-refs.lock", nil, 0o666) },
		func() error { return os.WriteFile(clones[0]+"/refs/polled/heads/main", nil, 0o666) },
		func() error { return os.RemoveAll(clones[0] + "/objects") },
	} {
		if err := breakIt(); err != nil {
			t.Fatal(err)
		}
		msg := fmt.Sprint("push ", i)
		r.push("main", msg)
		newPoller(t, h, r.bare, "").finds("main: " + msg)
	}
	// The history is another one, and nothing of the old one is left.
	if err := os.RemoveAll(clones[0]); err != nil {
		t.Fatal(err)
	}
	r.git("checkout", "-q", "--orphan", "new")
	r.commit("root")
	r.git("push", "-q", "--force", "origin", "new:main")
	newPoller(t, h, r.bare, "").finds("main: root")
}

// Another repository under the same name is begun with anew.
func TestGitPollerOtherRepository(t *testing.T) {
	h := newHost(t)
	newPoller(t, h, started(t).bare, `, name = "n"`).finds()
	r := started(t)
	r.push("main", "second")
	p := newPoller(t, h, r.bare, `, name = "n"`)
	p.finds()
	r.push("main", "third")
	p.finds("main: third")
}

// Nothing is half recorded: what could not be remembered is found again.
func TestGitPollerRecordFails(t *testing.T) {
	r := started(t)
	h := newHost(t)
	p := newPoller(t, h, r.bare, ", branches = True")
	p.finds()
	r.push("main", "second")
	r.push("zz", "third")
	h.failAdd = os.ErrDeadlineExceeded
	p.failed("timeout")
	p.finds("main: second", "zz: third")
}

func TestGitPollerUnreachable(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, "")
	p.finds()
	if err := os.Rename(r.bare, r.bare+".gone"); err != nil {
		t.Fatal(err)
	}
	p.failed("does not appear to be a git repository")
	if err := os.Rename(r.bare+".gone", r.bare); err != nil {
		t.Fatal(err)
	}
	r.push("main", "second")
	p.finds("main: second")
}

// Names of refs need not be UTF-8 either.
func TestGitPollerStrangeRef(t *testing.T) {
	r := started(t)
	p := newPoller(t, newHost(t), r.bare, `, branches = True, encoding = "latin-1"`)
	p.finds()
	r.push("caf\xe9", "second")
	p.finds("café: second")
	p.finds()
}

// countingHost fails an Add after some.
type countingHost struct {
	*host
	left int
}

func (h *countingHost) Add(ctx context.Context, remember any, changes ...change.Input) error {
	if h.left--; h.left < 0 {
		return os.ErrDeadlineExceeded
	}
	return h.host.Add(ctx, remember, changes...)
}
