package engine

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// A listener with too many connections closes new ones at once, and takes others when
// one has left.
func TestCrowd(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{Listener: ln, most: 2, log: quietLog()}
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
