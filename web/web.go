// Package web is the master's HTTP server: it listens, guards every route with one
// policy, and leads requests to the REST API and to the page.
//
// Everything outside is assumed hostile: headers are bounded in size and time,
// every answer has a deadline for standing still, a panic costs one request, and
// what another site's page may do is said in the headers of each answer.
package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"buildstar/engine"
	"buildstar/web/api"
)

// Policy decides whether a request may do an action. It stands before every route.
type Policy = api.Policy

// Options are the settings of a server.
type Options struct {
	// UI serves the pages; nil: there are none.
	UI http.Handler
	// Policy is asked before every request; nil allows all.
	Policy Policy
	// Log gets what happens; nil is slog's default. Each request is logged at debug.
	Log *slog.Logger
	// Follow makes the server follow the configuration: engine.Master.Follow. nil: it
	// stays as it is when Run is called.
	Follow func(context.Context, engine.Part) (leave func(), err error)
	// Moved is told the address of the page whenever it changed, "" if there is none any
	// more. It must not wait.
	Moved func(url string)
}

const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	answerTimeout  = time.Minute // without progress
	maxHeaderBytes = 64 << 10
	shutdownWait   = 3 * time.Second
	drainWait      = time.Minute      // for requests at an address that was given up
	formTimeout    = 30 * time.Second // to send a form
	maxForm        = 10 << 20
)

// Server serves c['www']['port'], and follows it when a reload changes it.
type Server struct {
	control engine.Control
	opts    Options
	log     *slog.Logger
	wait    time.Duration // for requests to finish at the end
	ready   chan struct{}
	once    sync.Once // closes ready
	failed  chan error

	mu       sync.Mutex
	front    *front // nil: there is no page
	draining sync.WaitGroup
	drained  context.Context // ends when addresses that were given up are cut off
	hurry    context.CancelFunc
}

// New returns a server for a master. It listens when [Server.Run] is called.
func New(control engine.Control, opts Options) *Server {
	if opts.Policy == nil {
		opts.Policy = api.AllowAll
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	s := &Server{
		control: control, opts: opts, log: opts.Log, wait: shutdownWait,
		ready: make(chan struct{}), failed: make(chan error, 1),
	}
	s.drained, s.hurry = context.WithCancel(context.Background())
	return s
}

// Ready is closed when a port accepts connections for the first time. It stays open
// as long as the configuration names none.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr returns the address the server listens at, nil if it does not.
func (s *Server) Addr() *net.TCPAddr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.front == nil {
		return nil
	}
	return s.front.addr
}

// URL returns the address of the page, "" if there is none. A server on all
// interfaces is named localhost.
func (s *Server) URL() string {
	a := s.Addr()
	if a == nil {
		return ""
	}
	host := a.IP.String()
	if a.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(a.Port)) + "/"
}

// Run listens where the configuration says and serves until ctx ends; then it
// refuses new requests, ends the event streams, and lets requests finish for at
// most 3 s. It returns nil after an orderly end.
func (s *Server) Run(ctx context.Context) error {
	leave, err := s.follow(ctx)
	if err != nil {
		return err
	}
	select {
	case err = <-s.failed:
	case <-ctx.Done():
	}
	leave()
	s.mu.Lock()
	last := s.front
	s.front = nil
	s.mu.Unlock()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.wait)
	defer cancel()
	if last != nil {
		last.close(stop)
	}
	s.hurry()
	s.draining.Wait()
	return err
}

func (s *Server) follow(ctx context.Context) (leave func(), err error) {
	if s.opts.Follow != nil {
		return s.opts.Follow(ctx, s)
	}
	c, err := s.Prepare(ctx, s.control.Snapshot())
	if err != nil {
		return nil, err
	}
	c.Commit()
	return func() {}, nil
}
