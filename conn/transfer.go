package conn

import (
	"errors"
	"io"

	"buildstar/conn/wire"
)

// maxBlock is the longest block of a file that a worker is sent.
const maxBlock = 1 << 20

// transfer carries out one step of an upload or a download and answers it. The worker
// waits for the answer before it goes on, so there is one block in memory.
func (c *command) transfer(it *item) {
	switch it.op {
	case wire.OpUploadFileWrite, wire.OpUploadDirectoryWrite:
		c.write(it)
	case wire.OpReadFile:
		c.read(it)
	case wire.OpUploadFileUtime:
		if it.stamped && c.Stamp != nil {
			c.Stamp(it.accessed, it.modified)
		}
		c.s.respond(it.seq)
	default: // the ends of files: the answer says that all was taken
		if c.broken != nil {
			c.s.except(it.seq, c.broken.Error())
			return
		}
		c.s.respond(it.seq)
	}
}

func (c *command) write(it *item) {
	if c.broken == nil {
		if c.Upload == nil {
			c.broken = errors.New("this command uploads nothing")
		} else {
			_, c.broken = c.Upload.Write(it.data)
		}
	}
	if c.broken != nil {
		c.s.except(it.seq, c.broken.Error())
		return
	}
	c.s.respond(it.seq)
}

// read answers with bin, never nil (docs/protocol.md 0.1 item 1), and never more than
// was asked for; empty is the end.
func (c *command) read(it *item) {
	if c.Download == nil && c.broken == nil {
		c.broken = errors.New("this command downloads nothing")
	}
	if c.broken != nil {
		c.s.except(it.seq, c.broken.Error())
		return
	}
	block := wire.GetBuffer()
	defer block.Free()
	size := int(min(it.length, maxBlock))
	if cap(block.B) < size {
		block.B = make([]byte, 0, size)
	}
	n, err := io.ReadFull(c.Download, block.B[:size])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		c.broken = err
		c.s.except(it.seq, err.Error())
		return
	}
	c.s.respondWith(it.seq, block.B[:n])
}
