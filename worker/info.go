package worker

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"buildstar/conn/wire"
)

// Bounds of what is read for the facts.
const (
	maxFactFiles = 100
	maxFactBytes = 64 << 10
)

// workerInfo is the answer to get_worker_info (docs/protocol.md A.3). Whatever is wrong
// with a fact, the others are told.
func workerInfo(cfg Config) map[string]any {
	info := map[string]any{}
	for name, text := range osRelease("/etc/os-release", "/usr/lib/os-release") {
		info["os_"+strings.ToLower(name)] = validText(text)
	}
	for name, text := range infoFiles(filepath.Join(cfg.Basedir, "info")) {
		info[name] = text
	}
	for name, text := range cfg.Info {
		info[validText(name)] = validText(text)
	}
	environ := map[string]string{}
	for name, value := range ownEnviron() {
		environ[validText(name)] = validText(value)
	}
	versions := map[string]string{}
	for name := range commands {
		versions[name] = commandVersion
	}
	info["environ"] = environ
	info["system"] = "posix"
	info["basedir"] = validText(cfg.Basedir)
	info["numcpus"] = runtime.NumCPU()
	info["version"] = cfg.Version
	info["worker_commands"] = versions
	info["delete_leftover_dirs"] = false
	info[wire.InfoOurs] = map[string]any{"version": cfg.Version}
	return info
}

// info is workerInfo, and the commands that the master can resume.
func (s *session) info() map[string]any {
	info := workerInfo(s.cfg)
	if s.cfg.OrphanTimeout > 0 {
		info[wire.InfoOurs] = map[string]any{
			"version": s.cfg.Version, wire.OursResume: 1, wire.OursLife: s.running.life, wire.OursRunning: s.running.list(),
		}
	}
	return info
}

// infoFiles returns the regular files of dir as facts: admin, host, access_uri or any
// other.
func infoFiles(dir string) map[string]string {
	facts := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return facts
	}
	for _, e := range entries {
		if len(facts) == maxFactFiles {
			break
		}
		path := filepath.Join(dir, e.Name())
		if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
			continue
		}
		if text, err := readSome(path); err == nil {
			facts[validText(e.Name())] = validText(text)
		}
	}
	return facts
}

// osRelease reads the first of the files that exists.
func osRelease(paths ...string) map[string]string {
	fields := map[string]string{}
	for _, path := range paths {
		text, err := readSome(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if !ok || name == "" || strings.HasPrefix(name, "#") {
				continue
			}
			if unquoted, err := strconv.Unquote(value); err == nil {
				value = unquoted
			}
			fields[name] = strings.Trim(value, `"'`)
		}
		break
	}
	return fields
}

func readSome(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFactBytes))
	return string(b), err
}
