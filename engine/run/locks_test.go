package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"buildstar/config"
)

func by(t Ticket) Holder { return Holder{Ticket: t, Step: -1, Name: fmt.Sprintf("build %d", t)} }

func counting(l *config.Lock, n int) config.LockAccesses {
	return config.LockAccesses{{Lock: l, Count: n}}
}

func exclusive(l *config.Lock) config.LockAccesses {
	return config.LockAccesses{{Lock: l, Exclusive: true, Count: 1}}
}

// Availability, the rules of docs/requirements.md C5.
func TestLockFree(t *testing.T) {
	one := &config.Lock{Name: "one", MaxCount: 1}
	three := &config.Lock{Name: "three", MaxCount: 3}
	worker := &config.Lock{Name: "worker", PerWorker: true, MaxCount: 1, MaxCountForWorker: map[string]int{"big": 2}}
	type take struct {
		accs   config.LockAccesses
		worker string
	}
	tests := []struct {
		name    string
		held    []take
		waiting []take
		ask     take
		want    string // "" is free
	}{
		{"nobody", nil, nil, take{counting(one, 1), "w"}, ""},
		{"full", []take{{counting(one, 1), "w"}}, nil, take{counting(one, 1), "x"}, `lock "one" held by build 1`},
		{"room left", []take{{counting(three, 1), "w"}}, nil, take{counting(three, 2), "x"}, ""},
		{"no room left", []take{{counting(three, 2), "w"}}, nil, take{counting(three, 2), "x"}, `lock "three" held by build 1`},
		{"exclusive excludes counting", []take{{exclusive(three), "w"}}, nil, take{counting(three, 1), "x"}, `lock "three" held by build 1`},
		{"counting excludes exclusive", []take{{counting(three, 1), "w"}}, nil, take{exclusive(three), "x"}, `lock "three" held by build 1`},
		{"count 0 always succeeds", []take{{exclusive(one), "w"}}, nil, take{counting(one, 0), "x"}, ""},
		{"count 0 takes no room", []take{{counting(one, 0), "w"}}, nil, take{counting(one, 1), "x"}, ""},
		{"another lock", []take{{exclusive(three), "w"}}, nil, take{exclusive(one), "x"}, ""},
		{"same worker", []take{{counting(worker, 1), "w"}}, nil, take{counting(worker, 1), "w"}, `lock "worker" held by build 1`},
		{"another worker", []take{{counting(worker, 1), "w"}}, nil, take{counting(worker, 1), "x"}, ""},
		{"maxCountForWorker", []take{{counting(worker, 1), "big"}}, nil, take{counting(worker, 1), "big"}, ""},
		{"behind an exclusive", []take{{counting(three, 1), "w"}}, []take{{exclusive(three), "x"}}, take{counting(three, 1), "y"},
			`lock "three": waiter 0 is ahead in the queue`},
		{"behind a counting that leaves room", []take{{counting(three, 1), "w"}}, []take{{counting(three, 1), "x"}}, take{counting(three, 1), "y"}, ""},
		{"behind one that leaves none", nil, []take{{counting(three, 2), "x"}}, take{counting(three, 2), "y"},
			`lock "three": waiter 0 is ahead in the queue`},
		{"all or nothing", []take{{counting(one, 1), "w"}}, nil, take{append(counting(three, 1), counting(one, 1)...), "x"}, `lock "one" held by build 1`},
		{"more than there is", nil, nil, take{counting(three, 4), "x"}, `lock "three" can never give that much`},
		{"more than there is, in two parts", nil, nil, take{append(counting(three, 2), counting(three, 2)...), "x"}, `lock "three" can never give that much`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s LockState
			for i, h := range tt.held {
				s.Take(by(Ticket(i+1)), h.accs, h.worker, 5)
			}
			for i, w := range tt.waiting {
				s.waiting = append(s.waiting, lockAsk{by: Holder{Name: fmt.Sprintf("waiter %d", i)}, accs: w.accs, worker: w.worker})
			}
			b, ok := s.Free(tt.ask.accs, tt.ask.worker)
			if ok != (tt.want == "") || !ok && b.String() != tt.want {
				t.Errorf("got %v, %q; want %q", ok, b, tt.want)
			}
		})
	}
}

