package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"buildstar/conn/wire"
)

// The commands that take no time: mkdir, stat, listdir, rmfile. Their rc is the
// system's error number; their error text is a header without an LF, so it follows rc
// (docs/protocol.md A.6).

// failed reports that name could not be done to path.
func (c *command) failed(name, path string, err error) {
	rc, text := errno(err)
	c.out.header(fmt.Sprintf("%s: %s: %s", name, text, path))
	c.out.value(wire.RC, rc)
}

func parseMkdir(s *session, r *reader) runFunc {
	paths := r.paths("paths")
	return func(c *command) error {
		for _, p := range paths {
			if c.interrupted() {
				return nil
			}
			if err := os.MkdirAll(s.path(p), 0o777); err != nil {
				c.failed(c.name, p, err)
				return nil
			}
		}
		c.out.value(wire.RC, 0)
		return nil
	}
}

func parseStat(s *session, r *reader) runFunc {
	path := r.path("path")
	return func(c *command) error {
		st, err := os.Stat(s.path(path))
		if err != nil {
			c.failed(c.name, path, err)
			return nil
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("stat %s: this system does not say", path)
		}
		_, atime, ctime := times(sys)
		c.out.value(wire.StatResult, []any{
			int64(sys.Mode), int64(sys.Ino), int64(sys.Dev), int64(sys.Nlink), int64(sys.Uid), int64(sys.Gid),
			sys.Size, atime.Unix(), st.ModTime().Unix(), ctime.Unix(),
		})
		c.out.value(wire.RC, 0)
		return nil
	}
}

func parseListdir(s *session, r *reader) runFunc {
	path := r.path("path")
	return func(c *command) error {
		dir, err := os.Open(s.path(path))
		if err != nil {
			c.failed(c.name, path, err)
			return nil
		}
		defer dir.Close()
		names, err := dir.Readdirnames(-1)
		if err != nil {
			c.failed(c.name, path, err)
			return nil
		}
		c.files(names)
		return nil
	}
}

// files reports names, those that are not UTF-8 with U+FFFD in them.
func (c *command) files(names []string) {
	if names == nil {
		names = []string{}
	}
	c.out.value(wire.Files, names)
	c.out.value(wire.RC, 0)
}

func parseRmfile(s *session, r *reader) runFunc {
	path := r.path("path")
	return func(c *command) error {
		if err := syscall.Unlink(filepath.Clean(s.path(path))); err != nil {
			c.failed(c.name, path, err)
			return nil
		}
		c.out.value(wire.RC, 0)
		return nil
	}
}
