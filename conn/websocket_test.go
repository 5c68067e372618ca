package conn

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"buildstar/conn/wire"
)

// dialed is the worker's end of a WebSocket, as a Transport for the scripted peer.
type dialed struct{ *websocket.Conn }

func (d dialed) Read() ([]byte, error)          { _, b, err := d.ReadMessage(); return b, err }
func (d dialed) Write(p []byte) error           { return d.WriteMessage(websocket.BinaryMessage, p) }
func (d dialed) Ping(ctx context.Context) error { return ctx.Err() }
func (d dialed) Close(reason string) error      { return d.Conn.Close() }

// served runs a server behind HTTP on loopback and dials it as a worker.
func served(t testing.TB, opt Options) (*Server, *yard, func(name string) *peer) {
	t.Helper()
	srv, y := newYard(opt)
	web := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	dialer := websocket.Dialer{HandshakeTimeout: 5 * time.Second}
	return srv, y, func(name string) *peer {
		t.Helper()
		ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(web.URL, "http"), http.Header{"Authorization": {basic(name + ":pa:ss")}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ws.Close() })
		return &peer{t: t, tr: dialed{ws}}
	}
}

func TestWebSocketSession(t *testing.T) {
	_, y, dial := served(t, Options{})
	p := dial("w1")
	s := p.attach(y)
	if host, _, err := net.SplitHostPort(s.RemoteAddr().String()); err != nil || host != "127.0.0.1" {
		t.Errorf("address %v", s.RemoteAddr())
	}
	out := p.run(t.Context(), s, Command{ID: "e-1", Name: "download_file", Download: bytes.NewReader(bytes.Repeat([]byte("x"), 700_000))})
	text := strings.Repeat("ä", 300_000) + "\n"
	p.answered(p.update("e-1", stdout(text)))
	for _, want := range []int{100, 200, 70_000, 629_700, 0} { // every form of a frame's length
		p.send("update_read_file", map[string]any{"command_id": "e-1", "length": max(want, 1)})
		if got := len(p.want("response")["result"].([]byte)); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
	// Many answers at once arrive as single messages, in order.
	var seqs []int64
	for range 500 {
		seqs = append(seqs, p.update("e-1", stdout("x\n")))
	}
	p.answered(seqs...)
	p.complete("e-1", nil)
	if o := <-out; o.err != nil || o.text != text+strings.Repeat("x\n", 500) {
		t.Errorf("%d bytes of text, %v", len(o.text), o.err)
	}
}

func TestWebSocketPings(t *testing.T) {
	_, y, dial := served(t, Options{})
	p := dial("w1")
	s := p.attach(y)
	sock := s.(*session).t.(*socket)
	pong := make(chan string, 10)
	ws := p.tr.(dialed).Conn
	ws.SetPongHandler(func(data string) error { pong <- data; return nil })
	go func() { // answers pings, as a worker's library does
		for {
			if _, err := p.read(); err != nil {
				return
			}
		}
	}()
	for range 3 {
		if err := sock.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := ws.WriteControl(websocket.PingMessage, []byte("hello"), time.Now().Add(5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := <-pong; got != "hello" {
		t.Errorf("pong %q", got)
	}
	s.Close("")
	if err := sock.Ping(t.Context()); err == nil {
		t.Error("a closed socket gave a sign of life")
	}
}

// Nobody answers pings here: that is how long a silent worker lives.
func TestWebSocketSilentWorker(t *testing.T) {
	_, y, dial := served(t, Options{PingInterval: 20 * time.Millisecond})
	s := dial("w1").attach(y)
	if err := ended(s); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "no sign of life") {
		t.Errorf("ended with %v", err)
	}
}

// hall is a listener whose connections want to know when they have settled.
type hall struct {
	net.Listener
	settled chan bool
}

type seat struct {
	net.Conn
	settled chan bool
}

func (h hall) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	return seat{c, h.settled}, err
}

func (s seat) Settled() { s.settled <- true }

// A connection is told that its worker has attached, also beneath TLS.
func TestWebSocketSettled(t *testing.T) {
	for _, secure := range []bool{false, true} {
		srv, y := newYard(Options{})
		web := httptest.NewUnstartedServer(srv)
		h := hall{web.Listener, make(chan bool, 1)}
		web.Listener = h
		if secure {
			web.StartTLS()
		} else {
			web.Start()
		}
		dialer := websocket.Dialer{HandshakeTimeout: 5 * time.Second, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(web.URL, "http"), http.Header{"Authorization": {basic("w1:pa:ss")}})
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{t: t, tr: dialed{ws}}
		s := p.attach(y)
		<-h.settled
		out := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"}) // and is one as others are
		p.answered(p.update("e-1", stdout("x\n")))
		p.complete("e-1", nil)
		if o := <-out; o.err != nil || o.text != "x\n" {
			t.Errorf("%q, %v", o.text, o.err)
		}
		ws.Close()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		web.Close()
	}
}

// The reason of a close can be read by the worker, as far as a close frame holds it.
func TestWebSocketCloseReason(t *testing.T) {
	_, y, dial := served(t, Options{})
	for _, reason := range []string{"", "enough", strings.Repeat("ä", 100)} {
		p := dial("w1")
		s := p.attach(y)
		s.Close(reason)
		_, err := p.read()
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != websocket.CloseNormalClosure || !strings.HasPrefix(reason, closed.Text) ||
			reason != "" && closed.Text == "" {
			t.Errorf("the worker got %v, want %q", err, reason)
		}
	}
}

func TestWebSocketFrameTooBig(t *testing.T) {
	_, y, dial := served(t, Options{})
	p := dial("w1")
	s := p.attach(y)
	run := p.run(t.Context(), s, Command{ID: "e-1", Name: "shell"})
	// The header alone claims more; nothing of it need come.
	raw := p.tr.(dialed).NetConn()
	if _, err := raw.Write([]byte{0x82, 0xff, 0, 0, 0, 0, 0x06, 0, 0, 0, 1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	if err := ended(s); !errors.Is(err, ErrFrameTooBig) || errors.Is(err, ErrLost) {
		t.Errorf("ended with %v", err)
	}
	if o := <-run; !errors.Is(o.err, ErrFrameTooBig) {
		t.Errorf("the command ended with %v", o.err)
	}
}

// Text frames are ignored, as stock peers do; bytes that are no frames end the
// session.
func TestWebSocketOddFrames(t *testing.T) {
	_, y, dial := served(t, Options{})
	p := dial("w1")
	s := p.attach(y)
	ws := p.tr.(dialed).Conn
	if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	p.excepted(p.send("nonsense", nil))
	if _, err := ws.NetConn().Write([]byte{0x82, 0x05, 'n', 'o', 'm', 'a', 's'}); err != nil { // not masked
		t.Fatal(err)
	}
	if err := ended(s); !errors.Is(err, ErrLost) {
		t.Errorf("ended with %v", err)
	}
}

// A peer that never reads blocks a write only until the session ends.
func TestWebSocketCloseUnblocksWrite(t *testing.T) {
	_, y, dial := served(t, Options{})
	p := dial("w1")
	s := p.attach(y)
	sock := s.(*session).t.(*socket)
	wrote, failed := make(chan bool, 1), make(chan error, 1)
	go func() {
		for {
			if err := sock.Write(make([]byte, 1<<20)); err != nil {
				failed <- err
				return
			}
			signal(wrote)
		}
	}()
	<-wrote
	s.Close("")
	if err := <-failed; err == nil {
		t.Error("the write did not end")
	}
}

var _ wire.Transport = dialed{}
