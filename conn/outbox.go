package conn

import (
	"errors"
	"fmt"
	"sync"

	"buildstar/conn/wire"
)

const (
	// maxQueued is how many messages may wait to be sent. A loop that was held up answers
	// up to maxWaiting/itemCost updates at once, and several may be.
	maxQueued      = 16 << 10
	maxQueuedBytes = 32 << 20 // and their bytes
)

// outbox is what waits to be sent. Putting something in never blocks; the goroutine
// that takes it out exists only while there is something.
type outbox struct {
	mu      sync.Mutex
	queue   []*wire.Buffer
	count   int // also of what is being written now
	bytes   int
	writing bool
	closed  bool
}

// batchWriter is a transport that can send several messages in one write.
type batchWriter interface {
	WriteAll(messages [][]byte) error
}

var errDeaf = errors.New("the worker does not read what is sent to it")

// push queues frames to be sent in order, and takes them over. It reports whether they
// fit; after the end of the session they vanish.
func (s *session) push(frames ...*wire.Buffer) bool {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true
	}
	for _, f := range frames {
		o.count++
		o.bytes += len(f.B)
	}
	if o.count > maxQueued || o.bytes > maxQueuedBytes {
		return false
	}
	o.queue = append(o.queue, frames...)
	if !o.writing {
		o.writing = true
		s.srv.wg.Go(s.write) // the reader still counts, or o were closed
	}
	return true
}

// overflow ends the session because its outbox is full.
func (s *session) overflow() error {
	err := s.lost(fmt.Errorf("%w: %d messages wait", errDeaf, maxQueued))
	s.end(err, errDeaf.Error())
	return err
}

// write sends what is queued until nothing is.
func (s *session) write() {
	var messages [][]byte
	for {
		batch := s.out.take()
		if batch == nil {
			return
		}
		messages = messages[:0]
		size := 0
		for _, f := range batch {
			messages = append(messages, f.B)
			size += len(f.B)
		}
		if err := s.writeAll(messages); err != nil {
			s.end(s.lost(err), "")
		}
		for _, f := range batch {
			f.Free()
		}
		s.out.sent(len(batch), size)
	}
}

func (s *session) writeAll(messages [][]byte) error {
	if t, ok := s.t.(batchWriter); ok {
		return t.WriteAll(messages)
	}
	for _, m := range messages {
		if err := s.t.Write(m); err != nil {
			return err
		}
	}
	return nil
}

// take returns everything queued, or nil if the writer is to end.
func (o *outbox) take() []*wire.Buffer {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch := o.queue
	o.queue = nil
	if batch == nil {
		o.writing = false
	}
	return batch
}

func (o *outbox) sent(count, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count -= count
	o.bytes -= bytes
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.queue = nil
}

// respond answers the worker's requests with nil, in one write.
func (s *session) respond(seqs ...int64) {
	if len(seqs) == 0 {
		return
	}
	frames := make([]*wire.Buffer, len(seqs))
	for i, seq := range seqs {
		frames[i] = wire.GetBuffer()
		frames[i].B = wire.AppendResponse(frames[i].B, seq, nil)
	}
	if !s.push(frames...) {
		s.overflow()
	}
}

// respondWith answers a worker's request with data.
func (s *session) respondWith(seq int64, data []byte) {
	f := wire.GetBuffer()
	f.B = wire.AppendResponse(f.B, seq, data)
	if !s.push(f) {
		s.overflow()
	}
}

// except answers a worker's request with an exception.
func (s *session) except(seq int64, text string) {
	f := wire.GetBuffer()
	f.B = wire.AppendException(f.B, seq, text)
	if !s.push(f) {
		s.overflow()
	}
}
