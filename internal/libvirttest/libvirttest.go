// Package libvirttest runs a libvirt of its own for tests, with its own files and sockets,
// beside any other of the machine, and makes guests for it. It needs root, and the Debian
// packages libvirt-daemon-system, libvirt-clients, qemu-system-x86, qemu-utils, tini and
// linux-image-cloud-amd64.
package libvirttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Variable names the directory of the server that tests use; without it they are skipped.
const Variable = "BUILDSTAR_TEST_LIBVIRT"

// A Server is a libvirtd and its virtlogd.
type Server struct {
	dir   string
	cmd   *exec.Cmd
	ended chan error
}

// Of returns the server that a directory is of.
func Of(dir string) *Server { return &Server{dir: dir} }

// Dir returns the directory of the server.
func (s *Server) Dir() string { return s.dir }

// URI returns that of its virtual machines.
func (s *Server) URI() string { return "qemu+unix:///system?socket=" + s.socket() }

// TestURI returns that of libvirt's driver for tests, whose domains run nothing.
func (s *Server) TestURI() string { return "test+unix:///default?socket=" + s.socket() }

func (s *Server) socket() string { return filepath.Join(s.dir, "run", "libvirt-sock") }

// Start starts a server, twice if need be: libvirtd crashes now and then as it starts. Call it
// from the main goroutine: the server ends with its thread.
func Start() (*Server, error) {
	s, err := start()
	if err != nil {
		s, err = start()
	}
	return s, err
}

func start() (*Server, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("it needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "buildstar-libvirt-") // short: it holds sockets
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, ended: make(chan error, 1)}
	if err = s.configure(); err == nil {
		err = s.run()
	}
	if err == nil {
		err = s.wait()
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "out"))
		more, _ := os.ReadFile(filepath.Join(dir, "log", "libvirtd.log"))
		_ = s.Stop()
		return nil, fmt.Errorf("%w\n%s%s", err, log, more[max(0, len(more)-3000):])
	}
	return s, nil
}

// own are the directories that the server has in the place of the machine's.
var own = map[string]string{"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "run": "/run/libvirt", "log": "/var/log/libvirt", "cache": "/var/cache/libvirt"}

func (s *Server) configure() error {
	var errs []error
	for name, place := range own {
		errs = append(errs, os.MkdirAll(filepath.Join(s.dir, name), 0o755), os.MkdirAll(place, 0o755))
	}
	for name, text := range map[string]string{
		"libvirtd.conf": `unix_sock_group = "root"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
`,
		// A sandbox may lack what mount namespaces and cgroups of domains need.
		"qemu.conf": `user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
max_core = 0
`,
		"libvirt.conf":  "",
		"virtlogd.conf": "",
	} {
		errs = append(errs, os.WriteFile(filepath.Join(s.dir, "etc", name), []byte(text), 0o644))
	}
	return errors.Join(errs...)
}

// script begins in a mount namespace of its own. A processor that cannot run guests may have a
// /dev/kvm nevertheless; libvirt must not try it, and does not try a file it cannot write.
// libvirtd waits for what its probes of qemu leave, so something must reap that at once.
const script = `set -e
cd "$1"
for p in etc:/etc/libvirt lib:/var/lib/libvirt run:/run/libvirt log:/var/log/libvirt cache:/var/cache/libvirt; do
	mount --bind "${p%%:*}" "${p##*:}"
done
if [ -e /dev/kvm ] && ! grep -qwE 'vmx|svm' /proc/cpuinfo; then
	: >nokvm
	mount --bind nokvm /dev/kvm
	mount -o remount,bind,ro /dev/kvm
fi
exec tini -s -g -- sh -c 'virtlogd --pid-file /run/libvirt/virtlogd.pid & exec libvirtd --pid-file /run/libvirt/libvirtd.pid'
`

func (s *Server) run() error {
	out, err := os.Create(filepath.Join(s.dir, "out"))
	if err != nil {
		return err
	}
	defer out.Close()
	s.cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", s.dir)
	s.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	runtime.LockOSThread()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	return nil
}

// wait waits until the server answers.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		_, err := s.Virsh(ctx, "version")
		if err == nil {
			return nil
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("libvirtd ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("libvirtd does not answer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Virsh runs virsh with the virtual machines of the server and returns the words it printed.
func (s *Server) Virsh(ctx context.Context, args ...string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "virsh", append([]string{"--quiet", "--connect", s.URI()}, args...)...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("virsh %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	return strings.Fields(out.String()), nil
}

// Stop destroys the domains that run, stops the server and removes what it had.
func (s *Server) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if s.cmd != nil && s.cmd.Process != nil {
		names, _ := s.Virsh(ctx, "list", "--name")
		for _, name := range names {
			_, err := s.Virsh(ctx, "destroy", name)
			errs = append(errs, err)
		}
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.ended:
		case <-time.After(30 * time.Second):
			errs = append(errs, errors.New("libvirtd did not end"))
		}
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
