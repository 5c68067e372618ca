package worker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"buildstar/conn/wire"
)

const (
	dialTimeout = 20 * time.Second
	// writePatience is how long the master may take no bytes: it holds us back while
	// its disk is full. A dead peer is found by TCP's keepalive.
	writePatience = 15 * time.Minute
)

// dialer connects to one master.
type dialer struct {
	url    string
	header http.Header
	ws     websocket.Dialer
	name   string
	caFile string
}

func newDialer(cfg Config) (*dialer, error) {
	u, err := url.Parse(cfg.MasterURL)
	if err != nil {
		return nil, fmt.Errorf("address of the master: %w", err)
	}
	if (u.Scheme != "ws" && u.Scheme != "wss") || u.Host == "" {
		return nil, fmt.Errorf("address of the master: want ws://HOST:PORT or wss://HOST:PORT, got %q", cfg.MasterURL)
	}
	if cfg.Name == "" || strings.Contains(cfg.Name, ":") {
		return nil, fmt.Errorf("name of the worker: want one without a colon, got %q", cfg.Name)
	}
	if _, err := trusted(cfg.CAFile); err != nil {
		return nil, err
	}
	proxy, err := chooseProxy(cfg.Proxy, u)
	if err != nil {
		return nil, err
	}
	credentials := base64.StdEncoding.EncodeToString([]byte(cfg.Name + ":" + cfg.Password))
	nd := &net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6,
	}}
	return &dialer{
		url: u.String(), name: cfg.Name, caFile: cfg.CAFile,
		header: http.Header{"Authorization": {"Basic " + credentials}},
		ws: websocket.Dialer{
			NetDialContext:   (&proxyDialer{nd, proxy}).dial,
			HandshakeTimeout: dialTimeout,
			ReadBufferSize:   4 << 10,
			WriteBufferSize:  64 << 10,
		},
	}, nil
}

// trusted returns the certificates of a PEM file, or nil, which is what the system
// trusts.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificates to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the certificates to trust: there is none in %s", file)
	}
	return pool, nil
}

// dial reads the file of certificates each time, so that it can be renewed while the
// worker runs.
func (d *dialer) dial(ctx context.Context) (wire.Transport, error) {
	pool, err := trusted(d.caFile)
	if err != nil {
		return nil, err
	}
	ws := d.ws
	ws.TLSClientConfig = &tls.Config{RootCAs: pool}
	c, resp, err := ws.DialContext(ctx, d.url, d.header)
	switch {
	case err == nil:
		return newSocket(c), nil
	case resp != nil && resp.StatusCode == http.StatusUnauthorized:
		return nil, fmt.Errorf("connect to %s: the master has no worker %q with this password: %w", d.url, d.name, ErrRefused)
	case resp != nil && resp.StatusCode == http.StatusBadRequest && strings.HasPrefix(d.url, "ws://"):
		return nil, fmt.Errorf("connect to %s: the server answered %s; does it want wss://?", d.url, resp.Status)
	case resp != nil:
		return nil, fmt.Errorf("connect to %s: the server answered %s; is this the port for workers?", d.url, resp.Status)
	}
	return nil, fmt.Errorf("connect to %s: %w", d.url, err)
}

// socket is a wire.Transport over a WebSocket that we opened.
type socket struct {
	c       *websocket.Conn
	buf     []byte        // the last message; the reader's own
	silence time.Duration // see expect; the reader's own
	mu      sync.Mutex
	once    sync.Once
	pong    chan struct{}
}

func newSocket(c *websocket.Conn) *socket {
	s := &socket{c: c, pong: make(chan struct{}, 1)}
	c.SetReadLimit(wire.MaxFrame)
	c.SetPongHandler(func(string) error {
		select {
		case s.pong <- struct{}{}:
		default:
		}
		return nil
	})
	answer := c.PingHandler()
	c.SetPingHandler(func(text string) error {
		s.heard()
		return answer(text)
	})
	return s
}

// expect makes Read fail when nothing has come for so long; 0 is never. A proxy may keep
// a connection open whose other half is gone. Only the reader calls it.
func (s *socket) expect(silence time.Duration) {
	s.silence = silence
	s.heard()
}

func (s *socket) heard() {
	deadline := time.Time{}
	if s.silence > 0 {
		deadline = time.Now().Add(s.silence)
	}
	_ = s.c.SetReadDeadline(deadline) // fails on a closed connection, as Read then does
}

// maxKept is the biggest read buffer that is kept for the next message.
const maxKept = 1 << 20

// Read implements wire.Transport. Text frames are ignored, as the stock worker does.
func (s *socket) Read() ([]byte, error) {
	if cap(s.buf) > maxKept {
		s.buf = nil
	}
	for {
		kind, r, err := s.c.NextReader()
		if err != nil {
			return nil, err
		}
		if kind != websocket.BinaryMessage {
			continue
		}
		if s.buf, err = readInto(s.buf[:0], r, s.heard); err != nil {
			return nil, err
		}
		return s.buf, nil
	}
}

func readInto(buf []byte, r io.Reader, heard func()) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		heard()
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// Write implements wire.Transport.
func (s *socket) Write(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.c.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	return s.c.WriteMessage(websocket.BinaryMessage, p)
}

// Ping implements wire.Transport. It needs a Read that runs.
func (s *socket) Ping(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(dialTimeout)
	}
	if err := s.c.WriteControl(websocket.PingMessage, nil, deadline); err != nil {
		return err
	}
	select {
	case <-s.pong:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements wire.Transport.
func (s *socket) Close(reason string) error {
	err := error(nil)
	s.once.Do(func() {
		if len(reason) > 100 {
			reason = reason[:100]
		}
		msg := websocket.FormatCloseMessage(websocket.CloseNormalClosure, reason)
		_ = s.c.WriteControl(websocket.CloseMessage, msg, time.Now().Add(time.Second)) // a courtesy
		err = s.c.Close()
	})
	return err
}
