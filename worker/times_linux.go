package worker

import (
	"syscall"
	"time"
)

// times returns when a file was changed, read, and when its inode was changed.
func times(st *syscall.Stat_t) (modified, accessed, changed time.Time) {
	return time.Unix(st.Mtim.Unix()), time.Unix(st.Atim.Unix()), time.Unix(st.Ctim.Unix())
}
