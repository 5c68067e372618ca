package engine

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxConnections bounds the connections of one listener, so that strangers cannot use
// up the file descriptors that builds need.
const maxConnections = 10_000

// crowd is a listener with at most so many connections at a time; more are closed at
// once.
type crowd struct {
	net.Listener
	most int64
	log  *slog.Logger
	open atomic.Int64
	said time.Time // when refusals were logged last; of the accepting goroutine
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
	leave := sync.OnceFunc(func() { c.open.Add(-1) })
	if tcp, ok := one.(*net.TCPConn); ok {
		return &tcpGuest{tcp, leave}
	}
	return &guest{one, leave}
}

type guest struct {
	net.Conn
	leave func()
}

func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}

type tcpGuest struct {
	*net.TCPConn
	leave func()
}

func (g *tcpGuest) Close() error {
	defer g.leave()
	return g.TCPConn.Close()
}
