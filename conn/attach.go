package conn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"buildstar/conn/wire"
)

const (
	attachPatience    = 10 * time.Second // for each answer while attaching
	duplicatePatience = 10 * time.Second // for the older of two connections
	duplicateMessage  = "master got a duplicate connection"
)

// attach makes a new connection a worker that the host can use.
func (s *session) attach() {
	s.srv.wg.Add(1)
	go s.read()
	if err := s.introduce(); err != nil {
		select {
		case <-s.done: // it has ended by itself
			err = s.Err()
		default:
		}
		if !errors.Is(err, errDuplicate) { // which has its own line
			s.srv.log.Warn("worker did not attach", "worker", s.name, "address", s.remote.String(), "why", err)
		}
		s.end(s.lost(err), err.Error())
		s.srv.mu.Lock()
		named := s.named
		s.srv.mu.Unlock()
		if named && !errors.Is(err, ErrDropped) {
			s.srv.host.AttachFailed(s.name, err)
		}
		return
	}
	s.srv.mu.Lock()
	live := s.srv.names[s.name] == s
	s.attached = live
	s.srv.mu.Unlock()
	if !live { // it ended a moment ago
		return
	}
	s.startPulse()
	s.srv.log.Info("worker attached", "worker", s.name, "address", s.remote.String(), "version", s.info.Version, "ours", s.info.Ours)
	s.mu.Lock()
	s.hosted, s.telling = true, true
	s.mu.Unlock()
	s.srv.host.Attached(s)
	if t, ok := s.t.(*socket); ok {
		t.settled()
	}
	s.tell()
}

// introduce takes the name, learns what the worker is, sets it up, and kills what an
// earlier connection left running.
func (s *session) introduce() error {
	if err := s.takeName(); err != nil {
		return err
	}
	// A worker whose environment is not UTF-8 never answers (docs/protocol.md 0.2 item 9).
	v, err := s.soon(wire.OpGetWorkerInfo, nil)
	if err != nil {
		return fmt.Errorf("ask for its information (is its environment or a file in info/ not UTF-8?): %w", err)
	}
	if s.info, s.held, err = s.srv.readInfo(v); err != nil {
		return err
	}
	if _, err := s.soon(wire.OpSetWorkerSettings, map[string]any{wire.KeyArgs: s.settings(false)}); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	orphans := s.srv.takeOrphans(s.name)
	if s.info.Life != "" {
		orphans = nil // they are held, and the host knows which are still wanted
	}
	for i, id := range orphans {
		if _, err := s.soon(wire.OpInterruptCommand, map[string]any{wire.KeyCommandID: id, wire.KeyWhy: "its connection was lost"}); err != nil {
			s.srv.forget(s, orphans[i:])
			return fmt.Errorf("end command %s of an earlier connection: %w", id, err)
		}
	}
	return nil
}

func (s *session) soon(op string, fields map[string]any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), attachPatience)
	defer cancel()
	return s.request(ctx, op, fields)
}

// settings are what a worker is told (docs/protocol.md A.3, A.10, D 3). quiet is that
// it gets no pings.
func (s *session) settings(quiet bool) map[string]any {
	args := map[string]any{
		wire.SetBufferSize: 65536, wire.SetBufferTimeout: 0.1, wire.SetMaxLineLength: wire.MaxLine, wire.SetNewlineRE: wire.StockNewlines,
	}
	if s.info.Ours {
		silence := maxSilence * s.srv.opt.PingInterval
		if quiet {
			silence = 0
		}
		args[wire.SetBufferTimeout], args[wire.SetNewlineRE] = 0.03, wire.NoNewlines // the master shows what CR does
		args[wire.InfoOurs] = map[string]any{wire.OursSilence: silence.Seconds(), wire.OursLeave: 1}
	}
	return args
}

var errDuplicate = errors.New("another worker of this name is connected")

// takeName makes s the one connection of its name. If there is one already, the older
// is asked whether it lives, and keeps the name if it does (docs/protocol.md A.9).
func (s *session) takeName() error {
	srv := s.srv
	srv.mu.Lock()
	old := srv.names[s.name]
	if old == nil {
		srv.claim(s)
		srv.mu.Unlock()
		return nil
	}
	if srv.contested[s.name] {
		srv.mu.Unlock()
		return fmt.Errorf("%w, and being asked whether it lives", errDuplicate)
	}
	srv.contested[s.name] = true
	srv.mu.Unlock()
	lives := old.livesOn(s)
	srv.mu.Lock()
	delete(srv.contested, s.name)
	if !lives && srv.names[s.name] == old {
		srv.claim(s) // before the old one is gone, so that nobody comes between
	}
	won := srv.names[s.name] == s
	srv.mu.Unlock()
	switch {
	case lives:
		err := fmt.Errorf("%w from %s", errDuplicate, old.remote)
		srv.refusals.note(host(s.remote.String()), s.name, err.Error())
		return err
	case !won: // the old one left by itself, or s did
		return s.takeName()
	}
	old.end(old.lost(fmt.Errorf("it did not answer within %v, and a new connection came from %s", duplicatePatience, s.remote)), "replaced")
	<-old.done // its commands are among those to end
	return nil
}

// claim gives s its name unless it has ended; the caller holds srv.mu.
func (srv *Server) claim(s *session) {
	if _, open := srv.open[s]; open {
		srv.names[s.name] = s
		s.named = true
	}
}

// livesOn asks the older connection for a sign of life. One that the master itself
// holds back cannot answer, and lives.
func (s *session) livesOn(newcomer *session) bool {
	ctx, cancel := context.WithTimeout(context.Background(), duplicatePatience)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	s.srv.wg.Go(func() {
		select {
		case <-newcomer.done: // nobody waits for the name any more
			cancel()
		case <-stop:
		}
	})
	err := s.print(ctx, duplicateMessage)
	select {
	case <-newcomer.done:
		return true
	default:
	}
	return err == nil || s.isHeld()
}
