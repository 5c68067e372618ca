package run

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"buildstar/config"
	"buildstar/state"
)

// A Ticket is one build's claim on the master: its locks and its place on a
// worker. The distributor draws tickets from 1.
type Ticket uint64

// Holder is who holds a lock or waits for it: a build, or a step of it.
type Holder struct {
	Ticket  Ticket
	Step    int64 // number of the step; -1: the build as a whole
	Name    string
	BuildID int64 // 0: not yet known
}

// Blocker is what keeps someone from a lock.
type Blocker struct {
	Lock  string
	By    Holder
	Since state.Time
	Ahead bool // By does not hold the lock but waits in front
	Never bool // the lock is smaller than what is asked for
}

// String returns it as the page shows it: lock "db" held by linux #12.
func (b Blocker) String() string {
	switch {
	case b.Never:
		return fmt.Sprintf("lock %q can never give that much", b.Lock)
	case b.Ahead:
		return fmt.Sprintf("lock %q: %s is ahead in the queue", b.Lock, b.By.Name)
	}
	return fmt.Sprintf("lock %q held by %s", b.Lock, b.By.Name)
}

// lockID is one real lock: a WorkerLock is one for every worker.
type lockID struct{ name, worker string }

type hold struct {
	by        Holder
	exclusive bool
	count     int
	since     state.Time
}

type lockAsk struct {
	by     Holder
	accs   config.LockAccesses
	worker string
}

// LockState is who holds which lock and who waits, in order of arrival
// (docs/requirements.md C5). It is a plain value: what dispatch decides from it can be
// repeated. The zero LockState is empty.
type LockState struct {
	held    map[lockID][]hold
	waiting []lockAsk
	limits  map[string]*config.Lock // of the newest configuration: maxCount applies to live locks
}

// Clone returns a copy that can be changed.
func (s *LockState) Clone() LockState {
	c := LockState{held: make(map[lockID][]hold, len(s.held)), waiting: slices.Clone(s.waiting), limits: s.limits}
	for id, h := range s.held {
		c.held[id] = slices.Clone(h)
	}
	return c
}

func realLock(a config.LockAccess, worker string) lockID {
	if a.Lock.PerWorker {
		return lockID{a.Lock.Name, worker}
	}
	return lockID{name: a.Lock.Name}
}

func (s *LockState) limit(l *config.Lock, worker string) int {
	if now, ok := s.limits[l.Name]; ok {
		l = now
	}
	if n, ok := l.MaxCountForWorker[worker]; ok && l.PerWorker {
		return n
	}
	return max(l.MaxCount, 1)
}

// Free reports whether a newcomer on worker may take all accesses at once, and if
// not, what is in the way.
func (s *LockState) Free(accs config.LockAccesses, worker string) (Blocker, bool) {
	return s.free(lockAsk{accs: accs, worker: worker}, s.waiting)
}

func (s *LockState) free(ask lockAsk, ahead []lockAsk) (Blocker, bool) {
	own := map[lockID]int{}
	for _, a := range ask.accs {
		if !a.Exclusive && a.Count == 0 {
			continue
		}
		id := realLock(a, ask.worker)
		if b, ok := s.freeOne(id, a, own[id], ask, ahead); !ok {
			b.Lock = a.Lock.Name
			return b, false
		}
		own[id] += a.Count
	}
	return Blocker{}, true
}

func (s *LockState) freeOne(id lockID, a config.LockAccess, own int, ask lockAsk, ahead []lockAsk) (Blocker, bool) {
	limit := s.limit(a.Lock, ask.worker)
	if !a.Exclusive && own+a.Count > limit {
		return Blocker{Never: true}, false
	}
	sum := own
	for _, h := range s.held[id] {
		sum += h.count
		if a.Exclusive || h.exclusive || sum+a.Count > limit {
			return Blocker{By: h.by, Since: h.since}, false
		}
	}
	for _, w := range ahead {
		for _, wa := range w.accs {
			if realLock(wa, w.worker) != id || !wa.Exclusive && wa.Count == 0 {
				continue
			}
			sum += wa.Count
			if a.Exclusive || wa.Exclusive || sum+a.Count > limit {
				return Blocker{By: w.by, Ahead: true}, false
			}
		}
	}
	return Blocker{}, true
}

// Take records that by holds the accesses. The caller has asked Free.
func (s *LockState) Take(by Holder, accs config.LockAccesses, worker string, at state.Time) {
	if s.held == nil {
		s.held = map[lockID][]hold{}
	}
	for _, a := range accs {
		id := realLock(a, worker)
		s.held[id] = append(s.held[id], hold{by: by, exclusive: a.Exclusive, count: a.Count, since: at})
	}
}

// drop removes the holds for which gone says yes, and reports whether there were
// any.
func (s *LockState) drop(gone func(Holder) bool) bool {
	any := false
	for id, hs := range s.held {
		kept := slices.DeleteFunc(hs, func(h hold) bool { return gone(h.by) })
		if len(kept) == len(hs) {
			continue
		}
		any = true
		if len(kept) == 0 {
			delete(s.held, id)
		} else {
			s.held[id] = kept
		}
	}
	return any
}

// grant takes the locks of every waiter that can have all of its own now, in order
// of arrival, and returns those waiters. One that must go on waiting keeps its
// place: nobody behind it overtakes it on a lock it needs.
func (s *LockState) grant(at state.Time) []lockAsk {
	var granted []lockAsk
	still := make([]lockAsk, 0, len(s.waiting))
	for _, ask := range s.waiting {
		if _, ok := s.free(ask, still); !ok {
			still = append(still, ask)
			continue
		}
		s.Take(ask.by, ask.accs, ask.worker, at)
		granted = append(granted, ask)
	}
	s.waiting = still
	return granted
}

// stuck reports whether t can never get what it waits for: even if everyone who
// waits for nothing finished, and after them everyone whom that lets go on.
func (s *LockState) stuck(t Ticket) bool {
	c := s.Clone()
	for {
		waits := map[Ticket]bool{}
		for _, w := range c.waiting {
			waits[w.by.Ticket] = true
		}
		if !waits[t] {
			return false
		}
		c.drop(func(h Holder) bool { return !waits[h.Ticket] })
		if len(c.grant(0)) == 0 {
			return true
		}
	}
}

// Held is one hold of a lock, for pages and messages.
type Held struct {
	Lock, Worker string
	By           Holder
	Since        state.Time
}

// All returns every hold, sorted by lock.
func (s *LockState) All() []Held {
	var all []Held
	ids := slices.SortedFunc(maps.Keys(s.held), func(a, b lockID) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.worker, b.worker))
	})
	for _, id := range ids {
		for _, h := range s.held[id] {
			all = append(all, Held{Lock: id.name, Worker: id.worker, By: h.by, Since: h.since})
		}
	}
	return all
}
