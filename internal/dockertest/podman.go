package dockertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// StartPodman starts podman, which answers as Docker's engine does. Call it from the main
// goroutine.
func StartPodman() (*Engine, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.Close()
	return start(&Engine{name: "podman", Registry: l.Addr().String()}, (*Engine).podman)
}

// podman is the command of its service.
func (e *Engine) podman() (*exec.Cmd, error) {
	if err := e.writePodmanFiles(); err != nil {
		return nil, err
	}
	// The bridge goes with its last container unless something else is on it.
	if err := command("ip", "link", "add", e.bridge+"a", "master", e.bridge, "type", "veth", "peer", "name", e.bridge+"b"); err != nil {
		return nil, err
	}
	podman := func(args ...string) *exec.Cmd {
		cmd := exec.Command("podman", append([]string{"--root", filepath.Join(e.dir, "data"), "--runroot", filepath.Join(e.dir, "run")}, args...)...)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + e.dir, "TMPDIR=" + filepath.Join(e.dir, "tmp"),
			"CONTAINERS_CONF=" + filepath.Join(e.dir, "containers.conf"), "CONTAINERS_REGISTRIES_CONF=" + filepath.Join(e.dir, "registries.conf"),
		}
		return cmd
	}
	e.clear = func() error {
		_ = command("ip", "link", "del", e.bridge+"a")
		if out, err := podman("rm", "--force", "--all", "--time", "0").CombinedOutput(); err != nil {
			return fmt.Errorf("remove podman's containers: %w: %s", err, out)
		}
		return nil
	}
	return podman("system", "service", "--time=0", e.Host), nil
}

// writePodmanFiles writes what podman reads instead of /etc/containers.
func (e *Engine) writePodmanFiles() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	subnet := strings.TrimSuffix(e.Gateway, ".1") + ".0/24"
	for name, text := range map[string]string{
		// Podman's own limits are higher than a machine without CAP_SYS_RESOURCE may grant.
		"containers.conf": fmt.Sprintf(`[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = %q
[network]
network_backend = "netavark"
network_config_dir = %q
default_network = %q
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=%d:%d", "nproc=16384:16384"]
`, filepath.Join(e.dir, "tmp"), filepath.Join(e.dir, "networks"), e.bridge, files.Max, files.Max),
		"registries.conf":                fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", e.Registry),
		".config/containers/policy.json": `{"default": [{"type": "insecureAcceptAnything"}]}`,
		"networks/" + e.bridge + ".json": fmt.Sprintf(`{"name": %q, "id": "%064d", "driver": "bridge", "network_interface": %q, "created": "2026-01-01T00:00:00Z",
"subnets": [{"subnet": %q, "gateway": %q}], "ipv6_enabled": false, "internal": true, "dns_enabled": false, "ipam_options": {"driver": "host-local"}}`,
			e.bridge, 1, e.bridge, subnet, e.Gateway),
		"tmp/.keep": "",
	} {
		path := filepath.Join(e.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
