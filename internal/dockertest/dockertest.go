// Package dockertest runs a Docker engine of its own for tests: with its own data, socket
// and bridge, beside any other engine of the machine. It needs root, and Debian's docker.io
// or podman.
package dockertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Variable names the engine that tests use, as HOST GATEWAY REGISTRY. If it is empty each
// test binary starts dockerd, if it is "podman" that.
const Variable = "BUILDSTAR_TEST_DOCKER"

// An Engine is a running dockerd, or podman.
type Engine struct {
	Host    string // unix:///...
	Gateway string // the address of this machine that containers reach
	// Registry is where a registry without TLS may listen that the engine is to pull from.
	Registry string

	name, dir, bridge string
	cmd               *exec.Cmd
	clear             func() error // removes what outlives the process; nil: nothing does
	ended             chan error
}

var shared *Engine

// Host returns the address of the engine of [Main].
func Host() string { return shared.Host }

// Gateway returns the address at which containers reach this machine.
func Gateway() string { return shared.Gateway }

// Registry returns the address for a registry of a test.
func Registry() string { return shared.Registry }

// Main is the body of a TestMain: it runs the tests with an engine.
func Main(m *testing.M) (status int) {
	if f := strings.Fields(os.Getenv(Variable)); len(f) == 3 {
		shared = &Engine{Host: f[0], Gateway: f[1], Registry: f[2]}
		return m.Run()
	}
	start := Start
	if os.Getenv(Variable) == "podman" {
		start = StartPodman
	}
	e, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start a Docker engine:", err)
		return 1
	}
	defer func() {
		if err := e.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop the Docker engine:", err)
			status = 1
		}
	}()
	shared = e
	if err := os.Setenv(Variable, e.String()); err != nil { // for test binaries that this one starts
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// String is what tests find the engine by, in Variable.
func (e *Engine) String() string { return e.Host + " " + e.Gateway + " " + e.Registry }

// Start starts dockerd. Call it from the main goroutine: the engine ends with its thread.
func Start() (*Engine, error) {
	// An engine takes any registry of its own machine.
	return start(&Engine{name: "dockerd", Registry: "127.0.0.1:0"}, (*Engine).dockerd)
}

func start(e *Engine, command func(*Engine) (*exec.Cmd, error)) (_ *Engine, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("it needs root")
	}
	if e.dir, err = os.MkdirTemp("/tmp", "buildstar-docker-"); err != nil { // short: it holds a socket
		return nil, err
	}
	e.Host, e.ended = "unix://"+filepath.Join(e.dir, "socket"), make(chan error, 1)
	err = mountCgroups()
	if err == nil {
		err = e.addBridge()
	}
	var cmd *exec.Cmd
	if err == nil {
		cmd, err = command(e)
	}
	if err == nil {
		err = e.run(cmd)
	}
	if err == nil {
		err = e.wait()
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(e.dir, "log"))
		_ = e.Stop()
		return nil, fmt.Errorf("%w\n%s", err, log[max(0, len(log)-3000):])
	}
	return e, nil
}

// dockerd is the command of Docker's engine.
func (e *Engine) dockerd() (*exec.Cmd, error) {
	cmd := exec.Command("dockerd", "--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "pid"), "--host", e.Host, "--bridge", e.bridge,
		// Containers talk to this machine only, and other bridges are left alone.
		"--iptables=false", "--ip-forward=false", "--ip-masq=false")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=/root"}
	return cmd, nil
}

// mountCgroups gives a machine that has none mounted what containers need.
func mountCgroups() error {
	const at = "/sys/fs/cgroup"
	if exec.Command("mountpoint", "-q", at).Run() == nil {
		return nil
	}
	return command("mount", "-t", "cgroup2", "none", at)
}

// addBridge adds a bridge with the first name and network that nobody has.
func (e *Engine) addBridge() error {
	var err error
	for n := 1; n < 250; n++ {
		name := fmt.Sprintf("bstest%d", n)
		if err = command("ip", "link", "add", name, "type", "bridge"); err != nil {
			continue
		}
		e.bridge, e.Gateway = name, fmt.Sprintf("172.29.%d.1", n)
		if err := command("ip", "addr", "add", e.Gateway+"/24", "dev", name); err != nil {
			return err
		}
		return command("ip", "link", "set", name, "up")
	}
	return err
}

func (e *Engine) run(cmd *exec.Cmd) error {
	log, err := os.Create(filepath.Join(e.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	e.cmd = cmd
	e.cmd.Stdout, e.cmd.Stderr = log, log
	// A test binary that is killed leaves no engine behind.
	runtime.LockOSThread()
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := e.cmd.Start(); err != nil {
		return fmt.Errorf("%w: is it installed? make test does it", err)
	}
	go func() { e.ended <- e.cmd.Wait() }()
	return nil
}

// wait waits until the engine answers.
func (e *Engine) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	web := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(e.Host, "unix://"))
	}}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
		if err != nil {
			return err
		}
		answer, err := web.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if err == nil && answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-e.ended:
			e.ended <- err
			return fmt.Errorf("%s ended: %w", e.name, err)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer", e.name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop stops the engine and removes what it had.
func (e *Engine) Stop() error {
	var errs []error
	if e.clear != nil {
		errs = append(errs, e.clear())
	}
	if e.cmd != nil && e.cmd.Process != nil {
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-e.ended:
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
			errs = append(errs, fmt.Errorf("%s did not end", e.name))
		}
	}
	if e.bridge != "" {
		errs = append(errs, command("ip", "link", "del", e.bridge))
	}
	return errors.Join(append(errs, RemoveAll(e.dir))...)
}

// RemoveAll removes a folder, of which it needs the whole path, after what is mounted below
// it was unmounted: that is not ours.
func RemoveAll(dir string) error {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			// One that went with another is not there any more.
			if err := syscall.Unmount(f[1], syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
				return fmt.Errorf("unmount %s: %w", f[1], err)
			}
		}
	}
	return os.RemoveAll(dir)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
