package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/conn/wire"
)

// Bounds of one session.
const (
	maxReplies   = 16 << 20         // bytes of answers that may wait for the master to read
	stopPatience = 15 * time.Second // for commands to end and say so, once the worker stops
)

// Why a session, or a command, ended.
var (
	errStopping    = errors.New("the worker stops")
	errLost        = errors.New("connection to master lost")
	errInterrupted = errors.New("interrupted by the master")
	errShutdown    = errors.New("the master asked the worker to shut down")
)

// Serve runs one session over t: it answers the master's requests and runs its
// commands until t fails, the master asks for a shutdown, or ctx ends. Then it kills
// what still runs, closes t, and returns when nothing of it is left. The error is nil
// after a shutdown, and ctx's after its end. What an earlier process left running in
// the same basedir is killed first.
func Serve(ctx context.Context, t wire.Transport, cfg Config) error {
	cfg, err := cfg.prepare()
	if err != nil {
		t.Close(err.Error())
		return err
	}
	if err := CleanUp(cfg.Basedir); err != nil {
		cfg.Logger.Warn("processes of an earlier run may be left", "err", err)
	}
	cfg.OrphanTimeout = 0 // there is no other session
	running := newTable()
	_, err = serve(ctx, t, cfg, running)
	running.stop(errLost)
	if errors.Is(err, errShutdown) {
		return nil
	}
	return err
}

// session is one connection to a master.
type session struct {
	t       wire.Transport
	cfg     Config
	log     *slog.Logger
	running *table
	set     *settings // for the next command; the reader's own

	seq     atomic.Int64
	updates chan *wire.Buffer // from commands to the writer

	mu         sync.Mutex
	replies    []*wire.Buffer // to requests of the master; the reader must never wait
	replyBytes int
	calls      map[int64]chan<- answer
	attached   bool
	err        error

	wake chan struct{} // there are replies
	dead chan struct{} // closed when the transport is gone
	quit chan struct{} // closed when the writer shall write what waits and end
	over chan struct{} // closed when the writer has ended
	told chan bool     // whether the master can be asked for leave; holds the first answer
	stop context.CancelCauseFunc
}

// answer is what the master said to a request.
type answer struct {
	result    any
	exception bool
}

// serve is Serve for commands that may outlive the session. attached says whether
// the master asked who we are.
func serve(ctx context.Context, t wire.Transport, cfg Config, running *table) (attached bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &session{
		t: t, cfg: cfg, log: cfg.Logger, running: running, set: defaultSettings(),
		updates: make(chan *wire.Buffer),
		calls:   map[int64]chan<- answer{},
		wake:    make(chan struct{}, 1),
		dead:    make(chan struct{}),
		quit:    make(chan struct{}),
		over:    make(chan struct{}),
		told:    make(chan bool, 1),
		stop:    cancel,
	}
	var wg sync.WaitGroup
	wg.Go(s.write)
	wg.Go(func() { s.end(ctx) })
	wg.Go(func() { s.leave(ctx) })
	s.read()
	cancel(errLost)
	wg.Wait()
	running.abandon(s)
	return s.attached, s.err
}

// read handles the master's messages in order until the transport fails.
func (s *session) read() {
	var m wire.Message
	for {
		frame, err := s.t.Read()
		if err != nil {
			s.die(fmt.Errorf("%w: %w", errLost, err))
			return
		}
		if err := m.Parse(frame); err != nil {
			// Nobody could be answered; the next message may be sound.
			s.log.Warn("a message of the master was ignored", "err", err)
			continue
		}
		if m.Op == wire.OpResponse {
			s.answered(&m)
			continue
		}
		s.handle(&m)
	}
}

// end waits for the end of ctx and then lets commands end and the transport close,
// in this order.
func (s *session) end(ctx context.Context) {
	select {
	case <-s.dead:
		return
	case <-ctx.Done():
	}
	select {
	case <-s.dead: // lost, which is what ended ctx
		return
	default:
	}
	cause := context.Cause(ctx)
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	select {
	case <-s.running.cancel(s, errStopping):
		close(s.quit)
		select {
		case <-s.over:
		case <-patience.C:
		}
	case <-patience.C:
	case <-s.dead:
	}
	s.die(cause)
}

