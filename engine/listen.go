package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
)

// doors are the listeners for workers, by the address of the configuration. One
// that a reload does not change keeps listening.
type doors struct {
	m    *Master
	mu   sync.Mutex
	open map[string]*door
	wg   sync.WaitGroup
}

type door struct {
	key      string
	listener *secured
	server   *http.Server
}

// secured is a listener whose new connections are TLS, while it has a certificate.
type secured struct {
	net.Listener
	tls atomic.Pointer[tls.Config]
}

func (s *secured) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if t := s.tls.Load(); t != nil && err == nil {
		return tls.Server(c, t), nil
	}
	return c, err
}

// opening is what a new configuration changes about the doors.
type opening struct {
	doors []*door                // not served yet
	tls   map[string]*tls.Config // by key; nil: plain
}

func newDoors(m *Master) *doors { return &doors{m: m, open: map[string]*door{}} }

func doorKey(l config.Listen) string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// prepare opens the listeners that are not open yet, and reads the certificates of all.
func (ds *doors) prepare(listen []config.Listen) (o opening, err error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	o.tls = map[string]*tls.Config{}
	for _, l := range listen {
		key := doorKey(l)
		if o.tls[key], err = ds.certificate(l); err != nil {
			o.discard()
			return opening{}, prop.Problems{{Code: "certificate", Pos: l.Pos, Text: fmt.Sprintf("read the certificate for workers: %v", err)}}
		}
		if ds.open[key] != nil {
			continue
		}
		ln, err := net.Listen("tcp", key)
		if err != nil {
			o.discard()
			return opening{}, prop.Problems{{Code: "listen", Pos: l.Pos, Text: fmt.Sprintf("listen for workers: %v", err)}}
		}
		o.doors = append(o.doors, &door{key: key, listener: &secured{Listener: newCrowd(ln, maxConnections, ds.m.log)}})
	}
	return o, nil
}

// certificate returns how to serve at an address; nil is without TLS. Clients are not
// asked for certificates: workers have passwords.
func (ds *doors) certificate(l config.Listen) (*tls.Config, error) {
	if l.TLS == nil {
		return nil, nil
	}
	path := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(ds.m.o.Basedir, name)
	}
	pair, err := tls.LoadX509KeyPair(path(l.TLS.Cert), path(l.TLS.Key))
	if err != nil {
		return nil, err
	}
	if end := pair.Leaf.NotAfter; end.Before(time.Now()) { // what there is but TLS must not wait for a new one
		ds.m.log.Warn("the certificate for workers has expired", "file", l.TLS.Cert, "at", end)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}, nil
}

// discard closes what was opened for nothing.
func (o opening) discard() {
	for _, d := range o.doors {
		d.listener.Close()
	}
}

// commit serves the opened listeners and closes those that are no longer wanted.
// Connections that are open stay as they are.
func (ds *doors) commit(o opening) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for key, d := range ds.open {
		t, wanted := o.tls[key]
		if !wanted {
			d.server.Close()
			delete(ds.open, key)
			continue
		}
		d.listener.tls.Store(t)
	}
	for _, d := range o.doors {
		d.listener.tls.Store(o.tls[d.key])
		d.server = &http.Server{
			Handler:           ds.m.server,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       10 * time.Second,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          log.New(quiet{ds.m.log}, "", 0),
		}
		ds.open[d.key] = d
		ds.wg.Go(func() {
			if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
				ds.m.log.Error("listening for workers ended", "address", d.key, "error", err)
			}
		})
		ds.m.log.Info("workers can connect", "address", d.listener.Addr().String(), "tls", o.tls[d.key] != nil)
		if o.tls[d.key] == nil && !d.listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
			ds.m.log.Warn("workers connect without TLS: who can listen in learns their passwords", "address", d.listener.Addr().String(),
				"advice", "give c['protocols']['msgpack_experimental_v7'] tls_cert and tls_key")
		}
	}
}

// addr is where the listener of an entry of the configuration listens; nil if none does.
func (ds *doors) addr(l config.Listen) *net.TCPAddr {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d := ds.open[doorKey(l)]; d != nil {
		return d.listener.Addr().(*net.TCPAddr)
	}
	return nil
}

func (ds *doors) addrs() []net.Addr {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	var addrs []net.Addr
	for _, d := range ds.open {
		addrs = append(addrs, d.listener.Addr())
	}
	return addrs
}

func (ds *doors) close() {
	ds.commit(opening{})
	ds.wg.Wait()
}

// quiet sends what net/http has to say about bad clients to the debug log.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.log.Log(context.Background(), slog.LevelDebug, string(p), "from", "worker port")
	return len(p), nil
}
