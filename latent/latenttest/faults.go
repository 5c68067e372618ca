package latenttest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/engine/instance"
	"buildstar/latent"
)

// lives are what happens to instances while everything but the master goes wrong.
var lives = []struct {
	name string
	run  func(*life, *plot)
}{
	{"the reply to a start is lost", lostReply},
	{"nobody waits for a slow start any more", slowStart},
	{"a start takes longer than its worker may be missing", stalledStart},
	{"the worker connects before the start returned", early},
	{"a build comes during a slow stop", slowStop},
	{"a stop fails again and again", failingStop},
	{"the worker connects twice", twice},
	{"an instance that the ledger does not know is stopped", stray},
	{"the instance dies before its worker connects", stillborn},
	{"the connection is cut silently during a build", cutDuringBuild},
	{"the connection comes back", cutAndBack},
	{"the connection is cut during a stop", cutDuringStop},
}

// lead leads a life to its end.
func (x *exercise) lead(run func(*life, *plot)) {
	store := x.openStore(x.t.TempDir())
	defer store.Close()
	p := &plot{faults: map[point][]error{}, holds: map[point]*hold{}}
	l := x.live(store, p.at)
	l.configure(func(*instance.Config, *config.Latent) {})
	run(l, p)
	l.end()
}

// plot is what happens at the points of a life.
type plot struct {
	mu     sync.Mutex
	faults map[point][]error // the errors of the next calls
	holds  map[point]*hold
}

// hold is a point that is not passed until it is let go, or the call is cut.
type hold struct{ reached, letGo chan struct{} }

var errFault = errors.New("connection reset by test")

// fail makes the next calls fail at a point.
func (p *plot) fail(at point, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range times {
		p.faults[at] = append(p.faults[at], errFault)
	}
}

// hold holds the next call at a point.
func (p *plot) hold(at point) *hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &hold{make(chan struct{}), make(chan struct{})}
	p.holds[at] = h
	return h
}

func (p *plot) at(ctx context.Context, at point) error {
	p.mu.Lock()
	h := p.holds[at]
	delete(p.holds, at)
	var err error
	if f := p.faults[at]; len(f) > 0 {
		err, p.faults[at] = f[0], f[1:]
	}
	p.mu.Unlock()
	if h != nil {
		close(h.reached)
		select {
		case <-h.letGo:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

// refused waits for the refusal of a use.
func (l *life) refused(u *use, why string) {
	l.t.Helper()
	<-u.done
	if u.err == nil || !strings.Contains(u.err.Error(), why) {
		l.t.Errorf("got %v, want a refusal with %q", u.err, why)
	}
}

func lostReply(l *life, p *plot) {
	p.fail(afterCreate, 1)
	l.refused(l.want(), errFault.Error())
	l.is(latent.Down)
	l.alive(0)
	l.attached().release() // the worker is none the worse for it
	l.is(latent.Down)
}

func slowStart(l *life, p *plot) {
	h := p.hold(afterCreate)
	u := l.want()
	<-h.reached
	u.cancel()
	<-u.done
	l.is(latent.Down)
	l.alive(0)
}

func stalledStart(l *life, p *plot) {
	l.configure(func(_ *instance.Config, c *config.Latent) { c.Missing = 50 * time.Millisecond })
	p.hold(afterCreate)
	l.refused(l.want(), "did not connect")
	l.is(latent.Down)
	l.alive(0)
}

func early(l *life, p *plot) {
	h := p.hold(afterCreate)
	u := l.want()
	<-h.reached
	l.serve(u)
	close(h.letGo)
	l.started(u)
	u.release()
	l.is(latent.Down)
	h = p.hold(afterCreate)
	u = l.want()
	<-h.reached
	l.serve(u)
	u.release() // still before it returned
	l.is(latent.Down)
}

func slowStop(l *life, p *plot) {
	h := p.hold(afterStop)
	l.attached().release()
	<-h.reached
	u := l.want()
	if n := l.count("start"); n != 1 {
		l.t.Errorf("%d starts", n)
	}
	close(h.letGo)
	l.wait("the next instance", func() bool { return l.count("start") == 2 })
	l.started(u)
	l.serve(u)
	l.alive(1)
	u.release()
	l.is(latent.Down)
}

func failingStop(l *life, p *plot) {
	u := l.attached()
	p.fail(beforeStop, 2)
	p.fail(afterStop, 2) // it is gone, and nobody knows
	h := p.hold(beforeStop)
	u.release()
	<-h.reached
	waits := l.want() // it is told why nothing starts
	close(h.letGo)
	l.refused(waits, "cannot be stopped: "+errFault.Error())
	l.is(latent.Down)
	if n := l.count("stop"); n != 5 {
		l.t.Errorf("%d tries to stop it, want 5", n)
	}
	l.alive(0)
}

func twice(l *life, p *plot) {
	u := l.attached()
	l.ledger.Attached("w")
	h := p.hold(beforeStop)
	u.release()
	<-h.reached
	before := l.sent.Load()
	l.ledger.Attached("w") // and once more when it is too late
	l.wait("its session is ended", func() bool { return l.sent.Load() > before })
	close(h.letGo)
	l.is(latent.Down)
}

func stray(l *life, p *plot) {
	if _, ok := l.b.(latent.Lister); !ok {
		return
	}
	u := l.attached()
	unknown := l.exercise.start("v", 1<<40)
	l.alive(2)
	found, err := l.ledger.Plan(l.ctx)
	if err != nil || len(found) != 1 || found[0].Ref.Handle != unknown.Handle {
		l.t.Errorf("found %+v, %v; want %q", found, err, unknown.Handle)
	}
	if _, err := l.ledger.Reap(l.ctx); err != nil {
		l.t.Error(err)
	}
	l.alive(1)
	u.release()
	l.is(latent.Down)
}

func stillborn(l *life, p *plot) {
	if _, ok := l.b.(latent.Checker); !ok || l.Kill == nil {
		return
	}
	l.configure(func(_ *instance.Config, c *config.Latent) { c.CheckEvery = 20 * time.Millisecond })
	u := l.want()
	l.Kill(l.t, l.started(u))
	l.refused(u, "will never connect")
	l.is(latent.Down)
	l.alive(0)
}

func cutDuringBuild(l *life, p *plot) {
	l.configure(func(c *instance.Config, _ *config.Latent) { c.Return = 50 * time.Millisecond })
	u := l.want()
	ref := l.started(u)
	l.serve(u)
	if l.Kill != nil {
		l.Kill(l.t, ref)
	}
	l.ledger.Lost("w")
	l.is(latent.Down)
	l.alive(0)
	u.release() // the build hears of it later
	l.attached().release()
	l.is(latent.Down)
}

func cutAndBack(l *life, p *plot) {
	u := l.attached()
	l.ledger.Lost("w")
	l.ledger.Attached("w")
	l.is(latent.Up)
	l.alive(1)
	u.release()
	l.is(latent.Down)
	if n := l.count("start"); n != 1 {
		l.t.Errorf("%d starts", n)
	}
}

func cutDuringStop(l *life, p *plot) {
	h := p.hold(duringStop)
	l.attached().release()
	<-h.reached
	l.ledger.Lost("w")
	close(h.letGo)
	l.is(latent.Down)
	if n := l.count("stop"); n != 1 {
		l.t.Errorf("%d stops", n)
	}
}
