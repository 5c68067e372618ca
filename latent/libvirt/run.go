package libvirt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A runner runs a program and returns what it printed. Its error has what it complained of.
type runner interface {
	run(ctx context.Context, c command) (string, error)
}

// command is one run of a program.
type command struct {
	argv  []string
	stdin string
	// lock, if there is one, is held by the program too: it outlives a master that is killed.
	lock *os.File
}

// programs are those of this machine.
type programs struct{}

// run runs a program in a session of its own: Ctrl-C is for the master, and there is no
// terminal to ask for passwords.
func (programs) run(ctx context.Context, c command) (string, error) {
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANGUAGE=C")
	cmd.Stdin = strings.NewReader(c.stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	if c.lock != nil {
		cmd.ExtraFiles = []*os.File{c.lock}
	}
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("run %s: %w; Debian has it in %s", c.argv[0], exec.ErrNotFound, packages[c.argv[0]])
	case ctx.Err() != nil:
		return "", fmt.Errorf("run %s: %w", c.what(), ctx.Err())
	case strings.TrimSpace(complaint.String()) != "":
		return "", &failure{c.what(), oneLine(complaint.String())}
	}
	return "", fmt.Errorf("run %s: %w", c.what(), err)
}

// packages has the programs, which are not named in another way.
var packages = map[string]string{"virsh": "libvirt-clients", "qemu-img": "qemu-utils", "cp": "coreutils"}

// what is the program and what it is asked for: virsh create.
func (c command) what() string {
	for i, a := range c.argv[1:] {
		if !strings.HasPrefix(a, "-") && c.argv[i] != "--connect" {
			return c.argv[0] + " " + a
		}
	}
	return c.argv[0]
}

// failure is a program that ended with a complaint.
type failure struct{ what, complaint string }

func (f *failure) Error() string { return f.what + ": " + f.complaint }

// oneLine makes one line of what virsh and qemu-img say: "error: Failed ...", "error: cannot ...".
func oneLine(complaint string) string {
	var lines []string
	for line := range strings.Lines(complaint) {
		if line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "error: ")); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, ": ")
}

// lockWorker takes what makes calls for one worker wait for programs of a master that was
// killed. The result must be closed.
func lockWorker(ctx context.Context, dir, worker string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, worker+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock %s, which an earlier start of the worker holds: %w", f.Name(), ctx.Err())
		}
	}
}
