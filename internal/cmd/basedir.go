package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const configName = "master.star"

// locate returns the base directory and the configuration file that DIR|FILE
// means: basedir is DIR, or the folder of FILE, as in Buildbot.
func locate(arg string) (basedir, file string, err error) {
	abs, err := filepath.Abs(arg)
	if err != nil {
		return "", "", err
	}
	st, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", fmt.Errorf("%s: no such file or directory; 'buildstar create-master %s' makes a new one", arg, arg)
	case err != nil:
		return "", "", err
	case !st.IsDir():
		return filepath.Dir(abs), abs, nil
	}
	file = filepath.Join(abs, configName)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("%s has no %s; 'buildstar create-master %s' writes one to begin with", arg, configName, arg)
	} else if err != nil {
		return "", "", err
	}
	return abs, file, nil
}

// running is what a running master writes to its lock file.
type running struct {
	PID     int    `json:"pid"`
	URL     string `json:"url"`
	Version string `json:"version"`
	Config  string `json:"config"`
}

// lockName is held with flock(2) while a master runs, so a killed master leaves
// nothing to clean up: the lock is gone with its process.
const lockName = "master.lock"

// lock is a held basedir.
type lock struct{ f *os.File }

// lockBasedir takes the lock of a basedir, or fails naming the process that
// holds it.
func lockBasedir(dir string) (*lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock basedir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		r, err := readRunning(f)
		if err != nil {
			return nil, fmt.Errorf("a master is just starting on %s", dir)
		}
		return nil, fmt.Errorf("a master already runs on %s (pid %d%s); 'buildstar stop %s' ends it", dir, r.PID, suffix(", ", r.URL), dir)
	}
	return &lock{f}, nil
}

func suffix(sep, s string) string {
	if s == "" {
		return ""
	}
	return sep + s
}

// write replaces what the lock file says.
func (l *lock) write(r running) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if _, err := l.f.WriteAt(data, 0); err != nil {
		return err
	}
	return l.f.Truncate(int64(len(data))) // last: whoever reads meanwhile finds a whole line
}

// card keeps what the lock file says up to date, once it says something.
type card struct {
	lock *lock
	log  *slog.Logger
	mu   sync.Mutex
	says running
}

// show begins to say which master runs. Where its page is, moved has said.
func (c *card) show(r running) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.URL = c.says.URL
	c.says = r
	return c.lock.write(r)
}

// moved says that the page has another address.
func (c *card) moved(url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.says.URL = url
	if c.says.PID == 0 {
		return
	}
	if url == "" {
		c.log.Info("the page closed: c['www'] is not set")
	} else {
		c.log.Info("the page moved", "url", url)
	}
	if err := c.lock.write(c.says); err != nil {
		c.log.Error("write "+lockName, "error", err)
	}
}

// release gives the basedir free.
func (l *lock) release() {
	l.f.Truncate(0)
	l.f.Close()
}

func readRunning(r io.Reader) (running, error) {
	var s running
	err := json.NewDecoder(io.LimitReader(r, 1<<16)).Decode(&s)
	return s, err
}

// errNotRunning says that no master runs on a basedir.
type errNotRunning struct{ dir string }

func (e errNotRunning) Error() string { return fmt.Sprintf("no master runs on %s", e.dir) }

// findRunning returns the master that runs on a basedir, or errNotRunning.
func findRunning(dir string) (running, error) {
	if strings.HasSuffix(dir, ".star") {
		dir = filepath.Dir(dir)
	}
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return running{}, errNotRunning{dir}
	} else if err != nil {
		return running{}, err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return running{}, errNotRunning{dir}
	}
	r, err := readRunning(f)
	if err != nil || r.PID == 0 {
		return running{}, fmt.Errorf("a master is just starting on %s: try again", dir)
	}
	return r, nil
}
