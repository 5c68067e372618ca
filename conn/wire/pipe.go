package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	pipeSize = 64 << 10 // bytes that may wait in one direction of a pipe
	// pipePatience is how long a Write waits for room: as long as a worker bears with a
	// master whose disk is slow or full.
	pipePatience = 15 * time.Minute
)

// ErrClosed is wrapped by what Read and Write of a closed transport return; the rest
// of the message is the reason given to Close.
var ErrClosed = errors.New("transport closed")

// Pipe returns the two ends of a connection in memory. Each direction holds up to
// 64 KiB; a longer message passes when the direction is empty. When one end is
// closed its own calls fail at once, while the other end may still read what was
// written before and then fails too.
func Pipe() (a, b Transport) {
	ab, ba := newHalf(), newHalf()
	return &pipeEnd{in: ba, out: ab}, &pipeEnd{in: ab, out: ba}
}

type pipeEnd struct {
	in, out *half
	last    *Buffer // what Read returned; used by the reader only
}

func (p *pipeEnd) Read() ([]byte, error) {
	if p.last != nil {
		p.last.Free()
		p.last = nil
	}
	m, err := p.in.read()
	if err != nil {
		return nil, err
	}
	p.last = m
	return m.B, nil
}

func (p *pipeEnd) Write(m []byte) error { return p.out.write(m) }

// Ping succeeds while the other end is open: there is nothing between the two.
func (p *pipeEnd) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.out.state()
}

func (p *pipeEnd) Close(reason string) error {
	p.in.close(reason, false)
	p.out.close(reason, true)
	return nil
}

// half is one direction of a pipe.
type half struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever a waiter should look again
	waiting []*Buffer
	size    int
	err     error // set once closed
	drain   bool  // whether what waits may still be read
}

func newHalf() *half { return &half{changed: make(chan struct{})} }

// cost is what a message counts for; even an empty one takes memory.
func cost(p []byte) int { return len(p) + 64 }

func (h *half) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *half) read() (*Buffer, error) {
	for {
		h.mu.Lock()
		if len(h.waiting) > 0 && (h.err == nil || h.drain) {
			m := h.waiting[0]
			h.waiting[0] = nil
			if h.waiting = h.waiting[1:]; len(h.waiting) == 0 {
				h.waiting = nil
			}
			h.size -= cost(m.B)
			h.wake()
			h.mu.Unlock()
			return m, nil
		}
		err, changed := h.err, h.changed
		h.mu.Unlock()
		if err != nil {
			return nil, err
		}
		<-changed
	}
}

func (h *half) write(p []byte) error {
	var late <-chan time.Time
	for {
		h.mu.Lock()
		if h.err != nil {
			h.mu.Unlock()
			return h.err
		}
		if h.size == 0 || h.size+cost(p) <= pipeSize {
			m := GetBuffer()
			m.B = append(m.B, p...)
			h.waiting = append(h.waiting, m)
			h.size += cost(p)
			h.wake()
			h.mu.Unlock()
			return nil
		}
		changed := h.changed
		h.mu.Unlock()
		if late == nil {
			timer := time.NewTimer(pipePatience)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-changed:
		case <-late:
			return fmt.Errorf("write to pipe: the other end took nothing for %v", pipePatience)
		}
	}
}

func (h *half) state() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *half) close(reason string, drain bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return
	}
	h.err, h.drain = ErrClosed, drain
	if reason != "" {
		h.err = fmt.Errorf("%w: %s", ErrClosed, reason)
	}
	h.wake()
}
