package conn

import (
	"log/slog"
	"sync"
	"time"
)

const (
	maxRefused   = 4096            // pairs remembered
	maxDelayed   = 256             // refusals held back at one time
	freeRefusals = 3               // refusals of a pair that are not delayed
	maxDelay     = 3 * time.Second // a stock worker gives a handshake 5 s
	foldEvery    = time.Minute     // how often repeated lines are summed up
	forgetAfter  = 10 * time.Minute
)

// limiter slows down and folds the refusals of a (address, name) pair. It never sees a
// right password. Its memory is bounded: what does not fit shares one entry.
type limiter struct {
	log *slog.Logger

	mu      sync.Mutex
	pairs   map[pair]*refusal
	delayed int
	sweeper *time.Timer // runs only while there are pairs
	stopped bool
}

type pair struct{ address, name string }

type refusal struct {
	why    string // of the last one
	last   time.Time
	count  int // since it was forgotten
	folded int // since the last log line
}

func newLimiter(log *slog.Logger) *limiter {
	return &limiter{log: log, pairs: map[pair]*refusal{}}
}

// note records a refusal, logs it if it is news, and says how long to hold back the
// answer.
func (l *limiter) note(address, name, why string) (delay time.Duration) {
	const longest = 64 // of what an outsider may put into the log
	key := pair{address, cut(name, longest)}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.pairs[key]
	if r == nil && len(l.pairs) >= maxRefused {
		key = pair{"many addresses", "(many names)"}
		r = l.pairs[key]
	}
	if r == nil {
		r = &refusal{}
		l.pairs[key] = r
	}
	if l.sweeper == nil && !l.stopped {
		l.sweeper = time.AfterFunc(foldEvery, l.sweep)
	}
	r.count++
	r.last = time.Now()
	if why = cut(why, 300); r.why != why {
		r.why = why
		l.log.Warn("worker refused", "worker", key.name, "address", key.address, "why", why)
	} else {
		r.folded++
	}
	if r.count <= freeRefusals {
		return 0
	}
	return min(maxDelay, 250*time.Millisecond<<min(r.count-freeRefusals-1, 10))
}

// enter takes a place among the answers that are held back, if there is one; leave must
// be called then.
func (l *limiter) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delayed >= maxDelayed {
		return false
	}
	l.delayed++
	return true
}

func (l *limiter) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delayed--
}

// sweep logs what was folded and forgets who stopped trying.
func (l *limiter) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.sum()
	for key, r := range l.pairs {
		if time.Since(r.last) >= forgetAfter {
			delete(l.pairs, key)
		}
	}
	if len(l.pairs) == 0 {
		l.sweeper = nil
		return
	}
	l.sweeper.Reset(foldEvery)
}

func (l *limiter) sum() {
	for key, r := range l.pairs {
		if r.folded > 0 {
			l.log.Warn("more refusals of a worker", "refusals", r.folded, "worker", key.name, "address", key.address, "why", r.why)
			r.folded = 0
		}
	}
}

// stop logs what was folded, for the last time.
func (l *limiter) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	l.sum()
	if l.sweeper != nil {
		l.sweeper.Stop()
	}
}

func cut(s string, longest int) string {
	if len(s) > longest {
		return s[:longest] + "..."
	}
	return s
}
