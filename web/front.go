package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine"
	"buildstar/web/api"
)

// front is one address that the page is served at.
type front struct {
	at       config.Listen // as the configuration has it
	addr     *net.TCPAddr
	listener net.Listener
	rest     *api.API
	http     *http.Server
	served   chan error // what Serve returned
}

// Prepare implements engine.Part: it listens at a port that is new. At commit the
// new port is served; the old one refuses connections, its event streams end, and
// its requests may finish for a minute.
func (s *Server) Prepare(ctx context.Context, snap *config.Snapshot) (engine.Change, error) {
	at := snap.Master.WWW.Port
	s.mu.Lock()
	now := s.front
	s.mu.Unlock()
	switch {
	case at == nil && now == nil, at != nil && now != nil && at.Host == now.at.Host && at.Port == now.at.Port:
		return engine.Change{Commit: func() {}}, nil
	case at == nil:
		return engine.Change{Commit: func() { s.move(nil) }}, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(at.Host, strconv.Itoa(at.Port)))
	if err != nil {
		return engine.Change{}, prop.Problems{{Code: "listen", Pos: at.Pos, Subject: "c['www']['port']", Text: fmt.Sprintf("listen for the page: %v", err)}}
	}
	next := &front{at: *at, addr: l.Addr().(*net.TCPAddr), listener: l, served: make(chan error, 1)}
	return engine.Change{Commit: func() { s.move(next) }, Discard: func() { l.Close() }}, nil
}

// move serves at next and gives up the address so far; each may be nil.
func (s *Server) move(next *front) {
	if next != nil {
		s.open(next)
	}
	s.mu.Lock()
	last := s.front
	s.front = next
	s.mu.Unlock()
	if last != nil {
		s.draining.Go(func() {
			ctx, cancel := context.WithTimeout(s.drained, drainWait)
			defer cancel()
			last.close(ctx)
		})
	}
	if next != nil {
		s.once.Do(func() { close(s.ready) })
	}
	if s.opts.Moved != nil {
		s.opts.Moved(s.URL())
	}
}

// open begins to serve.
func (s *Server) open(f *front) {
	if !f.addr.IP.IsLoopback() {
		s.log.Warn("the page listens beyond loopback, and there is no authentication yet: "+
			"whoever reaches it may force and stop builds", "address", f.addr.String(),
			"advice", "c['www'] = {'port': 'tcp:"+strconv.Itoa(f.addr.Port)+":interface=127.0.0.1'}")
	}
	f.rest = api.New(s.control, api.Options{Policy: s.opts.Policy, Log: s.log})
	handler := s.Handler(f.rest)
	if f.addr.IP.IsLoopback() {
		handler = s.hosts(handler)
	}
	f.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	go func() { // ends when the front is closed
		err := f.http.Serve(f.listener)
		if !errors.Is(err, http.ErrServerClosed) {
			select {
			case s.failed <- fmt.Errorf("serve %v: %w", f.addr, err):
			default: // the first failure ends the server
			}
		}
		f.served <- err
	}()
}

// close refuses new requests, ends the event streams, and lets requests finish
// until ctx ends.
func (f *front) close(ctx context.Context) {
	f.rest.Close()
	if f.http.Shutdown(ctx) != nil {
		f.http.Close() // whoever still downloads a log is cut off
	}
	<-f.served
}
