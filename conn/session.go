package conn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"

	"buildstar/conn/wire"
)

// session is one worker's connection.
type session struct {
	srv    *Server
	name   string
	remote net.Addr
	t      wire.Transport
	info   WorkerInfo // set before the host sees the session
	held   []Held     // the same
	out    outbox
	done   chan struct{}

	named    bool // it had its name; guarded by srv.mu
	attached bool // guarded by srv.mu

	mu       sync.Mutex
	hosted   bool // the host knows of it
	telling  bool // a goroutine is calling the host
	leaves   bool // the worker asked to leave;
	toldThat bool // the host knows
	toldEnd  bool // the host knows of err
	err      error
	next     int64 // seq_number of our next request
	pending  map[int64]chan<- answer
	commands map[string]*command // those that did not complete
	pulse    pulse
}

var _ Session = (*session)(nil)

// answer is the response to one of our requests.
type answer struct {
	result []byte // not decoded: that would make the reader's stack grow, once and for all
	err    error  // a *RemoteError
}

func (a answer) value() (any, error) {
	if a.err != nil || a.result == nil {
		return nil, a.err
	}
	v, err := wire.Decode(a.result)
	if err != nil {
		return nil, &RemoteError{Text: err.Error()}
	}
	return v, nil
}

func newSession(srv *Server, t wire.Transport, name string, remote net.Addr) *session {
	return &session{srv: srv, name: name, remote: remote, t: t, done: make(chan struct{})}
}

func (s *session) Name() string          { return s.name }
func (s *session) Info() WorkerInfo      { return s.info }
func (s *session) Held() []Held          { return s.held }
func (s *session) RemoteAddr() net.Addr  { return s.remote }
func (s *session) Done() <-chan struct{} { return s.done }

func (s *session) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *session) Close(why string) {
	s.end(fmt.Errorf("%w: %w: %s", ErrLost, ErrDropped, why), why)
}

func (s *session) Ping(ctx context.Context) error {
	err := s.print(ctx, "ping")
	if err != nil && ctx.Err() != nil && s.isHeld() {
		return fmt.Errorf("%w: %w", ErrHeld, err)
	}
	return err
}

func (s *session) print(ctx context.Context, message string) error {
	_, err := s.request(ctx, wire.OpPrint, map[string]any{wire.KeyMessage: message})
	return err
}

func (s *session) Shutdown(ctx context.Context) error {
	_, err := s.request(ctx, wire.OpShutdown, nil)
	return err
}

func (s *session) Interrupt(ctx context.Context, commandID, why string) error {
	_, err := s.request(ctx, wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: commandID, wire.KeyWhy: why})
	return err
}

// all acknowledges a command as a whole.
const all = -1

func (s *session) Acknowledge(commandIDs ...string) {
	through := make(map[string]any, len(commandIDs))
	for _, id := range commandIDs {
		through[id] = int64(all)
	}
	s.acknowledge(through)
}

func (s *session) AcknowledgeUpdates(commandID string, through int64) {
	s.acknowledge(map[string]any{commandID: through})
}

// acknowledge tells a worker that keeps them what is no longer needed. If it cannot be
// told, it asks about them in its next session.
func (s *session) acknowledge(through map[string]any) {
	if s.info.Life != "" && len(through) > 0 {
		_, _ = s.post(wire.OpAcknowledge, map[string]any{wire.KeyArgs: through}, nil)
	}
}

// request sends a request and waits for its answer.
func (s *session) request(ctx context.Context, op string, fields map[string]any) (any, error) {
	answered, seq, err := s.ask(op, fields)
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answered:
		return a.value()
	case <-s.done:
		return nil, s.Err()
	case <-ctx.Done():
		s.mu.Lock()
		s.settled(seq) // a late answer is for nobody
		s.mu.Unlock()
		return nil, fmt.Errorf("%s worker %s: %w", op, s.name, context.Cause(ctx))
	}
}

// settled forgets a request. Most sessions idle, and then keep no map. The caller holds mu.
func (s *session) settled(seq int64) {
	if delete(s.pending, seq); len(s.pending) == 0 {
		s.pending = nil
	}
}

// ask sends a request and returns where its answer will come.
func (s *session) ask(op string, fields map[string]any) (<-chan answer, int64, error) {
	answered := make(chan answer, 1)
	seq, err := s.post(op, fields, answered)
	return answered, seq, err
}

