package worker

import (
	"fmt"
	"sync"
	"time"
)

const (
	// maxRunning is how many commands may run at once.
	maxRunning = 1000
	// maxCommands is how many may be there in all, also those that have ended but that the
	// master may ask for again.
	maxCommands = 20_000
)

// table knows the commands: those that run, also of a session that was lost, and those
// that the master may still ask for. Its methods are safe for concurrent use.
type table struct {
	life string // tells this table from that of another process
	wg   sync.WaitGroup

	mu       sync.Mutex
	commands map[string]*command
	orphaned map[string]*time.Timer // ends a command that nobody asks for
	dropped  map[string]bool        // commands that were ended because nobody did
}

func newTable() *table {
	return &table{life: newMark(), commands: map[string]*command{}, orphaned: map[string]*time.Timer{}, dropped: map[string]bool{}}
}

// add makes the command that a session asks for, and takes its id.
func (t *table) add(s *session, id, name string, token []byte, f runFunc) (*command, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.commands[id] != nil || t.dropped[id] {
		return nil, fmt.Errorf("(command %s): a command with this id is still running", id)
	}
	running := 0
	for _, c := range t.commands {
		if !closed(c.over) {
			running++
		}
	}
	if running >= maxRunning || len(t.commands) >= maxCommands {
		return nil, fmt.Errorf("(command %s): %d commands run already", id, running)
	}
	return t.put(s, id, name, token, f), nil
}

// put makes a command; the caller holds mu.
func (t *table) put(s *session, id, name string, token []byte, f runFunc) *command {
	var c *command
	c = newCommand(s, id, name, token, func() { t.remove(c) })
	c.f = f
	t.commands[id] = c
	return c
}

func (t *table) remove(c *command) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.commands[c.id] == c {
		delete(t.commands, c.id)
		t.adopt(c.id)
	}
}

// start runs a command that add made.
func (t *table) start(c *command) {
	t.wg.Go(c.out.deliver)
	t.wg.Go(c.run)
}

// empty reports whether there are no commands, not even ones that the master may still
// ask for.
func (t *table) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.commands) == 0
}

func (t *table) find(id string) *command {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.commands[id]
}

func (t *table) all() []*command {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*command, 0, len(t.commands))
	for _, c := range t.commands {
		list = append(list, c)
	}
	return list
}

// list is what a master is told of the commands that it can resume.
func (t *table) list() []any {
	list := []any{}
	for _, c := range t.all() {
		if c.out.token != nil {
			first, next := c.out.kept()
			list = append(list, []any{c.id, next, first, c.out.token})
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.dropped {
		list = append(list, []any{id, 0, 0, []byte{}})
	}
	return list
}

// resume gives a command of an earlier session to s, or does it anew.
func (t *table) resume(s *session, id string, from int64) error {
	t.mu.Lock()
	c := t.commands[id]
	t.adopt(id)
	if c == nil || c.out.token == nil {
		t.mu.Unlock()
		return fmt.Errorf("command %s is not kept", id)
	}
	if !c.anew() {
		t.mu.Unlock()
		return c.out.resume(s, from)
	}
	waits := c.next != nil
	c.next = s // the newest session that asks for it
	t.mu.Unlock()
	if !waits {
		c.cancel(errLost)
		t.wg.Go(func() { t.replace(c) })
	}
	return nil
}

// replace does a command anew once it is over.
func (t *table) replace(c *command) {
	<-c.over
	t.mu.Lock()
	if t.commands[c.id] != c {
		t.mu.Unlock()
		return // it was ended meanwhile
	}
	again := t.put(c.next, c.id, c.name, c.out.token, c.f)
	t.mu.Unlock()
	c.out.close()
	t.start(again)
	if closed(c.next.dead) {
		t.orphan(again, c.next) // whoever saw it die did not see this command
	}
}

// acknowledge forgets the updates of a command up to one; -1 is all of them, and the
// command.
func (t *table) acknowledge(id string, through int64) {
	c := t.find(id)
	switch {
	case c == nil:
		t.mu.Lock()
		delete(t.dropped, id)
		t.mu.Unlock()
	case through >= 0:
		c.out.acknowledge(through)
	default:
		t.wg.Go(func() { // its end was said, so this does not take long
			<-c.over
			c.out.close()
		})
	}
}

// interrupt ends a command. One that s has not resumed is forgotten as well; answer is
// called when it is over, so that the master knows that nothing of it is left.
func (t *table) interrupt(s *session, id, why string, answer func()) {
	c := t.find(id)
	if c == nil {
		t.acknowledge(id, -1)
		answer()
		return
	}
	s.log.Info("command interrupted", "command", c.name, "id", id, "why", why)
	c.cancel(errInterrupted)
	if c.out.token == nil || c.out.session() == s {
		answer()
		return
	}
	t.wg.Go(func() {
		c.out.close()
		<-c.over
		answer()
	})
}

// of returns the commands of a session; all of them if s is nil.
func (t *table) of(s *session) []*command {
	var list []*command
	for _, c := range t.all() {
		if s == nil || c.out.session() == s {
			list = append(list, c)
		}
	}
	return list
}

// cancel ends the commands of a session; the channel is closed when they are over and
// the master was told.
func (t *table) cancel(s *session, why error) <-chan struct{} {
	list := t.of(s)
	for _, c := range list {
		c.cancel(why)
	}
	over := make(chan struct{})
	t.wg.Go(func() {
		defer close(over)
		for _, c := range list {
			<-c.over
			<-c.out.told
		}
	})
	return over
}

// abandon ends the commands of a lost session after a time, unless a later one resumes
// them.
func (t *table) abandon(s *session) {
	for _, c := range t.of(s) {
		t.orphan(c, s)
	}
}

func (t *table) orphan(c *command, s *session) {
	c.out.lose(s)
	if c.cfg.OrphanTimeout <= 0 {
		c.cancel(errLost)
		c.out.close()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adopt(c.id)
	var timer *time.Timer
	timer = time.AfterFunc(c.cfg.OrphanTimeout, func() { t.drop(c, &timer) })
	t.orphaned[c.id] = timer
}

// adopt stops the clock of an orphan; the caller holds mu.
func (t *table) adopt(id string) {
	if timer := t.orphaned[id]; timer != nil {
		timer.Stop()
		delete(t.orphaned, id)
	}
}

// drop ends a command that nobody asked for in time. A master that comes later is told
// so: it could not tell otherwise whether the command had ever come here.
func (t *table) drop(c *command, timer **time.Timer) {
	t.mu.Lock()
	if t.orphaned[c.id] != *timer {
		t.mu.Unlock()
		return // somebody did, just now
	}
	delete(t.orphaned, c.id)
	if t.commands[c.id] == c && c.out.token != nil && len(t.dropped) < maxCommands {
		t.dropped[c.id] = true
	}
	t.mu.Unlock()
	c.log.Warn("a command is ended: no master asked for it in time", "command", c.name, "id", c.id)
	c.cancel(errLost)
	c.out.close()
}

// stop ends all commands and waits until nothing of them is left.
func (t *table) stop(why error) {
	for _, c := range t.of(nil) {
		c.cancel(why)
		c.out.close()
	}
	t.mu.Lock()
	for id := range t.orphaned {
		t.adopt(id)
	}
	t.mu.Unlock()
	t.wg.Wait()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
