package conn

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/conn/wire"
)

// silent is a transport whose pings are not answered while mute is set.
type silent struct {
	wire.Transport
	mute  atomic.Bool
	odd   atomic.Bool // mute for every other ping
	pings atomic.Int64
}

func (s *silent) Ping(ctx context.Context) error {
	n := s.pings.Add(1)
	if s.mute.Load() || s.odd.Load() && n%2 == 1 {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Transport.Ping(ctx)
}

func pulseBubble(t *testing.T, f func(t *testing.T, tr *silent, p *peer, s Session)) {
	t.Helper()
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		master, worker := wire.Pipe()
		tr := &silent{Transport: master}
		go func() { _ = srv.ServePipe(context.Background(), tr, "w1") }()
		p := &peer{t: t, tr: worker}
		f(t, tr, p, p.attach(y))
	})
}

// docs/protocol.md 0.2 item 13: the worker says nothing by itself, so the master asks.
func TestPulseAlive(t *testing.T) {
	pulseBubble(t, func(t *testing.T, tr *silent, p *peer, s Session) {
		time.Sleep(10*time.Minute + second)
		if n := tr.pings.Load(); n != 20 || s.Err() != nil {
			t.Errorf("%d pings in 10 minutes, %v", n, s.Err())
		}
	})
}

func TestPulseDead(t *testing.T) {
	pulseBubble(t, func(t *testing.T, tr *silent, p *peer, s Session) {
		tr.mute.Store(true)
		start := time.Now()
		if err := ended(s); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "no sign of life") {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(start); took != 90*second {
			t.Errorf("dead after %v, want 90 s: two misses of 30 s each, 30 s after the last sign", took)
		}
	})
}

func TestPulseOneMiss(t *testing.T) {
	pulseBubble(t, func(t *testing.T, tr *silent, p *peer, s Session) {
		tr.odd.Store(true)
		time.Sleep(time.Hour)
		if s.Err() != nil {
			t.Errorf("ended with %v", s.Err())
		}
	})
}

// While one of these runs a stock worker may not answer: silence means nothing.
func TestPulseStandsStillDuringCommands(t *testing.T) {
	for _, name := range []string{"upload_directory", "rmdir", "cpdir"} {
		pulseBubble(t, func(t *testing.T, tr *silent, p *peer, s Session) {
			out := p.run(t.Context(), s, Command{ID: "e-1", Name: name})
			tr.mute.Store(true)
			time.Sleep(time.Hour)
			if s.Err() != nil {
				t.Fatalf("%s: ended with %v", name, s.Err())
			}
			p.complete("e-1", nil)
			<-out
			if err := ended(s); !strings.Contains(err.Error(), "no sign of life") {
				t.Errorf("%s: ended with %v", name, err)
			}
		})
	}
}

// While the master holds the reader back it does not hear the worker.
func TestPulseStandsStillWhileHeldBack(t *testing.T) {
	pulseBubble(t, func(t *testing.T, tr *silent, p *peer, s Session) {
		updates := p.startShell(t.Context(), s, "e-1")
		tr.mute.Store(true)
		for range 2 {
			p.update("e-1", stdout(strings.Repeat("x", maxWaiting)+"\n"))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if s.Err() != nil {
			t.Fatalf("ended with %v", s.Err())
		}
		tr.mute.Store(false)
		p.complete("e-1", nil)
		for _, err := range updates {
			if err != nil {
				t.Error(err)
			}
		}
	})
}
