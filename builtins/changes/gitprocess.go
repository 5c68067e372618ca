package changes

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// killWait is how long git may take to end once it was asked to, and what it left in
	// the background once it has ended.
	killWait = 3 * time.Second
	// maxSilence is how long git may print nothing: a fetch shows its progress.
	maxSilence = 10 * time.Minute
)

// A process runs git on the master. It has a session of its own, so that neither git nor
// ssh asks a terminal, and its process group ends with it.
type process struct {
	words []string
	dir   string
	env   []string
	in    string
	out   func(io.Reader) error // reads what it prints; nil: nobody does

	silence time.Duration // how long it may print nothing; 0: maxSilence
}

// run runs git to its end. When ctx ends nothing of it is left.
func (p *process) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	most := cmp.Or(p.silence, maxSilence)
	silence := time.AfterFunc(most, func() { cancel(fmt.Errorf("it printed nothing for %v", most)) })
	defer silence.Stop()
	said := &sayings{heard: func() { silence.Reset(most) }}

	cmd := exec.Command(p.words[0], p.words[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = p.dir, p.env, killWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdin, cmd.Stderr = strings.NewReader(p.in), said
	printed, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	g := &group{id: cmd.Process.Pid}
	defer context.AfterFunc(ctx, g.end)()
	var wrong error
	if p.out != nil {
		if wrong = p.out(io.TeeReader(printed, said.ears())); wrong != nil {
			cancel(wrong)
		}
	}
	_, _ = io.Copy(said.ears(), printed) // so that it can end
	err = cmd.Wait()
	g.over(ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w%s", err, said.reason())
	}
	return nil
}

// environment returns the master's, without what points git at another repository, and
// more.
func environment(more map[string]string) []string {
	var env []string
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
			"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_QUARANTINE_PATH", "LC_ALL", "LANGUAGE":
		default:
			env = append(env, kv)
		}
	}
	for name, v := range more {
		env = append(env, name+"="+v)
	}
	return append(env, "LC_ALL=C")
}

// group is a process group. It must not be signalled once it is over: its number may be
// another's.
type group struct {
	mu   sync.Mutex
	id   int
	gone bool
}

func (g *group) kill(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gone {
		_ = syscall.Kill(-g.id, sig) // an error says that nobody is left
	}
}

// end asks the group to end, and then makes it.
func (g *group) end() {
	g.kill(syscall.SIGTERM)
	time.AfterFunc(killWait, func() { g.kill(syscall.SIGKILL) })
}

// over says that the first process has ended; all ends what it left.
func (g *group) over(all bool) {
	if all {
		g.kill(syscall.SIGKILL)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
}

// sayings are the last words of a process on stderr.
type sayings struct {
	heard func()
	tail  []byte
}

// maxTail is how much of stderr is kept.
const maxTail = 4 << 10

func (s *sayings) Write(p []byte) (int, error) {
	s.heard()
	s.tail = append(s.tail, p...)
	if over := len(s.tail) - maxTail; over > 0 {
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
	return len(p), nil
}

// ears hear that the process lives.
func (s *sayings) ears() io.Writer { return listener(s.heard) }

type listener func()

func (l listener) Write(p []byte) (int, error) {
	l()
	return len(p), nil
}

// reason returns why git failed, in its words, without its progress: the last lines.
func (s *sayings) reason() string {
	const enough = 4
	var lines []string
	for line := range bytes.FieldsFuncSeq(s.tail, func(c rune) bool { return c == '\n' || c == '\r' }) {
		text := strings.TrimSpace(strings.ToValidUTF8(string(line), "\ufffd"))
		if text != "" && !strings.Contains(text, "% (") && !strings.HasPrefix(text, "remote: Enumerating") {
			lines = append(lines, text)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.Join(lines[max(0, len(lines)-enough):], "; ")
}
