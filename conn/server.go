package conn

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/conn/wire"
)

// maxOrphans bounds the ids remembered for one worker.
const maxOrphans = 1000

// Options are what a Server can be told. The zero Options are fit for use.
type Options struct {
	// Logger gets one line for each login refused, worker attached and worker lost; nil
	// is slog.Default.
	Logger *slog.Logger
	// Epoch is the first part of the ids that the server makes for commands without
	// one. It must differ at each start of the master; empty is a random one.
	Epoch string
	// PingInterval is how long after the last sign of life a worker is asked for one,
	// and how long it has to give it; two misses end the session. 0 is 30 s.
	PingInterval time.Duration
}

// Server accepts workers. It is an http.Handler for those that come by WebSocket.
type Server struct {
	host     Host
	opt      Options
	log      *slog.Logger
	refusals *limiter
	nextID   atomic.Int64
	stopping chan struct{}

	mu        sync.Mutex
	closed    bool
	open      map[*session]struct{}        // every connection, also those that wait for a name
	names     map[string]*session          // who has the name, attached or attaching
	contested map[string]bool              // names whose owner is being asked whether it lives
	orphans   map[string][]string          // commands that ran when their connection was lost
	shared    map[string]map[string]string // parts of what many workers say

	wg sync.WaitGroup // every goroutine
}

// NewServer makes a server that asks and tells host.
func NewServer(host Host, opt Options) *Server {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Epoch == "" {
		var b [6]byte
		rand.Read(b[:])
		opt.Epoch = hex.EncodeToString(b[:])
	}
	if opt.PingInterval <= 0 {
		opt.PingInterval = 30 * time.Second
	}
	return &Server{
		host: host, opt: opt, log: opt.Logger, refusals: newLimiter(opt.Logger), stopping: make(chan struct{}),
		open: map[*session]struct{}{}, names: map[string]*session{}, contested: map[string]bool{},
		orphans: map[string][]string{}, shared: map[string]map[string]string{},
	}
}

// NextID makes a command id that no command of this or another epoch has
// (docs/protocol.md 0.2 item 11).
func (srv *Server) NextID() string {
	return fmt.Sprintf("%s-%d", srv.opt.Epoch, srv.nextID.Add(1))
}

// Session returns the worker of that name if it is attached.
func (srv *Server) Session(name string) (Session, bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if s := srv.names[name]; s != nil && s.attached {
		return s, true
	}
	return nil, false
}

// ServePipe serves a worker that is already trusted, over t, until its session ends or
// ctx is cancelled. It returns why.
func (srv *Server) ServePipe(ctx context.Context, t wire.Transport, name string) error {
	s, err := srv.accept(t, name, pipeAddr(name))
	if err != nil {
		t.Close(err.Error())
		return err
	}
	select {
	case <-ctx.Done():
		s.Close(context.Cause(ctx).Error())
	case <-s.done:
	}
	return s.Err()
}

// pipeAddr is the address of a worker in this process.
type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return "local" }

var errStopping = errors.New("the master is shutting down")

// accept makes a session and starts its attaching, which starts its reader.
func (srv *Server) accept(t wire.Transport, name string, remote net.Addr) (*session, error) {
	s := newSession(srv, t, name, remote)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		return nil, errStopping
	}
	srv.open[s] = struct{}{}
	srv.wg.Go(s.attach)
	return s, nil
}

// forget removes an ended session and remembers what it left running.
func (srv *Server) forget(s *session, running []string) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.open, s)
	if srv.names[s.name] == s {
		delete(srv.names, s.name)
	}
	if len(running) > 0 {
		ids := append(srv.orphans[s.name], running...)
		srv.orphans[s.name] = ids[max(0, len(ids)-maxOrphans):]
	}
}

func (srv *Server) takeOrphans(name string) []string {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	ids := srv.orphans[name]
	delete(srv.orphans, name)
	return ids
}

// Run keeps the server until ctx is cancelled, then shuts it down.
func (srv *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return srv.Shutdown(context.WithoutCancel(ctx))
}

// Shutdown closes every session, refuses new ones, and waits until all goroutines of
// the server have ended, among them those that call the Host. It returns early only if
// ctx ends.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.mu.Lock()
	if !srv.closed {
		srv.closed = true
		close(srv.stopping)
	}
	open := make([]*session, 0, len(srv.open))
	for s := range srv.open {
		open = append(open, s)
	}
	srv.mu.Unlock()
	for _, s := range open { // each may take a second to say goodbye
		srv.wg.Go(func() { s.Close(errStopping.Error()) })
	}
	srv.refusals.stop()
	done := make(chan struct{})
	go func() { // ends with the last goroutine of the server
		defer close(done)
		srv.wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut down the workers' server: %w", context.Cause(ctx))
	}
}
