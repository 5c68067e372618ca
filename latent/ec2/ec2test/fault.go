package ec2test

import (
	"context"
	"slices"
	"time"
)

// A Fault is what goes wrong with calls.
type Fault struct {
	Action string // which calls; "": all
	Times  int    // how many of them; 0: all from now on
	// Before is how long a call waits before anything else, Hold how long its answer does. A
	// caller that is not there any more after Before gets nothing done.
	Before, Hold time.Duration
	// Status and Code are the answer, and nothing is done: 503 and RequestLimitExceeded, 500
	// and InsufficientInstanceCapacity. A Status without a Code is an answer without a body, a
	// Code without a Status is a 400. Without both the call is done.
	Status        int
	Code, Message string
	// Lose loses the answer of a call that was done: the connection ends without it.
	Lose bool
}

// Inject makes a fault happen. Of several for one call the first counts.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// called notes a call and returns what goes wrong with it.
func (s *Server) called(action string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, action)
	i := slices.IndexFunc(s.faults, func(f *Fault) bool { return f.Action == "" || f.Action == action })
	if i < 0 {
		return Fault{}
	}
	f := *s.faults[i]
	s.met++
	if f.Times > 0 {
		if s.faults[i].Times--; s.faults[i].Times == 0 {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
	}
	return f
}

// Met returns how many calls met a fault.
func (s *Server) Met() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.met
}

// wait waits; it reports whether the caller is still there.
func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// reason is why an instance ended.
type reason struct{ code, message string }

// Doom makes the next instance end instead of running, once its boot is over, for a reason such as
// Server.InternalError or Client.VolumeLimitExceeded.
func (s *Server) Doom(code, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doomed = append(s.doomed, reason{code, message})
}

// Kill ends an instance, as an operator or an interruption of spot instances does:
// Server.SpotInstanceTermination, Client.UserInitiatedShutdown.
func (s *Server) Kill(id, code, message string) {
	s.mu.Lock()
	if i := s.instances[id]; i != nil {
		i.end(reason{code, message})
	}
	s.advance()
	s.mu.Unlock()
	s.tell()
}

// Impair makes the status checks of an instance fail.
func (s *Server) Impair(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.instances[id]; i != nil {
		i.impaired = true
	}
}
