package dist

import "sync"

// mailbox takes messages from any goroutine without making it wait, and gives them
// to one in order.
type mailbox struct {
	mu     *sync.Mutex
	queue  *[]func()
	signal chan struct{}
}

func newMailbox() mailbox {
	return mailbox{mu: new(sync.Mutex), queue: new([]func()), signal: make(chan struct{}, 1)}
}

func (m mailbox) post(fn func()) {
	m.mu.Lock()
	*m.queue = append(*m.queue, fn)
	m.mu.Unlock()
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// drain runs what was posted, also what comes meanwhile.
func (m mailbox) drain() {
	for {
		m.mu.Lock()
		batch := *m.queue
		*m.queue = nil
		m.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, fn := range batch {
			fn()
		}
	}
}