// leave asks the master, once Config.Leave is closed, to be told to shut down as soon as
// it needs the worker no more (docs/protocol.md A.10).
func (s *session) leave(ctx context.Context) {
	select {
	case <-s.cfg.Leave:
	case <-s.dead:
		return
	}
	select {
	case can := <-s.told:
		if !can {
			s.log.Warn("the master is a stock one and cannot be asked for a graceful stop: ask for it there, or end the worker with SIGTERM")
			return
		}
	case <-s.dead:
		return
	}
	s.log.Info("the master is asked to let the worker go once it is idle")
	if _, err := s.call(ctx, wire.OpLeave, "", nil); err != nil && ctx.Err() == nil && !errors.Is(err, errLost) {
		s.log.Warn("ask the master for a graceful stop", "err", err)
	}
}

// die ends the session once.
func (s *session) die(err error) {
	s.mu.Lock()
	first := s.err == nil
	if first {
		s.err = err
		close(s.dead)
	}
	s.mu.Unlock()
	if first {
		reason := ""
		if !errors.Is(err, errLost) {
			reason = errStopping.Error()
		}
		s.t.Close(reason)
	}
}

// write is the only one that writes. Answers go before updates, so that what the
// reader answered is on its way before anything that follows from it.
func (s *session) write() {
	defer close(s.over)
	for {
		if !s.writeReplies() {
			return
		}
		select {
		case <-s.wake:
		case b := <-s.updates:
			if !s.writeReplies() || !s.writeOne(b) {
				return
			}
		case <-s.quit:
			s.writeReplies()
			return
		case <-s.dead:
			return
		}
	}
}

func (s *session) writeReplies() bool {
	s.mu.Lock()
	replies := s.replies
	s.replies, s.replyBytes = nil, 0
	s.mu.Unlock()
	for _, b := range replies {
		if !s.writeOne(b) {
			return false
		}
	}
	return true
}

func (s *session) writeOne(b *wire.Buffer) bool {
	err := s.t.Write(b.B)
	b.Free()
	if err != nil {
		s.die(fmt.Errorf("%w: %w", errLost, err))
	}
	return err == nil
}

// reply queues an answer. A master that asks without end and reads nothing loses the
// session.
func (s *session) reply(b *wire.Buffer) {
	s.mu.Lock()
	s.replies = append(s.replies, b)
	s.replyBytes += len(b.B)
	tooMuch := s.replyBytes > maxReplies
	s.mu.Unlock()
	if tooMuch {
		s.die(fmt.Errorf("%w: it does not read its answers", errLost))
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) nextSeq() int64 { return s.seq.Add(1) - 1 }

// sendSeq hands a request of a command to the writer. It fails when the session is gone.
func (s *session) sendSeq(seq int64, op, id string, fields map[string]any) error {
	if fields == nil {
		fields = map[string]any{}
	}
	fields[wire.KeyCommandID] = id
	b := wire.GetBuffer()
	var err error
	if b.B, err = wire.AppendRequest(b.B, seq, op, fields); err != nil {
		b.Free()
		return fmt.Errorf("send %s: %w", op, err)
	}
	select {
	case s.updates <- b:
		return nil
	case <-s.dead:
		return errLost
	}
}

// A remoteError is what the master reported.
type remoteError struct{ text string }

func (e *remoteError) Error() string { return "the master answered: " + e.text }

// call sends a request and waits for its answer, or the end of ctx or of the session.
func (s *session) call(ctx context.Context, op, id string, fields map[string]any) (any, error) {
	answers := make(chan answer, 1)
	seq := s.nextSeq()
	s.mu.Lock()
	s.calls[seq] = answers
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.calls, seq)
		s.mu.Unlock()
	}()
	if err := s.sendSeq(seq, op, id, fields); err != nil {
		return nil, err
	}
	select {
	case a := <-answers:
		if a.exception {
			text, _ := a.result.(string)
			return nil, &remoteError{text}
		}
		return a.result, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.dead:
		return nil, errLost
	}
}

// answered hands an answer to the command that waits for it. Nobody waits for those
// to updates.
func (s *session) answered(m *wire.Message) {
	s.mu.Lock()
	waiter := s.calls[m.Seq]
	delete(s.calls, m.Seq)
	s.mu.Unlock()
	if waiter == nil {
		if m.Exception {
			text, _ := m.Text(wire.KeyResult)
			s.log.Warn("the master refused a message", "seq_number", m.Seq, "err", text)
		}
		return
	}
	result, err := m.Value(wire.KeyResult)
	if err != nil {
		waiter <- answer{result: err.Error(), exception: true}
		return
	}
	waiter <- answer{result: result, exception: m.Exception}
}
