package engine

import (
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// maxConnections bounds the connections of one listener, so that strangers cannot use
// up the file descriptors that builds need.
const maxConnections = 10_000

// A connection is a newcomer until its worker has attached. After a start of the master
// all workers come at once, and what many newcomers take together (buffers, goroutines)
// is not given back: so only so many are let in at a time, while they make room in time.
const (
	maxNewcomers = 8
	roomPatience = 5 * time.Millisecond // for one to make room, then one more comes in
)

// crowd is a listener with at most so many connections at a time; more are closed at
// once.
type crowd struct {
	net.Listener
	most int64
	log  *slog.Logger
	open atomic.Int64
	room chan struct{} // holds one for each newcomer
	said time.Time     // when refusals were logged last; of the accepting goroutine
}

func newCrowd(l net.Listener, most int64, log *slog.Logger) *crowd {
	return &crowd{Listener: l, most: most, log: log, room: make(chan struct{}, maxNewcomers)}
}

func (c *crowd) Accept() (net.Conn, error) {
	for {
		one, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.open.Add(1) <= c.most {
			return c.guest(one), nil
		}
		c.open.Add(-1)
		one.Close()
		if time.Since(c.said) > time.Minute {
			c.said = time.Now()
			c.log.Warn("too many connections; new ones are closed", "address", c.Addr().String(), "at most", c.most)
		}
	}
}

// guest counts a connection until it is closed. A TCP connection keeps its methods:
// writing of many buffers at once and keepalive depend on them.
func (c *crowd) guest(one net.Conn) net.Conn {
	counts := c.makeRoom()
	if tcp, ok := one.(*net.TCPConn); ok {
		g := &tcpGuest{TCPConn: tcp, stay: stay{crowd: c}}
		g.newcomer.Store(counts)
		return g
	}
	g := &guest{Conn: one, stay: stay{crowd: c}}
	g.newcomer.Store(counts)
	return g
}

// makeRoom reports whether the next connection is one of the newcomers that count.
func (c *crowd) makeRoom() bool {
	select {
	case c.room <- struct{}{}:
		return true
	default:
	}
	late := time.NewTimer(roomPatience)
	defer late.Stop()
	select {
	case c.room <- struct{}{}:
		return true
	case <-late.C:
		return false
	}
}

// stay is that of a guest.
type stay struct {
	crowd          *crowd
	newcomer, left atomic.Bool
}

// Settled says that a guest is no newcomer any more; conn.Server calls it.
func (s *stay) Settled() {
	if s.newcomer.CompareAndSwap(true, false) {
		<-s.crowd.room
	}
}

func (s *stay) leave() {
	s.Settled()
	if s.left.CompareAndSwap(false, true) {
		s.crowd.open.Add(-1)
	}
}

type guest struct {
	net.Conn
	stay
}

func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}

type tcpGuest struct {
	*net.TCPConn
	stay
}

func (g *tcpGuest) Close() error {
	defer g.leave()
	return g.TCPConn.Close()
}
