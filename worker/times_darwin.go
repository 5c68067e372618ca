package worker

import (
	"syscall"
	"time"
)

// times returns when a file was changed, read, and when its inode was changed.
func times(st *syscall.Stat_t) (modified, accessed, changed time.Time) {
	return time.Unix(st.Mtimespec.Unix()), time.Unix(st.Atimespec.Unix()), time.Unix(st.Ctimespec.Unix())
}
