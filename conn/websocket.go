package conn

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"buildstar/conn/wire"
)

const (
	writePatience = 60 * time.Second // for one write to go through
	closePatience = time.Second      // for the close frame
	gather        = 64 << 10         // frames shorter than this are written together
)

// upgrader: only the handshake is gorilla's; no compression, because workers offer none.
var upgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second, ReadBufferSize: 128, WriteBufferSize: 128, WriteBufferPool: &sync.Pool{},
}

// socket is a wire.Transport on a WebSocket. Reading holds nearly no memory while there
// is nothing to read, and what is written are whole frames in as few writes as possible,
// under one lock.
type socket struct {
	conn  net.Conn
	spawn func(func()) // starts a goroutine that the server waits for
	in    frames       // of the reader only, as last is
	last  *wire.Buffer // what Read returned

	signs   atomic.Uint64          // of life: reads that brought something
	replies atomic.Pointer[string] // the ping to answer
	replier atomic.Bool            // whether a goroutine does that
	closed  chan struct{}
	once    sync.Once

	writing sync.Mutex
	pongMu  sync.Mutex
	pong    chan struct{} // closed by the next pong; nil if nobody waits
}

var _ wire.Transport = (*socket)(nil)

// upgrade answers 101 and returns the transport, or answers an error and returns it.
func upgrade(w http.ResponseWriter, r *http.Request, spawn func(func())) (*socket, error) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, fmt.Errorf("upgrade to a WebSocket: %w", err)
	}
	t := &socket{conn: ws.NetConn(), spawn: spawn, closed: make(chan struct{})} // ws has read nothing
	t.in = frames{from: t.conn, signs: &t.signs, heard: t.heard}
	if tcp, ok := t.raw().(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok { // *net.TCPConn, or what wraps one
		// A failure here leaves the system's defaults.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4})
	}
	return t, nil
}

// raw is the connection beneath TLS.
func (t *socket) raw() net.Conn {
	if secure, ok := t.conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return t.conn
}

// settled tells a connection that wants to know it that its worker has attached.
func (t *socket) settled() {
	if c, ok := t.raw().(interface{ Settled() }); ok {
		c.Settled()
	}
}

// Read returns the next binary message.
func (t *socket) Read() ([]byte, error) {
	if t.last != nil {
		t.last.Free()
		t.last = nil
	}
	buf, err := t.in.next()
	switch {
	case err == io.EOF:
		return nil, fmt.Errorf("the worker closed the connection without a word (%w)", err)
	case err != nil:
		return nil, err
	}
	t.last = buf
	return buf.B, nil
}

// Quiet and Await make it one that can wait with little: see resting.
func (t *socket) Quiet() bool { return t.in.quiet() }

func (t *socket) Await() {
	if t.last != nil {
		t.last.Free()
		t.last = nil
	}
	t.in.await()
}

// Write sends one message.
func (t *socket) Write(p []byte) error { return t.WriteAll([][]byte{p}) }

// WriteAll sends messages in order, short ones together.
func (t *socket) WriteAll(messages [][]byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	out := wire.GetBuffer()
	defer out.Free()
	for _, p := range messages {
		out.B = appendFrameHeader(out.B, opBinary, len(p))
		if len(p) < gather {
			out.B = append(out.B, p...)
		}
		if len(p) < gather && len(out.B) < gather {
			continue
		}
		if err := t.flush(out.B); err != nil {
			return err
		}
		out.B = out.B[:0]
		if len(p) >= gather {
			if err := t.flush(p); err != nil {
				return err
			}
		}
	}
	if len(out.B) == 0 {
		return nil
	}
	return t.flush(out.B)
}

// flush writes bytes of whole frames; the caller holds t.writing.
func (t *socket) flush(b []byte) error {
	select {
	case <-t.closed:
		return wire.ErrClosed
	default:
	}
	if err := t.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := t.conn.Write(b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// appendFrameHeader appends the header of an unmasked, unfragmented frame (RFC 6455
// 5.2).
func appendFrameHeader(b []byte, opcode byte, size int) []byte {
	b = append(b, 0x80|opcode)
	switch {
	case size < 126:
		return append(b, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(size))
}

// Ping returns when a pong came. If ctx ends before, bytes that came meanwhile are as
// good: a long message may stand before the pong.
func (t *socket) Ping(ctx context.Context) error {
	t.pongMu.Lock()
	if t.pong == nil {
		t.pong = make(chan struct{})
	}
	pong := t.pong
	t.pongMu.Unlock()
	before := t.signs.Load()
	if err := t.control(opPing, nil); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-t.closed:
		return wire.ErrClosed
	case <-ctx.Done():
		if t.signs.Load() != before {
			return nil
		}
		return ctx.Err()
	}
}

func (t *socket) control(opcode byte, payload []byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	return t.flush(append(appendFrameHeader(nil, opcode, len(payload)), payload...))
}

// heard is told of pings and pongs by the reader, which must not write. The last of many
// pings is the one that gets an answer (RFC 6455 5.5.3).
func (t *socket) heard(op byte, payload []byte) {
	if op == opPong {
		t.pongMu.Lock()
		defer t.pongMu.Unlock()
		if t.pong != nil {
			close(t.pong)
			t.pong = nil
		}
		return
	}
	text := string(payload)
	t.replies.Store(&text)
	if t.replier.CompareAndSwap(false, true) {
		t.spawn(t.reply)
	}
}

func (t *socket) reply() {
	for {
		for p := t.replies.Swap(nil); p != nil; p = t.replies.Swap(nil) {
			if t.control(opPong, []byte(*p)) != nil {
				return // the reader will find out why
			}
		}
		t.replier.Store(false)
		if t.replies.Load() == nil || !t.replier.CompareAndSwap(false, true) {
			return
		}
	}
}

// Close tells the peer why in a close frame, if it takes one within a second, and
// closes the connection.
func (t *socket) Close(reason string) error {
	t.once.Do(func() {
		for len(reason) > 123 || !utf8.ValidString(reason) { // what a close frame can hold
			reason = reason[:min(len(reason), 124)-1]
		}
		payload := websocket.FormatCloseMessage(websocket.CloseNormalClosure, reason)
		frame := append(appendFrameHeader(nil, opClose, len(payload)), payload...)
		close(t.closed)
		hurry := time.AfterFunc(closePatience, func() { t.conn.Close() }) // ends a write under way, and ours
		t.writing.Lock()
		defer t.writing.Unlock()
		_, _ = t.conn.Write(frame) // the peer may be gone
		hurry.Stop()
		t.conn.Close()
	})
	return nil
}
