package changes

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func TestPollingDelay(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		p        Polling
		failures int
		random   float64
		want     time.Duration
	}{
		{Polling{PollInterval: 10 * s}, 0, 0.5, 10 * s},
		{Polling{PollInterval: 10 * s}, 1, 0.5, 10 * s},
		{Polling{PollInterval: 10 * s}, 2, 0.5, 20 * s},
		{Polling{PollInterval: 10 * s}, 5, 0.5, 160 * s},
		{Polling{PollInterval: 10 * s}, 6, 0.5, maxBackoff},
		{Polling{PollInterval: 10 * s}, 1_000_000_000, 0.5, maxBackoff},
		{Polling{PollInterval: time.Hour}, 9, 0.5, time.Hour},
		{Polling{PollInterval: 10 * s, PollRandomDelayMin: 2 * s, PollRandomDelayMax: 6 * s}, 0, 0, 12 * s},
		{Polling{PollInterval: 10 * s, PollRandomDelayMin: 2 * s, PollRandomDelayMax: 6 * s}, 0, 0.5, 14 * s},
	} {
		if got, ok := tt.p.delay(tt.failures, tt.random); got != tt.want || !ok {
			t.Errorf("%+v after %d failures: %v, want %v", tt.p, tt.failures, got, tt.want)
		}
	}
	if _, ok := (&Polling{}).delay(0, 0); ok {
		t.Error("without an interval there is a next time")
	}
}

// polls returns when, in a time, a poller of a GitPoller's arguments polled.
func polls(t *testing.T, args string, during time.Duration, each func(n int, h *host) error) (at []time.Duration) {
	g := newPoller(t, newHost(t), "x", args)
	synctest.Test(t, func(t *testing.T) {
		h := &host{asked: make(chan struct{}, 1), reports: make(chan error, 100)}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		g.loop(ctx, h, func(context.Context) error {
			at = append(at, time.Since(start))
			return each(len(at), h)
		})
	})
	return at
}

func works(int, *host) error { return nil }

func TestGitPollerPollInterval(t *testing.T) {
	const m = time.Minute
	if got := polls(t, "", 25*m, works); !reflect.DeepEqual(got, []time.Duration{10 * m, 20 * m}) {
		t.Errorf("by default: %v", got)
	}
	got := polls(t, ", pollInterval = 60", 7*m+m/2, func(n int, _ *host) error {
		if n == 1 {
			time.Sleep(20 * time.Second) // in the bubble: it counts from the begin of a poll
		}
		if n == 2 || n == 3 {
			return errors.New("no network")
		}
		return nil
	})
	if want := []time.Duration{m, 2 * m, 3 * m, 5 * m, 6 * m, 7 * m}; !reflect.DeepEqual(got, want) {
		t.Errorf("with failures: %v, want %v", got, want)
	}
}

func TestGitPollerPollAtLaunch(t *testing.T) {
	if got := polls(t, ", pollAtLaunch = True", time.Minute, works); !reflect.DeepEqual(got, []time.Duration{0}) {
		t.Errorf("at launch: %v", got)
	}
	if got := polls(t, ", pollInterval = 0, pollAtLaunch = True", time.Hour, works); !reflect.DeepEqual(got, []time.Duration{0}) {
		t.Errorf("without an interval: %v", got)
	}
}

func TestGitPollerRandomDelay(t *testing.T) {
	const s = time.Second
	got := polls(t, ", pollInterval = 100, pollRandomDelayMin = 5, pollRandomDelayMax = 50", 10_000*s, works)
	var last time.Duration
	different := map[time.Duration]bool{}
	for _, at := range got {
		d := at - last
		if d < 105*s || d > 150*s {
			t.Errorf("after %v", d)
		}
		last, different[d] = at, true
	}
	if len(got) < 60 || len(different) < 10 {
		t.Errorf("polled at %v", got)
	}
}

// Who asks for it gets a poll at once, and one more if a poll was running.
func TestGitPollerAsked(t *testing.T) {
	got := polls(t, ", pollAtLaunch = True", 9*time.Minute, func(n int, h *host) error {
		if n == 1 {
			h.asked <- struct{}{}
		}
		return nil
	})
	if !reflect.DeepEqual(got, []time.Duration{0, 0}) {
		t.Errorf("polled at %v", got)
	}
}
