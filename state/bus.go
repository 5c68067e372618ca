package state

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// ErrSlow ends a subscription that did not keep up: read state again.
var ErrSlow = errors.New("subscriber too slow: read state again")

// ErrClosed ends a subscription whose store was closed, and is what a closed store
// answers.
var ErrClosed = errors.New("the store is closed")

// ringSize is how many events can be resumed from, and how many may wait for one
// subscriber.
const ringSize = 10_000

// Bus is the stream of events of one store: a ring of the newest 10,000 and the
// subscriptions to it. An implementation of [Store] is made with one; its methods
// are those of Store. Safe for concurrent use.
type Bus struct {
	epoch int64
	pumps sync.WaitGroup

	mu       sync.Mutex
	seq      uint64
	ring     [ringSize]*Event // event n is at n % ringSize
	versions map[string]uint64
	subs     map[prefix]map[*subscriber]struct{}
	closed   bool
}

// prefix is the first two words of a pattern: a page subscribes to "builds/12/*",
// so most events concern few of the subscribers and the others cost nothing.
type prefix struct{ first, second string }

func prefixOf(key string) prefix {
	first, rest, _ := strings.Cut(key, "/")
	second, _, _ := strings.Cut(rest, "/")
	return prefix{first, second}
}

// NewBus returns a bus without events. The epoch must differ from that of every
// other bus whose positions a client may still hold.
func NewBus(epoch int64) *Bus {
	return &Bus{
		epoch:    epoch,
		versions: make(map[string]uint64),
		subs:     make(map[prefix]map[*subscriber]struct{}),
	}
}

// Publish numbers events and hands them to the subscribers. It never waits for one:
// who has 10,000 events waiting is cut off with ErrSlow.
func (b *Bus) Publish(events ...Event) {
	kept := slices.Clone(events)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	for i := range kept {
		e := &kept[i]
		b.seq++
		e.Seq = b.seq
		b.ring[e.Seq%ringSize] = e
		resource, _, _ := strings.Cut(e.Key, "/")
		b.versions[resource] = e.Seq
		b.offer(e, e.Key)
		for _, key := range e.Aliases {
			b.offer(e, key)
		}
	}
}

// offer gives an event to those who subscribed to one of its keys. An event with
// several keys that match arrives once.
func (b *Bus) offer(e *Event, key string) {
	at := prefixOf(key)
	for _, p := range [...]prefix{at, {at.first, "*"}, {"*", at.second}, {"*", "*"}} {
		for s := range b.subs[p] {
			if s.last == e.Seq || !s.wants(key) {
				continue
			}
			s.last = e.Seq
			if !s.push(e) {
				b.remove(s)
				s.end(ErrSlow)
			}
		}
	}
}

// remove takes a subscriber out of the index.
func (b *Bus) remove(s *subscriber) {
	for _, p := range s.prefixes {
		delete(b.subs[p], s)
		if len(b.subs[p]) == 0 {
			delete(b.subs, p)
		}
	}
}

// Subscribe returns the events that match any of the patterns, from now on. It
// ends with ctx.
func (b *Bus) Subscribe(ctx context.Context, patterns ...Pattern) *Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subscribe(ctx, patterns, b.seq)
}

// Resume is Subscribe from just after a position; ok is false if the ring no longer
// holds every event since.
func (b *Bus) Resume(ctx context.Context, after Position, patterns ...Pattern) (s *Subscription, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if after.Epoch != b.epoch || after.Seq > b.seq || b.seq-after.Seq > ringSize {
		return nil, false
	}
	return b.subscribe(ctx, patterns, after.Seq), true
}

func (b *Bus) subscribe(ctx context.Context, patterns []Pattern, after uint64) *Subscription {
	c := make(chan Event)
	s := &subscriber{
		patterns: slices.Clone(patterns),
		last:     b.seq,
		signal:   make(chan struct{}, 1),
		gone:     make(chan struct{}),
	}
	for n := after + 1; n <= b.seq; n++ {
		e := b.ring[n%ringSize]
		if s.wants(e.Key) || slices.ContainsFunc(e.Aliases, s.wants) {
			s.push(e)
		}
	}
	if b.closed {
		s.end(ErrClosed)
	} else {
		b.add(s)
	}
	b.pumps.Go(func() {
		defer close(c)
		s.pump(ctx, c)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.remove(s)
	})
	return &Subscription{C: c, Err: s.error, Start: Position{b.epoch, b.seq}}
}

func (b *Bus) add(s *subscriber) {
	for _, p := range s.patterns {
		at := prefixOf(string(p))
		if slices.Contains(s.prefixes, at) {
			continue
		}
		s.prefixes = append(s.prefixes, at)
		if b.subs[at] == nil {
			b.subs[at] = make(map[*subscriber]struct{})
		}
		b.subs[at][s] = struct{}{}
	}
}

// Position is that of the newest event published.
func (b *Bus) Position() Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Position{b.epoch, b.seq}
}

// Version is the number of the newest event whose key starts with the resource.
func (b *Bus) Version(resource string) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.versions[resource]
}

// Close ends every subscription with ErrClosed and returns when their channels are
// closed. What is published later goes nowhere.
func (b *Bus) Close() {
	b.mu.Lock()
	b.closed = true
	for _, at := range b.subs {
		for s := range at {
			s.end(ErrClosed)
		}
	}
	b.mu.Unlock()
	b.pumps.Wait()
}
