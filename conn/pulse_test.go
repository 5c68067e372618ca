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
		var silence Silence
		if err := ended(s); !errors.Is(err, ErrLost) || !errors.As(err, &silence) || time.Duration(silence) != 60*second {
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

// While one of these runs a stock worker may not answer: the limit is the timeout of the
// step (docs/requirements.md A3).
func TestPulseIsPatientDuringCommands(t *testing.T) {
	tests := []struct {
		name string
		args map[string]any
		want time.Duration // without a sign of life; 0: for ever
	}{
		{"upload_directory", nil, stallLimit},
		{"rmdir", map[string]any{"timeout": int64(300)}, 300 * second},
		{"cpdir", map[string]any{"timeout": 120.5}, 150 * second},
		{"cpdir", map[string]any{"timeout": int64(1)}, 60 * second},
		{"cpdir", map[string]any{"timeout": nil}, 0},
		{"cpdir", map[string]any{"timeout": 1e300}, 0},
		{"shell", map[string]any{"timeout": int64(300)}, 60 * second},
	}
	for _, tt := range tests {
		pulseBubble(t, func(t *testing.T, tr *silent, p *peer, s Session) {
			out := p.run(t.Context(), s, Command{ID: "e-1", Name: tt.name, Args: tt.args})
			tr.mute.Store(true)
			start := time.Now()
			if tt.want == 0 {
				time.Sleep(24*time.Hour + 10*second)
				if s.Err() != nil {
					t.Fatalf("%s %v: ended with %v", tt.name, tt.args, s.Err())
				}
				start = time.Now()
				p.complete("e-1", nil)
				<-out
				tt.want = 20 * second // of two pings, the first is on its way for 10 s
			}
			err := ended(s)
			if !strings.Contains(err.Error(), "no sign of life") {
				t.Errorf("%s %v: ended with %v", tt.name, tt.args, err)
			}
			if took := time.Since(start) - 30*second; took != tt.want {
				t.Errorf("%s %v: dead %v after the first ping, want %v", tt.name, tt.args, took, tt.want)
			}
		})
	}
}

// Our own worker answers whatever it runs.
func TestPulseOfOurs(t *testing.T) {
	bubble(t, func(t *testing.T, srv *Server, y *yard) {
		master, worker := wire.Pipe()
		tr := &silent{Transport: master}
		go func() { _ = srv.ServePipe(context.Background(), tr, "w1") }()
		p := &peer{t: t, tr: worker}
		ours := info()
		ours["buildstar"] = map[string]any{}
		p.reply(p.want("get_worker_info"), ours)
		p.reply(p.want("set_worker_settings"), nil)
		s := <-y.attached
		p.run(t.Context(), s, Command{ID: "e-1", Name: "rmdir", Args: map[string]any{"timeout": nil}})
		tr.mute.Store(true)
		start := time.Now()
		if err := ended(s); !strings.Contains(err.Error(), "no sign of life") || time.Since(start) != 90*second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// docs/requirements.md A3: the op comes as often as was asked for, and None turns all of
// it off.
func TestKeepalive(t *testing.T) {
	pulseBubble(t, func(t *testing.T, tr *silent, p *peer, s Session) {
		for _, every := range []time.Duration{time.Hour, 7 * second} {
			s.SetKeepalive(every)
			for range 3 {
				start := time.Now()
				p.reply(p.want("keepalive"), nil)
				if d := time.Since(start); d != every {
					t.Errorf("a keepalive after %v, want %v", d, every)
				}
			}
		}
		s.SetKeepalive(7 * second) // again the same: its time goes on
		tr.mute.Store(true)
		pings := tr.pings.Load()
		s.SetKeepalive(0)
		time.Sleep(24 * time.Hour)
		go func() { _ = s.Ping(t.Context()) }()
		p.reply(p.want("print"), nil) // and nothing before it
		if n := tr.pings.Load(); n != pings || s.Err() != nil {
			t.Errorf("%d pings, %v", n-pings, s.Err())
		}
		s.SetKeepalive(time.Hour)
		start := time.Now()
		if err := ended(s); !strings.Contains(err.Error(), "no sign of life") || time.Since(start) != 90*second {
			t.Errorf("on again, after %v: %v", time.Since(start), err)
		}
		s.SetKeepalive(time.Minute) // too late, and harmless
	})
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
