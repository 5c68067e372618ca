package conn

import (
	"context"
	"fmt"
	"time"
)

// hold marks that the master holds the reader back.
func (s *session) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulse.pause()
	s.pulse.held++
}

func (s *session) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulse.held--
	s.pulse.resume()
}

func (s *session) isHeld() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pulse.held > 0
}

// pulse is what a session knows of its worker's being alive; guarded by session.mu.
type pulse struct {
	timer  *time.Timer
	misses int
	paused int   // reasons why silence means nothing now
	pauses int64 // how often that began or ended
	held   int   // of paused: the reader is held back
}

func (p *pulse) pause()  { p.paused++; p.pauses++ }
func (p *pulse) resume() { p.paused--; p.pauses++ }

func (p *pulse) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}

const maxMisses = 2

// startPulse begins to ask the worker for signs of life (docs/protocol.md 0.2 item 13).
func (s *session) startPulse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.pulse.timer = time.AfterFunc(s.srv.opt.PingInterval, func() { s.spawn(s.feelPulse) })
	}
}

// feelPulse pings once. Silence does not count while the master does not listen
// (back-pressure), nor while the worker runs a command that keeps it from listening.
func (s *session) feelPulse() {
	s.mu.Lock()
	paused, pauses := s.pulse.paused > 0, s.pulse.pauses
	s.mu.Unlock()
	var err error
	if !paused {
		ctx, cancel := context.WithTimeout(context.Background(), s.srv.opt.PingInterval)
		err = s.t.Ping(ctx)
		cancel()
	}
	s.mu.Lock()
	again := s.srv.opt.PingInterval
	switch {
	case err == nil:
		s.pulse.misses = 0
	case s.pulse.paused == 0 && s.pulse.pauses == pauses:
		s.pulse.misses++
		again = 0
	}
	dead := s.pulse.misses >= maxMisses
	if !dead && s.err == nil {
		s.pulse.timer.Reset(again)
	}
	s.mu.Unlock()
	if dead {
		s.end(s.lost(fmt.Errorf("no sign of life for %d times %v", maxMisses, s.srv.opt.PingInterval)), "no sign of life")
	}
}
