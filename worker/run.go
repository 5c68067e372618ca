package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrRefused is wrapped when the master does not take the name and password.
var ErrRefused = errors.New("wrong name or password")

// Run connects to the master and serves it, again whenever the connection is lost,
// until ctx ends, the master asks for a shutdown (both give nil), or MaxRetries
// attempts in a row have failed. Only a session in which the master asked who we are
// counts as a success, so a wrong password is tried less and less often too
// (docs/protocol.md A.9, 0.2 item 15). Before it returns every command is dead, unless
// the system does not let us kill it.
func Run(ctx context.Context, cfg Config) error {
	cfg, err := cfg.prepare()
	if err != nil {
		return err
	}
	if cfg.Dial == nil {
		d, err := newDialer(cfg)
		if err != nil {
			return err
		}
		cfg.Dial = d.dial
	}
	if err := CleanUp(cfg.Basedir); err != nil {
		cfg.Logger.Warn("processes of an earlier run may be left", "err", err)
	}
	running := newTable()
	defer running.stop(errStopping)
	leave := cfg.Leave // cuts one wait short; then nil
	for failures := 0; ; {
		attached, err := attempt(ctx, cfg, running)
		if ctx.Err() != nil || errors.Is(err, errShutdown) {
			return nil
		}
		if attached {
			failures = 0
		}
		if !attached && cfg.Leave != nil && closed(cfg.Leave) && running.empty() {
			return nil
		}
		failures++
		if cfg.MaxRetries > 0 && failures > cfg.MaxRetries {
			return fmt.Errorf("worker %q gives up after %d attempts: %w", cfg.Name, failures, err)
		}
		wait := cfg.Backoff(failures)
		cfg.Logger.Warn("not connected to the master", "master", cfg.MasterURL, "err", err, "again_in", wait.Round(100*time.Millisecond))
		if !sleep(ctx, wait, leave) {
			return nil
		}
		if leave != nil && closed(leave) {
			leave = nil
		}
	}
}

// attempt is one attempt.
func attempt(ctx context.Context, cfg Config, running *table) (attached bool, err error) {
	t, err := cfg.Dial(ctx)
	if err != nil {
		return false, err
	}
	cfg.Logger.Info("connected to the master", "master", cfg.MasterURL)
	return serve(ctx, t, cfg, running)
}

// backOff is how long to wait after n failures in a row; random is from [0, 1).
func backOff(n int, random float64) time.Duration {
	s := math.Min(math.Pow(1.5, float64(n)), 60) + random
	return time.Duration(s * float64(time.Second))
}

// sleep waits, at most until early is closed, and says whether ctx is still good.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-early:
		return true
	case <-ctx.Done():
		return false
	}
}
