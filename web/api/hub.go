package api

import (
	"context"
	"strings"
	"sync"

	"buildstar/state"
)

const (
	maxRing    = 4096 // events kept for clients that come back
	maxSockets = 2000
)

// hub passes the store's events on to the sockets. One goroutine reads them, so
// each is encoded once, and only if a socket wants it. Registering a pattern and
// queuing its acknowledgement happen under one lock with delivery: an event that
// is committed after the acknowledgement was sent is never missed.
type hub struct {
	api    *API
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // the reader and the sockets

	mu       sync.Mutex
	closed   bool
	sockets  map[*socket]struct{}
	patterns trie
	at       state.Position // of the newest event delivered
	oldest   uint64         // events after this one are in the ring
	ring     []*event
}

// event is one of the store's, with every key it goes by.
type event struct {
	seq  uint64
	keys []string // the resource's own first
	row  any
	json []byte // of the row, once somebody wanted it
}

// everyKey matches every event: keys have 2 to 10 words.
var everyKey = func() (ps []state.Pattern) {
	for n := 2; n <= maxWords; n++ {
		ps = append(ps, state.Pattern(strings.Repeat("*/", n-1)+"*"))
	}
	return ps
}()

// startHub begins to follow the store; when it returns no later event is missed.
func startHub(a *API) *hub {
	ctx, cancel := context.WithCancel(context.Background())
	h := &hub{api: a, ctx: ctx, cancel: cancel, sockets: map[*socket]struct{}{}}
	sub := a.store.Subscribe(ctx, everyKey...)
	h.at, h.oldest = sub.Start, sub.Start.Seq
	h.wg.Go(func() { h.follow(sub) })
	return h
}

// close ends every socket and waits for them.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	for s := range h.sockets {
		s.out.end(closeGoingAway, "the master stops")
	}
	h.mu.Unlock()
	h.cancel()
	h.wg.Wait()
}

// follow delivers events until the hub is closed. If it was too slow and the store
// has no longer what it missed, every client must read state again.
func (h *hub) follow(sub *state.Subscription) {
	for {
		for ev := range sub.C {
			h.deliver(ev)
		}
		if h.ctx.Err() != nil {
			return
		}
		h.mu.Lock()
		next, ok := h.api.store.Resume(h.ctx, h.at, everyKey...)
		if !ok {
			next = h.api.store.Subscribe(h.ctx, everyKey...)
			h.at, h.oldest, h.ring = next.Start, next.Start.Seq, nil
			for s := range h.sockets {
				s.out.overflow()
			}
		}
		h.mu.Unlock()
		sub = next
	}
}

// deliver queues an event for the sockets that want it.
func (h *hub) deliver(ev state.Event) {
	e := &event{seq: ev.Seq, row: ev.Row, keys: append([]string{ev.Key}, ev.Aliases...)}
	e.keys = append(e.keys, h.api.derivedKeys(h.ctx, ev)...)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at.Seq = ev.Seq
	if len(h.ring) >= 2*maxRing {
		n := len(h.ring) - maxRing
		h.oldest = h.ring[n-1].seq
		h.ring = append(h.ring[:0:0], h.ring[n:]...)
	}
	h.ring = append(h.ring, e)
	for _, key := range e.keys {
		h.patterns.match(key, func(s *socket) {
			if s.newest < e.seq { // not yet by another pattern or key
				s.newest = e.seq
				h.queue(s, e, key)
			}
		})
	}
}

// queue queues an event for one socket.
func (h *hub) queue(s *socket, e *event, key string) {
	if e.json == nil {
		e.json = h.api.appendRow(h.ctx, nil, e.row)
	}
	if s.sent != nil {
		s.sent[e.seq] = struct{}{}
	}
	s.out.push(newFrame(e, key))
}

// consume registers a pattern and queues its acknowledgement. A client that came
// back gets what it missed of it. It is false if the socket has too many patterns.
func (h *hub) consume(s *socket, pattern string, ack []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := !s.patterns[pattern]
	if fresh {
		if len(s.patterns) >= maxPatterns {
			return false
		}
		s.patterns[pattern] = true
		h.patterns.add(pattern, s)
	}
	s.out.control(ack)
	if fresh && s.resuming() {
		h.replay(s, state.Pattern(pattern))
	}
	return true
}

// replay queues the events since the socket's position that match any of the
// patterns and were not sent yet, in their order.
func (h *hub) replay(s *socket, patterns ...state.Pattern) {
	for _, e := range h.ring {
		if _, done := s.sent[e.seq]; done || e.seq <= s.from {
			continue
		}
		if key, ok := e.matching(patterns); ok {
			h.queue(s, e, key)
		}
	}
}

func (e *event) matching(patterns []state.Pattern) (key string, ok bool) {
	for _, key := range e.keys {
		for _, p := range patterns {
			if p.Match(key) {
				return key, true
			}
		}
	}
	return "", false
}

// forget takes a pattern away; it reports whether it was there.
func (h *hub) forget(s *socket, pattern string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.patterns[pattern] {
		return false
	}
	delete(s.patterns, pattern)
	h.patterns.remove(pattern, s)
	return true
}

// join adds a socket, unless there are too many or the master stops.
func (h *hub) join(s *socket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.sockets) >= maxSockets {
		return false
	}
	h.sockets[s] = struct{}{}
	h.wg.Add(1)
	return true
}

// greet queues the first frames of a client that asked for them, and what it
// missed if it named its patterns at once.
func (h *hub) greet(s *socket, resume *state.Position, paths []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, gap := h.at, false
	if resume != nil {
		// A page may be newer than what was delivered so far, but not than the store.
		gap = resume.Epoch != h.at.Epoch || resume.Seq < h.oldest || resume.Seq > h.api.store.Position().Seq
		if !gap {
			at = *resume
			s.startResume(at.Seq)
			s.newest = at.Seq
		}
	}
	if s.ours {
		sent := max(at.Seq, h.at.Seq)
		if s.resuming() && len(paths) == 0 {
			sent = s.from // until it has named its patterns nothing is certain
		}
		s.out.greet(helloFrame(at, h.api.control.Health().Version), sent)
	}
	if gap {
		s.out.control(resyncFrame)
	}
	var patterns []state.Pattern
	for _, p := range paths {
		if !s.patterns[p] {
			s.patterns[p] = true
			h.patterns.add(p, s)
			patterns = append(patterns, state.Pattern(p))
		}
	}
	if s.resuming() {
		h.replay(s, patterns...)
	}
}

// leave removes a socket.
func (h *hub) leave(s *socket) {
	h.mu.Lock()
	delete(h.sockets, s)
	for p := range s.patterns {
		h.patterns.remove(p, s)
	}
	h.mu.Unlock()
	h.wg.Done()
}

// position returns where the stream is.
func (h *hub) position() state.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}
