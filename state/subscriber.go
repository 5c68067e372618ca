package state

import (
	"context"
	"slices"
	"sync"
)

// Subscription is a stream of events. See [Event] for what it promises.
type Subscription struct {
	// C yields events; it closes when the subscription ends.
	C <-chan Event
	// Err says why C closed: nil if its context ended, ErrSlow, or ErrClosed. Call it
	// after C closed.
	Err func() error
	// Start is the position of the newest event at the time of subscribing: state
	// read after Subscribe returned is at least that new.
	Start Position
}

// subscriber is the bus's end of a subscription. Its pump goroutine moves events
// from the queue to the channel, so that the bus never waits.
type subscriber struct {
	patterns []Pattern
	prefixes []prefix      // where the bus's index has it
	last     uint64        // newest event given to it; guarded by the bus
	signal   chan struct{} // the queue is not empty
	gone     chan struct{} // closed when the bus ended it

	mu      sync.Mutex
	queue   []*Event
	waiting int // events in the queue or taken from it and not yet received
	err     error
	ended   bool
}

func (s *subscriber) wants(key string) bool {
	return slices.ContainsFunc(s.patterns, func(p Pattern) bool { return p.Match(key) })
}

// push queues an event; it reports false if too many wait.
func (s *subscriber) push(e *Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= ringSize {
		return false
	}
	s.queue = append(s.queue, e)
	s.waiting++
	select {
	case s.signal <- struct{}{}:
	default:
	}
	return true
}

// end makes the pump close the channel, for a reason of the bus.
func (s *subscriber) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
		close(s.gone)
	}
}

func (s *subscriber) error() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// pump runs until the subscription ends.
func (s *subscriber) pump(ctx context.Context, c chan<- Event) {
	var batch []*Event
	for {
		select {
		case <-s.signal:
		case <-s.gone:
			return
		case <-ctx.Done():
			return
		}
		batch = s.take(batch)
		for i, e := range batch {
			select {
			case c <- *e:
				s.received()
			case <-s.gone:
				return
			case <-ctx.Done():
				return
			}
			batch[i] = nil
		}
	}
}

// take returns what is queued and leaves the memory of the last batch as the next
// queue.
func (s *subscriber) take(last []*Event) []*Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.queue
	s.queue = last[:0]
	if cap(last) > 1024 {
		s.queue = nil
	}
	return batch
}

func (s *subscriber) received() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}
