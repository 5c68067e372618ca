package conn

import (
	"context"
	"fmt"
	"math"
	"time"

	"buildstar/conn/wire"
)

const (
	maxMisses = 2
	// maxSilence is how many ping intervals may pass at the worker without a ping: each
	// comes one interval after the answer to the one before, or after two without one.
	maxSilence = 4
	// stallLimit is how long a stock worker may be silent in a command that has no
	// timeout argument.
	stallLimit = 20 * time.Minute
)

// Silence is why a session ended whose worker was not heard of for so long.
type Silence time.Duration

func (s Silence) Error() string { return fmt.Sprintf("no sign of life for %v", time.Duration(s)) }

// pulse is what a session knows of its worker's being alive; guarded by session.mu.
type pulse struct {
	off    bool        // the worker is not asked
	timer  *time.Timer // of the next ping; nil before the first
	misses int
	held   int           // reasons why the master holds the reader back, so that silence means nothing
	holds  int64         // how often that began or ended
	every  time.Duration // between keepalives; 0: none
	beat   *time.Timer   // of the next keepalive; nil: none
}

// hold marks that the master holds the reader back.
func (s *session) hold() { s.holding(1) }

func (s *session) release() { s.holding(-1) }

func (s *session) holding(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulse.held += n
	s.pulse.holds++
}

func (s *session) isHeld() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pulse.held > 0
}

func (p *pulse) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.beat != nil {
		p.beat.Stop()
	}
}

// startPulse begins to ask the worker for signs of life (docs/protocol.md 0.2 item 13).
func (s *session) startPulse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedulePing()
}

// schedulePing is startPulse; the caller holds mu.
func (s *session) schedulePing() {
	p := &s.pulse
	if s.err != nil || p.off || p.timer != nil {
		return
	}
	p.timer = time.AfterFunc(s.srv.opt.PingInterval, func() { s.spawn(s.feelPulse) })
}

func (s *session) SetKeepalive(every time.Duration) {
	if s.setPulse(every) && s.info.Ours {
		// If it cannot be sent the session has ended.
		_, _ = s.post(wire.OpSetWorkerSettings, map[string]any{wire.KeyArgs: s.settings(every <= 0)}, nil)
	}
}

// setPulse reports whether pings were turned on or off.
func (s *session) setPulse(every time.Duration) (turned bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &s.pulse
	turned = p.off != (every <= 0)
	if s.err != nil || p.every == every && !turned {
		return false
	}
	p.stop()
	*p = pulse{off: every <= 0, every: every, held: p.held, holds: p.holds}
	if !p.off {
		p.beat = time.AfterFunc(every, s.keepAlive)
		s.schedulePing()
	}
	return turned
}

// keepAlive sends the op that only keeps bytes flowing (docs/requirements.md A3.2). The
// pings find out whether anybody is there.
func (s *session) keepAlive() {
	s.mu.Lock()
	if p := &s.pulse; p.beat != nil && s.err == nil {
		p.beat.Reset(p.every)
	}
	s.mu.Unlock()
	// If it cannot be sent the session has ended.
	_, _ = s.post(wire.OpKeepalive, nil, nil)
}

// feelPulse pings once. Silence does not count while the master does not listen
// (back-pressure); the ping is then for the worker to hear.
func (s *session) feelPulse() {
	s.mu.Lock()
	timer, held, holds := s.pulse.timer, s.pulse.held > 0, s.pulse.holds
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.srv.opt.PingInterval)
	err := s.t.Ping(ctx)
	cancel()
	s.mu.Lock()
	if s.err != nil || s.pulse.timer != timer { // it was turned off meanwhile
		s.mu.Unlock()
		return
	}
	again := s.srv.opt.PingInterval
	switch {
	case err == nil:
		s.pulse.misses = 0
	case !held && s.pulse.holds == holds:
		s.pulse.misses++
		again = 0
	}
	silent := time.Duration(s.pulse.misses) * s.srv.opt.PingInterval
	dead := silent >= s.patience()
	if !dead {
		timer.Reset(again)
	}
	s.mu.Unlock()
	if dead {
		s.end(s.lost(Silence(silent)), "no sign of life")
	}
}

// patience is how long the worker may be silent: two pings, or what its commands may
// take if they keep it from answering. The caller holds mu.
func (s *session) patience() time.Duration {
	longest := maxMisses * s.srv.opt.PingInterval
	for _, c := range s.commands {
		if c.stalls() {
			longest = max(longest, c.limit())
		}
	}
	return longest
}

// stalls says whether a worker that runs the command may not answer pings meanwhile: the
// stock one handles directories in its event loop.
func (c *command) stalls() bool {
	return !c.s.info.Ours &&
		(c.Name == wire.CmdUploadDirectory || c.Name == wire.CmdRmdir || c.Name == wire.CmdCpdir)
}

// limit is the command's own timeout; None is none.
func (c *command) limit() time.Duration {
	v, given := c.Args["timeout"]
	seconds, ok := number(v)
	switch {
	case !given:
		return stallLimit
	case !ok || seconds >= math.MaxInt64/float64(time.Second):
		return math.MaxInt64
	}
	return time.Duration(seconds * float64(time.Second))
}
