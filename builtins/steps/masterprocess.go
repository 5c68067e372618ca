package steps

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"buildstar/engine/run"
	"buildstar/worker"
)

const (
	// killWait is how long a process may take to end once it is interrupted, and what it
	// left in the background once it has ended.
	killWait = 5 * time.Second
	// maxLine is the longest line that waits for its end before it is logged.
	maxLine = 1 << 20
)

// masterProcess is a command on the master, in a process group of its own.
type masterProcess struct {
	words   []string
	dir     string
	env     []string
	log     *run.Log
	signal  syscall.Signal
	basedir string // of the master, which kills at its start what a crash left running
}

// printed is a part of what a process printed.
type printed struct {
	stream byte
	text   []byte
}

// run runs the command to its end. When ctx ends, the whole group gets the signal, and
// later SIGKILL, and nothing of it is left when run returns. Otherwise processes in the
// background live on, unless they keep the output open.
func (p *masterProcess) run(ctx context.Context) (ending, error) {
	over := make(chan struct{})
	defer close(over)
	parts := make(chan printed)
	mark, started := worker.Guard(p.basedir)
	cmd := exec.Command(p.words[0], p.words[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = p.dir, append(p.env, mark), killWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = &mouth{'o', parts, over}, &mouth{'e', parts, over}
	if err := cmd.Start(); err != nil {
		return ending{start: err}, nil
	}
	gone, err := started(cmd.Process.Pid)
	if err != nil {
		slog.Warn("a command on the master would outlive a crash of it", "err", err)
	}
	defer gone()
	group := &group{id: cmd.Process.Pid}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		group.end(ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay))
		ended <- err
	}()
	logs := lines{log: p.log}
	stopped, late := ctx.Done(), (<-chan time.Time)(nil)
	for {
		select {
		case part := <-parts:
			if logs.err == nil {
				if logs.add(part); logs.err != nil {
					group.kill(syscall.SIGKILL)
				}
			}
		case <-stopped:
			stopped = nil
			group.kill(p.signal)
			timer := time.NewTimer(killWait)
			defer timer.Stop()
			late = timer.C
		case <-late:
			group.kill(syscall.SIGKILL)
		case err := <-ended:
			logs.flush()
			return endOf(cmd, err), logs.err
		}
	}
}

func endOf(cmd *exec.Cmd, err error) ending {
	e := ending{status: cmd.ProcessState.ExitCode(), left: errors.Is(err, exec.ErrWaitDelay)}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.signal = ws.Signal()
	}
	return e
}

// group is a process group. It must not be signalled once it has ended: its number
// may be another's.
type group struct {
	mu   sync.Mutex
	id   int
	over bool
}

func (g *group) kill(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		syscall.Kill(-g.id, sig) // an error says that nobody is left
	}
}

// end ends the group, and what the first process left in it if kill is true.
func (g *group) end(kill bool) {
	if kill {
		g.kill(syscall.SIGKILL)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

// mouth hands over what a process prints. It waits while the log is written, so that
// the process is stopped by a slow disk.
type mouth struct {
	stream byte
	parts  chan<- printed
	over   <-chan struct{}
}

func (m *mouth) Write(p []byte) (int, error) {
	select {
	case m.parts <- printed{m.stream, bytes.Clone(p)}:
		return len(p), nil
	case <-m.over:
		return 0, errors.New("the command is over")
	}
}

// lines writes whole lines to a log.
type lines struct {
	log  *run.Log
	rest [2][]byte // of stdout and stderr: a line that is not complete
	err  error
}

func (l *lines) add(p printed) {
	rest := &l.rest[0]
	if p.stream == 'e' {
		rest = &l.rest[1]
	}
	*rest = append(*rest, p.text...)
	end := bytes.LastIndexByte(*rest, '\n') + 1
	if end == 0 && len(*rest) < maxLine {
		return
	}
	if end == 0 {
		end = len(*rest)
	}
	l.write(p.stream, (*rest)[:end])
	*rest = append((*rest)[:0], (*rest)[end:]...)
}

func (l *lines) write(stream byte, text []byte) {
	if l.err == nil {
		l.err = l.log.Write(stream, string(bytes.ToValidUTF8(text, []byte("\uFFFD"))))
	}
}

// flush writes what has no newline at its end.
func (l *lines) flush() {
	for i, stream := range []byte{'o', 'e'} {
		l.write(stream, l.rest[i])
	}
}
