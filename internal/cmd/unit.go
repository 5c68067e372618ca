package cmd

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"buildstar/worker"
)

// unit returns the systemd unit that runs a worker with these settings. A worker that
// the master told to shut down exits with 0 and stays down.
func unit(cfg worker.Config, passwordFile string, graceful bool) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	args := []string{program, "worker", "--master", cfg.MasterURL, "--name", cfg.Name}
	for _, f := range []struct{ flag, path string }{
		{"--basedir", cfg.Basedir}, {"--password-file", passwordFile}, {"--ca-file", cfg.CAFile},
	} {
		if f.path == "" {
			continue
		}
		abs, err := filepath.Abs(f.path)
		if err != nil {
			return "", err
		}
		args = append(args, f.flag, abs)
	}
	if cfg.Proxy != "" {
		args = append(args, "--proxy", cfg.Proxy)
	}
	if cfg.MaxRetries > 0 {
		args = append(args, "--maxretries", strconv.Itoa(cfg.MaxRetries))
	}
	if cfg.OrphanTimeout != orphanTimeout {
		args = append(args, "--orphan-timeout", cfg.OrphanTimeout.String())
	}
	stopTimeout := "30"
	if graceful {
		args = append(args, "--graceful")
		stopTimeout = "infinity" // builds take as long as they take
	}
	for i, a := range args {
		args[i] = unitWord(a)
	}
	who := ""
	if u, err := user.Current(); err == nil && u.Uid != "0" {
		who = "User=" + u.Username + "\n"
	}
	return fmt.Sprintf(`[Unit]
Description=buildstar worker %s
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=%s
%sRestart=on-failure
RestartSec=10
KillMode=mixed
TimeoutStopSec=%s

[Install]
WantedBy=multi-user.target
`, strings.ReplaceAll(cfg.Name, "%", "%%"), strings.Join(args, " "), who, stopTimeout), nil
}

// unitWord quotes a word of a command line for systemd, if it must be.
func unitWord(s string) string {
	s = strings.NewReplacer("%", "%%", "$", "$$").Replace(s)
	if s != "" && !strings.ContainsAny(s, " \t\n\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}
