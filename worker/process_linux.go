package worker

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// awaitExit waits for the child's end and leaves it in the process table.
func awaitExit(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// growPipe asks for a pipe that holds more, so that a fast writer is not stopped so
// often.
func growPipe(f *os.File, size int) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, size) // a smaller one is as good
		})
	}
}

// procStat is what /proc/PID/stat says of a process.
type procStat struct {
	pid, group int
	zombie     bool
	start      uint64 // in clock ticks since boot: with pid, no two processes have the same
}

func readStat(pid int) (procStat, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, false
	}
	// The name, in brackets, may contain anything.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return procStat{}, false
	}
	group, err1 := strconv.Atoi(string(f[2]))
	start, err2 := strconv.ParseUint(string(f[19]), 10, 64)
	return procStat{pid, group, f[0][0] == 'Z' || f[0][0] == 'X', start}, err1 == nil && err2 == nil
}

// members returns the processes of a group that still run.
func members(group int) []procStat {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var list []procStat
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if st, ok := readStat(pid); ok && st.group == group && !st.zombie {
				list = append(list, st)
			}
		}
	}
	return list
}

// execTries bounds the wait for an exec, in milliseconds.
const execTries = 50

// environHas says whether the environment a process was started with has the entry.
// A process in the middle of exec has none for a moment, which is waited for.
func environHas(pid int, entry string) bool {
	var b []byte
	for range execTries {
		var err error
		if b, err = os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ"); errors.Is(err, os.ErrNotExist) {
			return false
		}
		if len(b) > 0 {
			break
		}
		time.Sleep(time.Millisecond) // nobody tells when an exec is over
	}
	for kv := range bytes.SplitSeq(b, []byte{0}) {
		if string(kv) == entry {
			return true
		}
	}
	return false
}
