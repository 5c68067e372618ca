package state

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func keys(events ...string) (list []Event) {
	for _, k := range events {
		words := strings.Fields(k)
		list = append(list, Event{Key: words[0], Aliases: words[1:]})
	}
	return list
}

func TestPatternMatch(t *testing.T) {
	tests := []struct {
		pattern Pattern
		key     string
		want    bool
	}{
		{"builds/*/*", "builds/1/new", true},
		{"builds/*/new", "builds/1/new", true},
		{"builds/*/new", "builds/1/finished", false},
		{"builds/1/*", "builds/12/new", false},
		{"builds/*", "builds/1/new", false},
		{"builds/*/*/*", "builds/1/new", false},
		{"*/*/*", "builds/1/new", true},
		{"builds/1/new", "builds/1/new", true},
		{"", "", true},
		{"*", "", true},
	}
	for _, tt := range tests {
		if got := tt.pattern.Match(tt.key); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.key, got)
		}
	}
}

// The index by two words finds what a match of every pattern would find.
func TestBusIndex(t *testing.T) {
	patterns := []Pattern{"*/*/*", "builds/*/*", "builds/1/*", "*/1/*", "builds/*/steps/*/*", "*/*/steps/*/new", "*", "builds", "steps/*/new", "builds/1/new"}
	events := keys("builds/1/new", "builds/2/new", "steps/5/new builds/1/steps/5/new", "steps/6/started builds/2/steps/6/started", "masters/1/started", "builds", "x")
	for _, p := range patterns {
		b := NewBus(1)
		sub := b.Subscribe(t.Context(), p)
		b.Publish(events...)
		b.Publish(Event{Key: "end/of/it", Aliases: []string{string(p)}})
		for _, e := range events {
			want := p.Match(e.Key)
			for _, a := range e.Aliases {
				want = want || p.Match(a)
			}
			if !want {
				continue
			}
			if got := <-sub.C; got.Key != e.Key {
				t.Errorf("%s: got %s, want %s", p, got.Key, e.Key)
			}
		}
		if got := <-sub.C; got.Key != "end/of/it" {
			t.Errorf("%s: got %s, want the end", p, got.Key)
		}
		b.Close()
	}
}

func TestBusOnce(t *testing.T) {
	b := NewBus(1)
	defer b.Close()
	sub := b.Subscribe(t.Context(), "builds/*/*", "builds/1/*", "*/*/builds/*/*", "builds/*/*")
	b.Publish(keys("builds/1/new builders/2/builds/1/new workers/3/builds/1/new", "builds/1/finished")...)
	for _, want := range []string{"builds/1/new", "builds/1/finished"} {
		if got := <-sub.C; got.Key != want {
			t.Errorf("got %s, want %s", got.Key, want)
		}
	}
}

// A subscriber that does not read is cut off; others are not held up, and it gets no
// event after a gap.
func TestBusSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(1)
		slow := b.Subscribe(t.Context(), "logs/*/*")
		other := b.Subscribe(t.Context(), "builds/*/*")
		for i := range ringSize + 1 {
			b.Publish(Event{Key: fmt.Sprintf("logs/%d/append", i)})
		}
		b.Publish(keys("builds/1/new")...)
		if e := <-other.C; e.Key != "builds/1/new" {
			t.Errorf("got %s", e.Key)
		}
		next := 0
		for e := range slow.C {
			if want := fmt.Sprintf("logs/%d/append", next); e.Key != want {
				t.Fatalf("got %s, want %s", e.Key, want)
			}
			next++
		}
		if !errors.Is(slow.Err(), ErrSlow) || next > ringSize {
			t.Errorf("ended after %d events with %v", next, slow.Err())
		}
		if n := len(b.subs); n != 1 {
			t.Errorf("%d prefixes are still indexed", n)
		}
		b.Close()
	})
}

func TestBusContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBus(1)
		ctx, cancel := context.WithCancel(t.Context())
		idle, full := b.Subscribe(ctx, "a/*/*"), b.Subscribe(ctx, "b/*/*")
		b.Publish(keys("b/1/new", "b/2/new")...)
		cancel()
		synctest.Wait()
		if _, ok := <-idle.C; ok {
			t.Error("an event after the end")
		}
		for range full.C {
		}
		if idle.Err() != nil || full.Err() != nil || len(b.subs) != 0 {
			t.Errorf("errors %v, %v; %d prefixes indexed", idle.Err(), full.Err(), len(b.subs))
		}
		b.Close()
		sub := b.Subscribe(t.Context(), "a/*/*")
		if _, ok := <-sub.C; ok || !errors.Is(sub.Err(), ErrClosed) {
			t.Errorf("a closed bus: %v", sub.Err())
		}
		b.Publish(keys("a/1/new")...)
		if b.Position().Seq != 2 {
			t.Errorf("position %v", b.Position())
		}
	})
}

func TestBusResume(t *testing.T) {
	b := NewBus(7)
	defer b.Close()
	publish := func(n int) {
		for range n {
			b.Publish(keys("a/1/x", "b/1/x")...)
		}
	}
	publish(ringSize)
	seq := b.Position().Seq
	tests := []struct {
		after Position
		ok    bool
	}{
		{Position{7, seq}, true},
		{Position{7, seq - ringSize}, true},
		{Position{7, seq - ringSize - 1}, false},
		{Position{7, seq + 1}, false},
		{Position{6, seq}, false},
		{Position{7, 0}, false},
	}
	for _, tt := range tests {
		sub, ok := b.Resume(t.Context(), tt.after, "a/*/*")
		if ok != tt.ok {
			t.Errorf("Resume(%v) = %v", tt.after, ok)
		}
		if !ok {
			continue
		}
		for n := tt.after.Seq + 1; n <= seq; n++ {
			if n%2 == 1 {
				if e := <-sub.C; e.Seq != n {
					t.Fatalf("got event %d, want %d", e.Seq, n)
				}
			}
		}
		select {
		case e := <-sub.C:
			t.Errorf("event %d after the newest", e.Seq)
		default:
		}
	}
	if v := b.Version("b"); v != seq || b.Version("a") != seq-1 || b.Version("c") != 0 {
		t.Errorf("version %d at %d", v, seq)
	}
}

// Publishers and subscribers at once: every subscriber sees one order without gaps.
func TestBusConcurrent(t *testing.T) {
	b := NewBus(1)
	var wg sync.WaitGroup
	const publishers, each = 4, 500
	for range 8 {
		sub := b.Subscribe(t.Context(), "a/*/*")
		wg.Go(func() {
			for want := uint64(1); want <= publishers*each; want++ {
				if e := <-sub.C; e.Seq != want {
					t.Errorf("got event %d, want %d", e.Seq, want)
					return
				}
			}
		})
	}
	for range publishers {
		wg.Go(func() {
			for range each {
				b.Publish(keys("a/1/x c/2/x")...)
			}
		})
	}
	wg.Wait()
	b.Close()
}

// A build's event with 500 pages open, each on a build of its own and on the list.
func BenchmarkPublish500(b *testing.B) {
	bus := NewBus(1)
	for i := range 500 {
		sub := bus.Subscribe(b.Context(), Pattern(fmt.Sprintf("builds/%d/*", i)), Pattern(fmt.Sprintf("builds/%d/steps/*/*", i)), "masters/*/*")
		go func() {
			for range sub.C {
			}
		}()
	}
	e := Step{ID: 1, BuildID: 7}.Event("updated")
	for b.Loop() {
		bus.Publish(e)
	}
}