// post queues a request; nobody need wait for the answer. It never blocks.
func (s *session) post(op string, fields map[string]any, answered chan<- answer) (int64, error) {
	frame := wire.GetBuffer()
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return 0, s.err
	}
	seq := s.next
	b, err := wire.AppendRequest(frame.B, seq, op, fields)
	if err != nil {
		s.mu.Unlock()
		return 0, fmt.Errorf("send %s: %w", op, err)
	}
	frame.B = b
	s.next++
	if answered != nil {
		if s.pending == nil {
			s.pending = map[int64]chan<- answer{}
		}
		s.pending[seq] = answered
	}
	fits := s.push(frame) // under s.mu, so that requests are sent in order
	s.mu.Unlock()
	if !fits {
		return 0, s.overflow()
	}
	return seq, nil
}

// end ends the session; only the first reason counts. why is for the peer.
func (s *session) end(err error, why string) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	s.news()
	s.pending = nil
	running := slices.Sorted(maps.Keys(s.commands))
	s.pulse.stop()
	s.mu.Unlock()

	s.out.close()
	s.srv.mu.Lock()
	attached := s.attached
	s.srv.mu.Unlock()
	s.srv.forget(s, running)
	close(s.done)
	s.t.Close(why)
	if attached {
		s.srv.log.Info("worker lost", "worker", s.name, "address", s.remote.String(), "why", err, "commands", len(running))
	}
}

// news has the host told of what changed. The caller holds mu.
func (s *session) news() {
	if s.hosted && !s.telling {
		s.telling = true
		s.srv.wg.Go(s.tell) // the reader still counts
	}
}

// tell calls the host until it knows all there is to know.
func (s *session) tell() {
	for {
		s.mu.Lock()
		switch {
		case s.leaves && !s.toldThat:
			s.toldThat = true
			s.mu.Unlock()
			s.srv.host.Leaves(s)
		case s.err != nil && !s.toldEnd:
			s.toldEnd = true
			s.mu.Unlock()
			<-s.done
			s.srv.host.Detached(s)
		default:
			s.telling = false
			s.mu.Unlock()
			return
		}
	}
}

// resting is a transport whose reader can wait with less than it needs to work.
type resting interface {
	// Quiet reports whether Read would have to wait.
	Quiet() bool
	// Await returns once Read would not. What Read returned is not valid any more.
	Await()
}

// read is the session's goroutine while it has something to do. A stack that grew never
// becomes as small again as it was, so that one with nothing to read leaves the wait to
// another goroutine.
func (s *session) read() {
	t, rests := s.t.(resting)
	for s.took(s.t.Read()) {
		if rests && t.Quiet() {
			go s.rest()
			return
		}
	}
	s.srv.wg.Done()
}

// rest is the session's goroutine while it waits: its stack stays at the 2 KiB that every
// goroutine begins with.
func (s *session) rest() {
	s.t.(resting).Await()
	go s.read()
}

// took handles what was read; false is the end of the session.
//
//go:noinline
func (s *session) took(frame []byte, err error) bool {
	if err == nil && len(frame) > wire.MaxFrame {
		err = ErrFrameTooBig
	}
	if err == nil {
		err = s.handle(frame)
	}
	if err != nil {
		s.end(s.lost(err), err.Error())
	}
	return err == nil
}

func (s *session) lost(err error) error {
	if errors.Is(err, ErrFrameTooBig) {
		return fmt.Errorf("worker %s: %w", s.name, err)
	}
	return fmt.Errorf("%w: worker %s: %w", ErrLost, s.name, err)
}

// spawn starts a goroutine of the session unless it has ended.
func (s *session) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil { // the reader still counts, so the server is not yet awaited in vain
		s.srv.wg.Go(f)
	}
}

// register makes c known before the worker hears of it: its completion may overtake
// the answer to its start (docs/protocol.md 0.2 item 8).
func (s *session) register(c *command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.commands[c.ID] != nil {
		return fmt.Errorf("run %s: command id %q is in use", c.Name, c.ID)
	}
	if s.commands == nil {
		s.commands = map[string]*command{}
	}
	s.commands[c.ID] = c
	return nil
}

// unregister forgets c: it completed or never began.
func (s *session) unregister(c *command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commands[c.ID] != c {
		return
	}
	if delete(s.commands, c.ID); len(s.commands) == 0 {
		s.commands = nil
	}
	if c.stalls() {
		s.pulse.misses = 0 // its end is a sign of life
	}
}

func (s *session) command(id string) *command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands[id]
}

// interrupt asks for the end of a command, without waiting for the answer.
func (s *session) interrupt(id, why string) {
	// If it cannot be sent the session has ended, and the command is an orphan.
	_, _ = s.post(wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: id, wire.KeyWhy: why}, nil)
}
