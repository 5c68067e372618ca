package worker

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// marker is the variable by which the processes of a command can be told from others
// once their leader is gone.
const marker = "BUILDSTAR_PROCESS_GROUP"

// record is what is written down of each running command, so that a later process can
// kill what this one left behind. A process is named by its pid and its start time:
// a pid that was given out again never matches.
type record struct {
	owner      int // the worker's process
	ownerStart uint64
	group      int // the command's process group, which is its leader's pid
	start      uint64
	mark       string // the value of marker in the command's environment
}

func newMark() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func runningDir(basedir string) string { return filepath.Join(basedir, ".running") }

// writeRecord writes down that group runs, and returns the path of the record. The
// leader must not be reaped yet.
func writeRecord(basedir string, group int, mark string) (string, error) {
	leader, ok := readStat(group)
	if !ok {
		return "", nil // a system without /proc
	}
	self, _ := readStat(os.Getpid())
	dir := runningDir(basedir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("write down process group %d: %w", group, err)
	}
	path := filepath.Join(dir, strconv.Itoa(group)+"-"+mark)
	text := fmt.Sprintf("%d %d %d %d %s\n", os.Getpid(), self.start, group, leader.start, mark)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write down process group %d: %w", group, err)
	}
	return path, nil
}

func readRecord(path string) (record, error) {
	var r record
	b, err := readSome(path)
	if err != nil {
		return r, err
	}
	if _, err := fmt.Sscanf(b, "%d %d %d %d %s", &r.owner, &r.ownerStart, &r.group, &r.start, &r.mark); err != nil {
		return r, fmt.Errorf("read %s: %w", path, err)
	}
	if r.group <= 1 {
		return r, fmt.Errorf("read %s: %d is no process group of ours", path, r.group)
	}
	return r, nil
}

// CleanUp kills the process groups that an earlier process of this basedir left
// running when it was killed, and returns when they are gone. Groups whose worker
// still lives are left alone, as is whatever a command detached from its group.
func CleanUp(basedir string) error {
	dir := runningDir(basedir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for processes left behind: %w", err)
	}
	var problems []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		r, err := readRecord(path)
		if err == nil {
			if owner, ok := readStat(r.owner); ok && owner.start == r.ownerStart && !owner.zombie {
				continue
			}
			err = r.kill()
		}
		if err != nil {
			problems = append(problems, err)
			if r.group > 1 {
				continue // tried again next time
			}
		}
		if err := os.Remove(path); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Guard marks the environment of a process group that is about to be started, so that
// CleanUp can tell its processes. started is to be called with the group's id before the
// leader is reaped, and what it returns when nothing of the group is left.
func Guard(basedir string) (variable string, started func(group int) (ended func(), err error)) {
	mark := newMark()
	return marker + "=" + mark, func(group int) (func(), error) {
		record, err := writeRecord(basedir, group, mark)
		return func() {
			if record != "" {
				_ = os.Remove(record) // one that stays says only what is over
			}
		}, err
	}
}

// killPatience is how long a killed process may take to go.
const killPatience = 5 * time.Second

// kill ends what still runs of the group.
func (r record) kill() error {
	deadline := time.Now().Add(killPatience)
	for {
		left := r.processes()
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process group %d does not end", r.group)
		}
		for _, p := range left {
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d left behind: %w", p.pid, err)
			}
		}
		time.Sleep(10 * time.Millisecond) // nobody tells when a process of another's ends
	}
}

// processes returns the group's processes that are surely ours: all of them if the
// leader is the recorded one, else those that carry its mark.
func (r record) processes() []procStat {
	leader, alive := readStat(r.group)
	if alive && leader.start != r.start {
		return nil // the pid is another's by now, so the group was empty once
	}
	ours := members(r.group)
	if alive {
		return ours
	}
	marked := ours[:0]
	for _, p := range ours {
		if environHas(p.pid, marker+"="+r.mark) {
			marked = append(marked, p)
		}
	}
	return marked
}