// Waiters get locks in the order of their arrival; one that gives up leaves the
// queue.
func TestLocksQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		freed := 0
		l := NewLocks(func() { freed++ })
		lock := &config.Lock{Name: "l", MaxCount: 1}
		var mu sync.Mutex
		var order []Ticket
		if _, ok := l.Try(1, "first", exclusive(lock), "w"); !ok {
			t.Fatal("a free lock was refused")
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		for i := Ticket(2); i <= 5; i++ {
			c := t.Context()
			if i == 3 {
				c = ctx
			}
			go func() {
				told := 0
				err := l.Acquire(c, by(i), exclusive(lock), "w", func(Blocker) { told++ })
				mu.Lock()
				defer mu.Unlock()
				if told != 1 {
					t.Errorf("build %d was told %d times that it waits", i, told)
				}
				if err == nil {
					order = append(order, i)
				} else if err.Error() != "enough" {
					t.Errorf("build %d: %v", i, err)
				}
			}()
			synctest.Wait()
		}
		cancel(errors.New("enough"))
		for i := Ticket(1); i <= 5; i++ {
			synctest.Wait()
			l.ReleaseAll(i)
		}
		synctest.Wait()
		if fmt.Sprint(order) != "[2 4 5]" {
			t.Errorf("order: %v", order)
		}
		s := l.State()
		if all := s.All(); len(all) != 0 || len(s.waiting) != 0 || len(l.wake) != 0 {
			t.Errorf("left: %v, %v", all, s.waiting)
		}
		if freed == 0 {
			t.Error("nobody was told of the releases")
		}
	})
}

// A wait that could never end fails at once, with the name of the lock (docs/requirements.md
// D1 pain 18).
func TestLocksDeadlock(t *testing.T) {
	a, b := &config.Lock{Name: "a", MaxCount: 1}, &config.Lock{Name: "b", MaxCount: 1}
	l := NewLocks(func() {})
	l.Try(1, "build 1", exclusive(a), "w")
	l.Try(2, "build 2", exclusive(b), "w")
	step := func(t Ticket) Holder { return Holder{Ticket: t, Step: 1, Name: fmt.Sprintf("build %d step s", t)} }

	if err := l.Acquire(t.Context(), step(1), exclusive(a), "w", nil); !errors.Is(err, ErrDeadlock) || !strings.Contains(err.Error(), `"a" is already held`) {
		t.Errorf("its own lock: %v", err)
	}
	if err := l.Acquire(t.Context(), step(3), counting(a, 2), "w", nil); err == nil || !strings.Contains(err.Error(), "never") {
		t.Errorf("more than there is: %v", err)
	}
	waits, first := make(chan struct{}), make(chan error, 1)
	go func() {
		first <- l.Acquire(t.Context(), step(1), exclusive(b), "w", func(Blocker) { close(waits) })
	}()
	<-waits
	if err := l.Acquire(t.Context(), step(2), exclusive(a), "w", nil); !errors.Is(err, ErrDeadlock) {
		t.Errorf("a cycle: %v", err)
	}
	l.ReleaseAll(2)
	if err := <-first; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// maxCount of a new configuration applies to live locks.
func TestLocksConfigure(t *testing.T) {
	old := &config.Lock{Name: "l", MaxCount: 1}
	l := NewLocks(func() {})
	l.Try(1, "x", counting(old, 1), "w")
	waits, got := make(chan struct{}), make(chan error, 1)
	go func() { got <- l.Acquire(t.Context(), by(2), counting(old, 1), "w", func(Blocker) { close(waits) }) }()
	<-waits
	l.Configure([]*config.Lock{{Name: "l", MaxCount: 2}})
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if b, ok := l.Try(3, "y", counting(old, 1), "w"); ok {
		t.Errorf("a third got it: %v", b)
	}
}

// Whatever happens: never more than maxCount, an exclusive holder is alone, and
// nobody waits for a lock that is free.
func TestLockStateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		locks := []*config.Lock{{Name: "a", MaxCount: 1}, {Name: "b", MaxCount: 3}}
		var s LockState
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			if rapid.Bool().Draw(t, "release") {
				gone := Ticket(rapid.IntRange(0, i).Draw(t, "who"))
				s.drop(func(h Holder) bool { return h.Ticket == gone })
			} else {
				var accs config.LockAccesses
				for _, l := range locks {
					if rapid.Bool().Draw(t, "uses") {
						x := rapid.Bool().Draw(t, "exclusive")
						n := 1
						if !x {
							n = rapid.IntRange(0, l.MaxCount).Draw(t, "count")
						}
						accs = append(accs, config.LockAccess{Lock: l, Exclusive: x, Count: n})
					}
				}
				s.waiting = append(s.waiting, lockAsk{by: by(Ticket(i)), accs: accs, worker: "w"})
			}
			s.grant(1)
			for id, hs := range s.held {
				sum := 0
				for _, h := range hs {
					sum += h.count
					if h.exclusive {
						for _, o := range hs {
							if o.by != h.by && (o.exclusive || o.count > 0) {
								t.Fatalf("%v: %v is not alone: %v", id, h.by, hs)
							}
						}
					}
				}
				if limit := map[string]int{"a": 1, "b": 3}[id.name]; sum > limit {
					t.Fatalf("%v: %d of %d are held", id, sum, limit)
				}
			}
			if len(s.waiting) > 0 {
				if _, ok := s.free(s.waiting[0], nil); ok {
					t.Fatalf("the first waiter waits for nothing: %v", s.waiting[0])
				}
			}
		}
	})
}
