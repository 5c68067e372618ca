package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	"buildstar/conn/wire"
)

// maxBlock is the most that is sent or asked for at once.
const maxBlock = 16 << 20

// transfer is what the three transfer commands have in common.
type transfer struct {
	path      string // as given, for messages
	blocksize int
	maxsize   int64 // math.MaxInt64: no limit
}

func (r *reader) transfer() transfer {
	t := transfer{path: r.path("path"), maxsize: r.integer("maxsize", math.MaxInt64)}
	size := r.integer("blocksize", 0)
	if size < 1 || t.maxsize < 0 {
		r.fail(errors.New("blocksize must be at least 1 and maxsize at least 0"))
	}
	t.blocksize = int(min(size, maxBlock))
	return t
}

// tooBig is what the stock worker says when maxsize is reached.
func (t *transfer) tooBig() string {
	return fmt.Sprintf("Maximum filesize reached, truncating file '%s'", t.path)
}

// A sender sends what is written to it to the master, in blocks, each of which the
// master must take before the next is sent. It fails for good once it has sent
// maxsize bytes and there is more.
type sender struct {
	c    *command
	op   string
	t    *transfer
	buf  []byte
	sent int64
}

var errTooBig = errors.New("maxsize reached")

func (s *sender) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, s.t.blocksize-len(s.buf))
		s.buf = append(s.buf, p[done:done+n]...)
		done += n
		if len(s.buf) == s.t.blocksize {
			if err := s.flush(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// flush sends the last block, which may be short.
func (s *sender) flush() error {
	block := s.buf
	over := int64(len(block)) > s.t.maxsize-s.sent
	if over {
		block = block[:s.t.maxsize-s.sent]
	}
	s.buf = s.buf[:0]
	if len(block) > 0 {
		if _, err := s.c.call(s.c.ctx, s.op, map[string]any{wire.KeyArgs: block}); err != nil {
			return err
		}
		s.sent += int64(len(block))
	}
	if over {
		return errTooBig
	}
	return nil
}

func parseUploadFile(s *session, r *reader) runFunc {
	t := r.transfer()
	keepstamp := r.flag("keepstamp", false)
	return func(c *command) error {
		c.out.header("sending " + t.path + "\n")
		// A pipe is read if somebody writes to it now.
		f, err := os.OpenFile(s.path(t.path), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		var st os.FileInfo
		if err == nil {
			defer f.Close()
			if st, err = f.Stat(); err == nil && st.IsDir() {
				err = syscall.EISDIR
			}
		}
		if err != nil {
			_ = c.closeRemote(wire.OpUploadFileClose) // the master may not mind
			c.out.value(wire.RC, 1)
			c.out.stderr(fmt.Sprintf("Cannot open file '%s' for upload", t.path))
			return nil
		}
		out := &sender{c: c, op: wire.OpUploadFileWrite, t: &t}
		if _, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{f}, make([]byte, min(t.blocksize, 1<<20))); err == nil {
			err = out.flush()
		}
		return c.sentFile(f, &t, keepstamp, err)
	}
}

// sentFile ends an upload.
func (c *command) sentFile(f *os.File, t *transfer, keepstamp bool, err error) error {
	if closeErr := c.closeRemote(wire.OpUploadFileClose); err == nil {
		err = closeErr
	}
	if err == nil && keepstamp {
		err = c.sendStamp(f)
	}
	return c.transferred(t, err)
}

// closePatience is how long an interrupted transfer waits for the master to close its
// side.
const closePatience = 5 * time.Second

// closeRemote has the master close its file, whatever happened before, also when the
// command was interrupted.
func (c *command) closeRemote(op string) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx))
	defer cancel()
	defer context.AfterFunc(c.ctx, func() { time.AfterFunc(closePatience, cancel) })()
	_, err := c.call(ctx, op, nil)
	return err
}

// sendStamp tells the times of a file.
func (c *command) sendStamp(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	fields := map[string]any{wire.KeyAccessTime: nil, wire.KeyModifiedTime: nil}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		modified, accessed, _ := times(sys)
		fields[wire.KeyAccessTime] = float64(accessed.UnixNano()) / 1e9
		fields[wire.KeyModifiedTime] = float64(modified.UnixNano()) / 1e9
	}
	_, err = c.call(c.ctx, wire.OpUploadFileUtime, fields)
	return err
}

// transferred reports the end of a transfer. What the master refused is an error of
// the command as a whole.
func (c *command) transferred(t *transfer, err error) error {
	if err == nil {
		c.out.value(wire.RC, 0)
		return nil
	}
	if c.isTransfer() && errors.Is(err, errLost) {
		return err
	}
	c.out.value(wire.RC, 1)
	var remote *remoteError
	switch {
	case errors.Is(err, errTooBig):
		c.out.stderr(t.tooBig())
	case errors.As(err, &remote):
		return err
	case c.ctx.Err() == nil:
		c.out.stderr(fmt.Sprintf("Cannot transfer '%s': %v", t.path, err))
	}
	return nil
}
