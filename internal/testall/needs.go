package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

const browserDir = "web/ui/browsertest"

// A need is programs that tests use.
type need struct {
	pkgs  []string // the Debian packages that bring them
	check []string // a command that succeeds if they are there
}

// needs are those of every run.
var needs = []need{
	{[]string{"gcc", "libc6-dev"}, []string{"sh", "-c", "echo 'int main(){return 0;}' | gcc -x c - -o /dev/null"}},
	{[]string{"git"}, []string{"git", "--version"}},
	{[]string{"openssh-server", "openssh-client"}, []string{"sh", "-c", "test -x /usr/sbin/sshd && ssh -V"}},
	{[]string{"bzip2"}, []string{"bzip2", "--help"}},
	{[]string{"buildbot-worker"}, []string{"buildbot-worker", "--version"}},
	{[]string{"python3-autobahn", "python3-msgpack"}, []string{"/usr/bin/python3", "-c", "import autobahn, msgpack"}},
	{[]string{"docker.io", "iproute2"}, []string{"sh", "-c", "dockerd --version && containerd --version && ip -V"}},
	{[]string{"podman", "netavark", "catatonit"}, []string{"sh", "-c", "podman --version && test -x /usr/lib/podman/netavark && catatonit --version"}},
	{[]string{"chromium"}, []string{"/usr/bin/chromium", "--version"}},
	{[]string{"nodejs", "npm"}, []string{"sh", "-c", "node --version && npm --version"}},
}

// installNeeds installs what is missing, and nothing if nothing is.
func installNeeds(ctx context.Context) error {
	if err := install(ctx, needs); err != nil {
		return err
	}
	return npm(ctx)
}

func install(ctx context.Context, needs []need) error {
	var missing []string
	for _, n := range needs {
		if exec.CommandContext(ctx, n.check[0], n.check[1:]...).Run() != nil {
			missing = append(missing, n.pkgs...)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return apt(ctx, missing)
}

func apt(ctx context.Context, pkgs []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("the tests need %v, and this is no Debian machine: install them by hand", pkgs)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the tests need %v: run 'sudo apt-get install %v' first, or run 'make test' as root", pkgs, pkgs)
	}
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if err := run(ctx, env, "apt-get", "update", "-qq"); err != nil {
		return fmt.Errorf("apt-get update: %w", err)
	}
	args := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, pkgs...)
	if err := run(ctx, env, "apt-get", args...); err != nil {
		return fmt.Errorf("apt-get install: %w", err)
	}
	return nil
}

// npm installs the browser test's packages, once per lock file.
func npm(ctx context.Context) error {
	lock, err := os.ReadFile(filepath.Join(browserDir, "package-lock.json"))
	if err != nil {
		return err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(lock))
	stamp := filepath.Join(browserDir, "node_modules", ".installed")
	have, err := os.ReadFile(stamp)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(have) == sum {
		return nil
	}
	if err := run(ctx, nil, "npm", "ci", "--prefix", browserDir, "--no-audit", "--no-fund"); err != nil {
		return fmt.Errorf("npm ci: %w", err)
	}
	return os.WriteFile(stamp, []byte(sum), 0o644)
}
