package engine

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A listener with too many connections closes new ones at once, and takes others when
// one has left.
func TestCrowd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(ln, 2, quietLog())
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			one, err := c.Accept()
			if err != nil {
				return
			}
			accepted <- one
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		one, err := net.DialTimeout("tcp", ln.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { one.Close() })
		return one
	}
	dial()
	first := <-accepted
	dial()
	second := <-accepted
	third := dial()
	third.SetDeadline(time.Now().Add(patience))
	var timeout net.Error
	if _, err := io.ReadAll(third); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("one too many was not closed")
	}
	for range 2 {
		first.Close() // the second time counts for nothing
	}
	dial()
	fourth := <-accepted
	if n := c.open.Load(); n != 2 {
		t.Errorf("%d are open", n)
	}
	ln.Close()
	second.Close()
	fourth.Close()
	if _, more := <-accepted; more || c.open.Load() != 0 {
		t.Errorf("%d are open after the end", c.open.Load())
	}
}

// pipes is a listener of connections in memory.
type pipes struct{ net.Listener }

func (pipes) Accept() (net.Conn, error) { one, _ := net.Pipe(); return one, nil }

// Newcomers come in at once while they are few, or make room; others soon all the same.
func TestCrowdNewcomers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(pipes{}, 1000, quietLog())
		start := time.Now()
		accept := func(want time.Duration) *guest {
			t.Helper()
			one, err := c.Accept()
			if waited := time.Since(start); err != nil || waited != want {
				t.Fatalf("came in after %v (%v), want %v", waited, err, want)
			}
			return one.(*guest)
		}
		var in []*guest
		for range maxNewcomers {
			in = append(in, accept(0))
		}
		extra := accept(roomPatience)
		in[0].Settled()
		in = append(in, accept(roomPatience))
		in[1].Close()
		in = append(in, accept(roomPatience))
		extra.Settled()
		extra.Close() // neither makes room: it had none
		accept(2 * roomPatience)
		for _, g := range in {
			g.Settled()
			g.Close()
			g.Close()
		}
		if n := len(c.room); n != 0 {
			t.Errorf("%d count as newcomers in the end", n)
		}
	})
}
