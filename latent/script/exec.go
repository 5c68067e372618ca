package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"buildstar/config/prop"
)

// maxOutput is how much of what a program, or a server, says is kept.
const maxOutput = 1 << 20

// leftover is how long the output of a program is waited for that ended, and left another
// one that holds it open.
const leftover = 500 * time.Millisecond

// exec is ctx.exec: it runs a program on the master. When the call is cut, so are the
// program and all of its process group; what made a session of its own lives on.
func (o *object) exec(ctx context.Context, args []any, kwargs map[string]any) (any, error) {
	a, err := bind("exec", args, kwargs, 1, "argv", "env", "stdin", "timeout")
	if err != nil {
		return nil, err
	}
	argv, err := prop.Convert[[]string](a["argv"])
	if err == nil && len(argv) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("exec: argv: %w", err)
	}
	env, err := prop.Convert[map[string]string](a["env"])
	if a["env"] != nil && err != nil {
		return nil, fmt.Errorf("exec: env: %w", err)
	}
	stdin := ""
	if v := a["stdin"]; v != nil {
		if stdin, err = prop.Convert[string](v); err != nil {
			return nil, fmt.Errorf("exec: stdin: %w", err)
		}
	}
	timeout := time.Minute
	if v := a["timeout"]; v != nil {
		if timeout, err = seconds(v); err != nil {
			return nil, fmt.Errorf("exec: timeout: %w", err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("exec %s: it took longer than %v", argv[0], timeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = o.env.Basedir, os.Environ()
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out, errOut limited
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = strings.NewReader(stdin), &out, &errOut, leftover
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, fmt.Errorf("exec: %w", err)
	}
	rc := int64(cmd.ProcessState.ExitCode())
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		rc = -int64(s.Signal())
	}
	return fields{"result", map[string]any{"rc": rc, "stdout": out.String(), "stderr": errOut.String()}}, nil
}

// limited keeps the beginning of what is written.
type limited struct{ b bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.b.Write(p[:min(len(p), maxOutput-l.b.Len())])
	return len(p), nil
}

func (l *limited) String() string { return strings.ToValidUTF8(l.b.String(), "\uFFFD") }
