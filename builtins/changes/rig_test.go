package changes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
	"go.uber.org/goleak"

	"buildstar/builtins/util"
	"buildstar/config/prop"
	"buildstar/engine/change"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a master that keeps what it is given.
type host struct {
	dir   string
	asked chan struct{}
	props prop.Map

	mu      sync.Mutex
	memory  []byte
	added   []change.Input
	adds    int
	failAdd error // of the next Add
	reports chan error
}

func newHost(t *testing.T) *host {
	return &host{dir: t.TempDir(), asked: make(chan struct{}, 1), reports: make(chan error, 100)}
}

func (h *host) Basedir() string                     { return h.dir }
func (h *host) Logger() *slog.Logger                { return slog.New(slog.DiscardHandler) }
func (h *host) Props() prop.Props                   { return &h.props }
func (h *host) Asked() <-chan struct{}              { return h.asked }
func (h *host) Report(_ context.Context, err error) { h.reports <- err }

func (h *host) Recall(_ context.Context, into any) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.memory == nil {
		return false, nil
	}
	return true, json.Unmarshal(h.memory, into)
}

func (h *host) Add(_ context.Context, remember any, changes ...change.Input) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.failAdd; err != nil {
		h.failAdd = nil
		return err
	}
	for _, in := range changes {
		if err := in.Check(); err != nil {
			return err
		}
	}
	memory, err := json.Marshal(remember)
	if err != nil {
		return err
	}
	h.memory, h.added, h.adds = memory, append(h.added, changes...), h.adds+1
	return nil
}

// take returns the changes that were added since the last time.
func (h *host) take() []change.Input {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.added
	h.added = nil
	return all
}

// tell writes a change as "branch: message".
func tell(changes []change.Input) (out []string) {
	for _, c := range changes {
		out = append(out, c.Branch+": "+c.Comments)
	}
	return out
}

// eval runs a file and returns its variable x.
func eval(t *testing.T, src string) (star.Value, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true, Function: call.Renderable}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", src, star.StringDict{
		"changes": Module.Value(env), "util": util.Module.Value(env),
	})
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	env.Seal()
	return g["x"], env.Problems()
}

// poller is a GitPoller that is polled by hand.
type poller struct {
	*gitPoll
	*host
	t *testing.T
}

// newPoller evaluates a GitPoller of a repository, with more arguments.
func newPoller(t *testing.T, h *host, repourl, args string) *poller {
	t.Helper()
	v, ps := eval(t, fmt.Sprintf("x = changes.GitPoller(%q%s)", repourl, args))
	if ps != nil {
		t.Fatalf("%s: %v", args, ps)
	}
	g := v.(*spec.Object).Value.(*gitPoller)
	return &poller{&gitPoll{gitPoller: g, host: h, dirty: true}, h, t}
}

// poll polls and returns the changes that it added.
func (p *poller) poll() []change.Input {
	p.t.Helper()
	if err := p.gitPoll.poll(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return p.host.take()
}

// failed polls, wants an error with a text, and no change.
func (p *poller) failed(text string) {
	p.t.Helper()
	err := p.gitPoll.poll(p.t.Context())
	if err == nil || !strings.Contains(err.Error(), text) {
		p.t.Errorf("got %v, want an error with %q", err, text)
	}
	if got := p.host.take(); got != nil {
		p.t.Errorf("a poll that failed added %v", tell(got))
	}
}

// finds polls and compares what it added.
func (p *poller) finds(want ...string) {
	p.t.Helper()
	if got := tell(p.poll()); !reflect.DeepEqual(got, want) {
		p.t.Errorf("got %q, want %q", got, want)
	}
}

// remote is a bare repository, and a work tree to push from.
type remote struct {
	t          testing.TB
	bare, work string
	clock      int // seconds
}

func newRemote(t testing.TB) *remote {
	t.Helper()
	dir := t.TempDir()
	r := &remote{t: t, bare: filepath.Join(dir, "remote.git"), work: filepath.Join(dir, "work"), clock: 1_600_000_000}
	r.run(dir, "init", "-q", "--bare", "-b", "main", r.bare)
	r.run(dir, "init", "-q", "-b", "main", r.work)
	r.git("remote", "add", "origin", r.bare)
	return r
}

// started is a remote with one commit, "first", on main.
func started(t testing.TB) *remote {
	t.Helper()
	r := newRemote(t)
	r.commit("first")
	r.git("push", "-q", "origin", "main")
	return r
}

func (r *remote) run(dir string, args ...string) string {
	r.t.Helper()
	return r.feed(dir, "", args...)
}

// feed runs git with an input.
func (r *remote) feed(dir, in string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Stdin = strings.NewReader(in)
	cmd.Dir = dir
	date := fmt.Sprintf("%d +0000", r.clock)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_AUTHOR_DATE=1500000000 +0000",
		"GIT_COMMITTER_NAME=Carl", "GIT_COMMITTER_EMAIL=carl@example.org", "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *remote) git(args ...string) string {
	r.t.Helper()
	return r.run(r.work, args...)
}

// commit commits on the current branch: the file of the message's name.
func (r *remote) commit(message string) (hash string) {
	r.t.Helper()
	r.write(strings.Fields(message)[0]+".txt", message)
	r.git("add", "-A")
	r.clock++
	r.git("commit", "-q", "--allow-empty", "-m", message)
	return r.git("rev-parse", "HEAD")
}

// raw makes a commit on main of these bytes, with the files of the index, and pushes it.
func (r *remote) raw(author, date, message string) {
	r.t.Helper()
	text := fmt.Sprintf("tree %s\nparent %s\nauthor %s %s +0000\ncommitter %s %s +0000\n\n%s",
		r.git("write-tree"), r.git("rev-parse", "HEAD"), author, date, author, date, message)
	r.git("update-ref", "refs/heads/main", r.feed(r.work, text, "hash-object", "-t", "commit", "-w", "--stdin"))
	r.git("push", "-q", "origin", "main")
}

func (r *remote) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.work, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(content), 0o666)); err != nil {
		r.t.Fatal(err)
	}
}

// push commits on a branch, which is made if there is none, and pushes it.
func (r *remote) push(branch string, messages ...string) {
	r.t.Helper()
	switch {
	case r.git("branch", "--show-current") == branch: // perhaps without a commit yet
	case r.git("branch", "--list", branch) == "":
		r.git("checkout", "-q", "-b", branch)
	default:
		r.git("checkout", "-q", branch)
	}
	for _, m := range messages {
		r.commit(m)
	}
	r.git("push", "-q", "--force", "origin", branch)
}
