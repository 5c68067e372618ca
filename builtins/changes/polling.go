package changes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"buildstar/engine/change"
	"buildstar/starlark/spec"
)

// maxBackoff bounds how long a source that cannot be reached is left alone, unless its
// own interval is longer.
const maxBackoff = 5 * time.Minute

// Polling says when a poller looks for changes (docs/requirements.md C7).
type Polling struct {
	// PollInterval is the time from one look to the next, in seconds. With 0 the poller
	// looks only at its launch, if pollAtLaunch says so, and when it is asked to. After a
	// failure the time doubles, to 5 minutes at most.
	PollInterval time.Duration `star:"pollInterval,optional" min:"0"`
	// PollAtLaunch makes the first look at once, when the master starts or the poller is
	// changed; otherwise it comes after pollInterval.
	PollAtLaunch bool `star:"pollAtLaunch,optional"`
	// PollRandomDelayMin and pollRandomDelayMax bound what is added to each
	// pollInterval at random, in seconds, so that many pollers do not look all at once.
	PollRandomDelayMin time.Duration `star:"pollRandomDelayMin,optional" min:"0"`
	// PollRandomDelayMax is the most that is added; it is less than pollInterval.
	PollRandomDelayMax time.Duration `star:"pollRandomDelayMax,optional" min:"0"`
}

func (p *Polling) check(c *spec.Call) {
	switch least, most := p.PollRandomDelayMin, p.PollRandomDelayMax; {
	case c.Bad("pollRandomDelayMin") || c.Bad("pollRandomDelayMax") || c.Bad("pollInterval"):
	case least > most:
		c.Problem("bad-value", "pollRandomDelayMin", fmt.Sprintf("it is more than pollRandomDelayMax, %v", most), "")
	case most > 0 && most >= p.PollInterval:
		c.Problem("bad-value", "pollRandomDelayMax", fmt.Sprintf("want less than pollInterval, %v", p.PollInterval), "")
	}
}

// delay returns the time to the next look after some failures in a row; random is at
// least 0 and less than 1. ok is false if there is none but those that are asked for.
func (p *Polling) delay(failures int, random float64) (d time.Duration, ok bool) {
	if p.PollInterval == 0 {
		return 0, false
	}
	d = p.PollInterval
	for range failures - 1 {
		if d *= 2; d >= maxBackoff {
			d = max(maxBackoff, p.PollInterval)
			break
		}
	}
	spread := float64(p.PollRandomDelayMax - p.PollRandomDelayMin)
	return d + p.PollRandomDelayMin + time.Duration(random*spread), true
}

// loop calls poll until ctx ends, and reports what comes of it.
func (p *Polling) loop(ctx context.Context, h change.Host, poll func(context.Context) error) {
	failures, now := 0, p.PollAtLaunch
	for {
		start := time.Now()
		if now {
			err := poll(ctx)
			if ctx.Err() != nil {
				return
			}
			if failures++; err == nil {
				failures = 0
			}
			h.Report(ctx, err)
		}
		var due <-chan time.Time // nil: never
		if d, ok := p.delay(failures, rand.Float64()); ok {
			due = time.After(time.Until(start.Add(d)))
		}
		select {
		case <-due:
		case <-h.Asked():
		case <-ctx.Done():
			return
		}
		now = true
	}
}
