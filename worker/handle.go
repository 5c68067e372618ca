package worker

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"buildstar/conn/wire"
)

// handle answers one request of the master. It runs on the reader, so it does nothing
// that takes long.
func (s *session) handle(m *wire.Message) {
	result, start, err := s.dispatch(m)
	if errors.Is(err, errLater) {
		return
	}
	s.answer(m.Seq, result, err)
	if start != nil {
		start() // after its answer, which the writer then sends first
	}
}

// errLater is returned for a request that is answered when what it asks for is done.
var errLater = errors.New("answered later")

func (s *session) answer(seq int64, result any, err error) {
	b := wire.GetBuffer()
	if err != nil {
		b.B = wire.AppendException(b.B, seq, err.Error())
	} else {
		b.B = wire.AppendResponse(b.B, seq, result)
	}
	s.reply(b)
}

// dispatch returns the answer to a request, or why it is refused. start, if any, is to
// be called once the answer is queued.
func (s *session) dispatch(m *wire.Message) (result any, start func(), err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("request panicked", "op", m.Op, "panic", p, "stack", string(debug.Stack()))
			result, start, err = nil, nil, fmt.Errorf("the worker has a bug in %s: %v", m.Op, p)
		}
	}()
	switch m.Op {
	case wire.OpPrint:
		text, err := m.Text(wire.KeyMessage)
		if err != nil {
			return nil, nil, err
		}
		s.log.Debug("message from the master", "text", text)
		return nil, nil, nil
	case wire.OpKeepalive:
		return nil, nil, nil
	case wire.OpGetWorkerInfo:
		s.mu.Lock()
		s.attached = true
		s.mu.Unlock()
		return s.info(), nil, nil
	case wire.OpSetWorkerSettings:
		a, err := m.Map(wire.KeyArgs)
		if err != nil {
			return nil, nil, err
		}
		set, err := parseSettings(a)
		if err != nil {
			return nil, nil, err
		}
		s.set = set
		if t, ok := s.t.(interface{ expect(time.Duration) }); ok {
			t.expect(set.silence)
		}
		select {
		case s.told <- set.leave:
		default: // it was told before
		}
		return nil, nil, nil
	case wire.OpStartCommand:
		start, err := s.startCommand(m)
		return nil, start, err
	case wire.OpInterruptCommand:
		return nil, nil, s.interrupt(m)
	case wire.OpResumeCommand:
		return nil, nil, s.resume(m)
	case wire.OpAcknowledge:
		return nil, nil, s.acknowledge(m)
	case wire.OpShutdown:
		s.log.Info("the master asked the worker to shut down")
		return nil, func() { s.stop(errShutdown) }, nil
	}
	return nil, nil, unknownOp(m.Op)
}

// unknownOp is a request we do not know, in the stock worker's words.
type unknownOp string

func (op unknownOp) Error() string { return "Command " + string(op) + " does not exist." }

func (s *session) startCommand(m *wire.Message) (start func(), err error) {
	id, err := commandID(m)
	if err != nil {
		return nil, err
	}
	name, err := m.Text(wire.KeyCommandName)
	if err != nil {
		return nil, err
	}
	a, err := m.Map(wire.KeyArgs)
	if err != nil {
		return nil, err
	}
	spec, ok := commands[name]
	if !ok {
		return nil, fmt.Errorf("(command %s): unrecognized WorkerCommand '%s'", id, name)
	}
	var missing []string
	for _, key := range spec.mandatory {
		if _, ok := a[key]; !ok {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("(command %s): %s is missing args: %s", id, name, strings.Join(missing, ", "))
	}
	r := &reader{args: a}
	run := spec.parse(s, r)
	if r.err != nil {
		return nil, fmt.Errorf("(command %s): %s: %w", id, name, r.err)
	}
	token, err := s.token(m)
	if err != nil {
		return nil, err
	}
	c, err := s.running.add(s, id, name, token, run)
	if err != nil {
		return nil, err
	}
	return func() { s.running.start(c) }, nil
}

// token returns what a master sends with a command that it may resume in another
// session; nil if it did not, or if commands do not outlive this one.
func (s *session) token(m *wire.Message) ([]byte, error) {
	if s.cfg.OrphanTimeout <= 0 || !m.Has(wire.KeyResume) {
		return nil, nil
	}
	b, err := m.Bytes(wire.KeyResume)
	return append([]byte{}, b...), err // not nil, even if it is empty
}

// interrupt ends a command, also one of an earlier session. An unknown id is no error:
// it may just have ended.
func (s *session) interrupt(m *wire.Message) error {
	id, err := commandID(m)
	if err != nil {
		return err
	}
	why, err := m.Text(wire.KeyWhy)
	if err != nil {
		return err
	}
	seq := m.Seq
	s.running.interrupt(s, id, why, func() { s.answer(seq, nil, nil) })
	return errLater
}

// resume sends what a command of an earlier session says from an update on.
func (s *session) resume(m *wire.Message) error {
	id, err := commandID(m)
	if err != nil {
		return err
	}
	from, err := m.Int(wire.KeyFrom)
	if err != nil {
		return err
	}
	return s.running.resume(s, id, from)
}

// acknowledge forgets updates that the master does not need any more.
func (s *session) acknowledge(m *wire.Message) error {
	through, err := m.Map(wire.KeyArgs)
	if err != nil {
		return err
	}
	for id, v := range through {
		n, ok := v.(int64)
		if !ok {
			return fmt.Errorf("acknowledge %s: want a number", id)
		}
		s.running.acknowledge(id, n)
	}
	return nil
}

func commandID(m *wire.Message) (string, error) {
	if m.CommandID == "" {
		return "", &wire.MissingKey{Key: wire.KeyCommandID}
	}
	return m.CommandID, nil
}
