package instance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/state"
)

// maxStartLog bounds what is kept of what a start says.
const maxStartLog = 64 << 10

// actor is the life of one worker's instance. One goroutine, run, owns all that is not
// guarded by mu.
type actor struct {
	l    *Ledger
	name string

	config  Config // in force; of an adopted instance whose worker left: the one it was started by
	made    Config // the one of the instance
	machine latent.Machine
	row     state.Instance // ID 0: none
	wants   []*want        // in the order of asking
	backend latent.Backend
	broken  error // why made cannot be known
	// compared are what outdated compared last, and differs is what came of it.
	compared [2]*config.Worker
	differs  bool
	cancel   context.CancelFunc
	reason   *Refusal    // why the wants that wait are about to be refused
	missing  string      // what people are to hear of with the next row that is written
	stuck    bool        // and that the instance cannot be stopped
	until    time.Time   // of life
	looks    time.Time   // of check
	life     *time.Timer // Late, Idle or RetryDue
	check    *time.Timer
	settled  chan struct{} // of a start that goes on; closed when it is Up or Stopping
	quit     bool
	over     chan struct{} // closed when a closed machine is at its end
	calls    sync.WaitGroup

	mu       sync.Mutex
	mail     []func()
	signal   chan struct{} // something is in mail; holds one
	now      Status
	next     Outlook
	known    Config // config, for others
	password prop.Password
	log      strings.Builder
}

func newActor(l *Ledger, name string, c Config) *actor {
	return &actor{l: l, name: name, config: c, known: c, over: make(chan struct{}), signal: make(chan struct{}, 1)}
}

// post leaves a message. It never waits.
func (a *actor) post(fn func()) {
	a.mu.Lock()
	a.mail = append(a.mail, fn)
	a.mu.Unlock()
	select {
	case a.signal <- struct{}{}:
	default:
	}
}

func (a *actor) empty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.mail) == 0
}

// run is the goroutine of the actor. It ends when its worker has left the configuration and
// nothing is left of it, or when the ledger is closed.
func (a *actor) run() {
	defer a.calls.Wait()
	defer a.end()
	defer a.disarm()
	for range a.signal {
		for {
			a.mu.Lock()
			mail := a.mail
			a.mail = nil
			a.mu.Unlock()
			if len(mail) == 0 {
				break
			}
			for _, fn := range mail {
				fn()
			}
		}
		if a.machine.Closed && a.machine.Call == latent.NoCall {
			a.end()
		}
		idle := a.machine.State == latent.Down && len(a.wants) == 0
		if a.quit || a.machine.Retired && idle && a.l.leave(a) {
			if a.cancel != nil {
				a.cancel()
			}
			return
		}
	}
}

// end says that nothing more is to come.
func (a *actor) end() {
	if !closed(a.over) {
		close(a.over)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// login is called by others than the actor.
func (a *actor) login(password string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.now.State == latent.Down:
		return fmt.Errorf("%w: nothing was started", ErrNotWanted)
	case a.now.State == latent.Stopping:
		return fmt.Errorf("%w: it is being stopped", ErrNotWanted)
	case !a.password.Matches(password):
		return errors.New("wrong password")
	}
	return nil
}

func (a *actor) status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *actor) outlook() Outlook {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.next
	if a.now.State != latent.Down {
		o.Log = a.log.String()
	}
	return o
}

// teller returns what adds to the log of a start until that is settled.
func (a *actor) teller(settled <-chan struct{}) func(string) {
	return func(text string) {
		if !closed(settled) {
			a.say(text)
		}
	}
}

// say is called by the backend, from any goroutine.
func (a *actor) say(text string) {
	a.mu.Lock()
	if room := maxStartLog - a.log.Len(); room > 0 {
		a.log.WriteString(text[:min(len(text), room)])
	}
	a.mu.Unlock()
	a.post(func() {
		for _, w := range a.wants {
			if !w.served && w.Log != nil {
				w.tell(func() { w.Log(text) })
			}
		}
	})
}

// keep is what the configuration says of idle instances.
func keep(c *config.Latent) latent.Keep {
	switch {
	case c.BuildWait == 0:
		return latent.KeepNot
	case c.BuildWait < 0:
		return latent.KeepAlways
	}
	return latent.KeepTime
}

// configure takes the worker of the configuration in force.
func (a *actor) configure(c Config) {
	a.config = c
	a.mu.Lock()
	a.known = c
	a.mu.Unlock()
	a.machine.Keep = keep(c.Worker.Latent)
	if a.machine.Retired {
		a.feed(latent.Restore)
	}
	for _, w := range a.wants {
		if !w.served && w.fit != asking {
			w.fit = unknown
		}
	}
	a.serve()
	if a.outdated() && a.machine.Builds == 0 {
		a.feed(latent.Unfit)
	}
	a.changed()
}

// close stops the instance, unless builds have it that go on without this master.
func (a *actor) close() {
	if slices.ContainsFunc(a.wants, func(w *want) bool { return w.served }) {
		a.end()
		return
	}
	a.feed(latent.Close)
}

func (a *actor) retire() { a.feed(latent.Retire) }

// outdated reports whether the configuration would start another instance now.
func (a *actor) outdated() bool {
	made, now := a.made.Worker, a.config.Worker
	if a.row.ID == 0 || made == now && made != nil {
		return false
	}
	if made == nil || now == nil {
		return true
	}
	if a.compared != [2]*config.Worker{made, now} {
		a.compared = [2]*config.Worker{made, now}
		a.differs = made.Latent.MasterFQDN != now.Latent.MasterFQDN || config.Hash(made.Latent.Backend) != config.Hash(now.Latent.Backend)
	}
	return a.differs
}

// adopt takes over what an earlier master left. What is kept may have no handle, if its
// worker was so fast that it builds: then Stop finds it by its attempt.
func (a *actor) adopt(row state.Instance, kept bool, held []int64, why error) {
	a.row, a.made, a.broken = row, a.config, why
	a.mu.Lock()
	a.password = row.Password
	a.mu.Unlock()
	if a.config.Worker != nil {
		a.machine.Keep = keep(a.config.Worker.Latent)
	}
	if !kept {
		a.feed(latent.AdoptLost)
		return
	}
	for _, id := range held {
		a.wants = append(a.wants, &want{Want: Want{BuildID: id}, served: true, fit: fits})
		a.machine.Builds++
	}
	a.feed(latent.Adopt)
}

// want is a build that needs the worker.
func (a *actor) want(w *want) {
	a.wants = append(a.wants, w)
	if a.machine.State == latent.Stopping && a.row.Failures > 0 {
		a.reason = &Refusal{Reason: "its last instance cannot be stopped: " + a.row.Failure}
	}
	a.feed(latent.Want)
	if a.reason != nil && a.machine.State == latent.Stopping {
		a.refuse()
		return
	}
	a.phase(w)
}

// release is a build that does not need it any more. One that was refused has been
// forgotten already.
func (a *actor) release(w *want) {
	i := slices.Index(a.wants, w)
	if i < 0 {
		return
	}
	a.wants = slices.Delete(a.wants, i, i+1)
	a.feed(latent.Release)
	a.serve()
	if a.machine.Builds == 0 && a.machine.State == latent.Up && a.outdated() {
		a.feed(latent.Unfit)
	}
}

// refuse answers all builds that wait; each is a Release.
func (a *actor) refuse() {
	why := a.reason
	if why == nil {
		why = &Refusal{Reason: "the master is shutting down", Blameless: true}
		if a.machine.Retired {
			why.Reason = fmt.Sprintf("worker %q left the configuration", a.name)
		}
	}
	var refused []*want
	a.wants = slices.DeleteFunc(a.wants, func(w *want) bool {
		if w.served {
			return false
		}
		refused = append(refused, w)
		return true
	})
	for _, w := range refused {
		if why.Cannot && w != refused[0] { // which the start was for; the others may fare better
			a.wants = append(a.wants, w)
			continue
		}
		w.end(a.row.Info, why)
		a.feed(latent.Release)
	}
}

// password is a random one (docs/requirements.md B3).
func randomPassword() prop.Password {
	const letters = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	b := make([]byte, 20)
	rand.Read(b)
	for i, c := range b {
		b[i] = letters[int(c)%len(letters)]
	}
	return prop.Password(b)
}
