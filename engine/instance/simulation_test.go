package instance

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"buildstar/config"
	"buildstar/latent"
	"buildstar/state"
)

// A move is one thing that happens in a simulation; a and b say to whom and how.
type move struct {
	name string
	a, b int
}

func (m move) String() string { return fmt.Sprintf("%s(%d,%d)", m.name, m.a, m.b) }

// moves are what can happen, those that happen often more than once.
var moves = []struct {
	name string
	do   func(s *simulation, a, b int)
}{
	{"nothing", func(*simulation, int, int) {}}, // what moves shrink to
	{"want", (*simulation).want}, {"want", (*simulation).want}, {"want", (*simulation).want},
	{"release", (*simulation).release}, {"release", (*simulation).release},
	{"cancel", (*simulation).cancel},
	{"connect", (*simulation).connect}, {"connect", (*simulation).connect}, {"connect", (*simulation).connect},
	{"cut", (*simulation).cut},
	{"crash", (*simulation).crash},
	{"pass", (*simulation).pass}, {"pass", (*simulation).pass}, {"pass", (*simulation).pass},
	{"plan", (*simulation).plan}, {"plan", (*simulation).plan},
	{"configure", (*simulation).configure},
	{"full", (*simulation).full},
	{"kill", (*simulation).kill},
	{"restart", (*simulation).restart},
	{"reap", (*simulation).reap},
}

// Whatever happens to the workers, the provider, the disk and the master, calls never overlap,
// no worker has two instances, each start gets its stop, no build has an instance that was
// started for another image, caps hold, and in the end nothing is left, neither with the
// provider nor in the ledger. BUILDSTAR_LATENT_STEPS is how many moves to try; rapid shrinks
// those that break this to the fewest that do.
func TestLedgerSimulation(t *testing.T) {
	steps, _ := strconv.Atoi(os.Getenv("BUILDSTAR_LATENT_STEPS"))
	steps = max(steps, 10_000)
	done := 0
	defer func() { t.Logf("%d moves", done) }()
	aMove := rapid.Custom(func(t *rapid.T) move {
		return move{rapid.SampledFrom(moves).Draw(t, "move").name, rapid.IntRange(0, 7).Draw(t, "a"), rapid.IntRange(0, 7).Draw(t, "b")}
	})
	for done < steps {
		rapid.Check(t, func(rt *rapid.T) {
			trace := slices.DeleteFunc(rapid.SliceOfN(aMove, 60, 60).Draw(rt, "moves"), func(m move) bool { return m.name == "nothing" })
			most := rapid.IntRange(1, 2).Draw(rt, "instances at a time")
			done += len(trace)
			var wrong []string
			synctest.Test(t, func(*testing.T) { wrong = simulate(trace, most) })
			if len(wrong) > 0 {
				rt.Fatalf("%v:\n%s", trace, strings.Join(wrong, "\n"))
			}
		})
	}
}

// simulation is one life of a master's workers; masters come and go.
type simulation struct {
	memory *memory
	farm   *farm
	names  []string
	most   int // instances at a time
	images int // other versions of the configuration have others
	gone   map[string]bool
	master *simMaster
	uses   []*simUse // that were not given back
	ended  map[string]bool
	ages   map[int64]int // of instances, when last seen
	last   int64
	wrong  []string
}

// simMaster is one process.
type simMaster struct {
	l    *Ledger
	dead *atomic.Bool
}

// simUse is a build that wants a worker, or has it.
type simUse struct {
	id     int64
	worker string
	image  string
	stop   context.CancelFunc
	done   chan struct{}
	give   func() // nil: it was adopted
	err    error
}

func simulate(trace []move, most int) []string {
	m := &memory{}
	s := &simulation{most: most, memory: m, farm: newFarm(m), names: []string{"v", "w"}, gone: map[string]bool{}, ended: map[string]bool{}, ages: map[int64]int{}}
	s.open()
	for _, step := range trace {
		for _, known := range moves {
			if known.name == step.name {
				known.do(s, step.a, step.b)
				break
			}
		}
		s.settle()
		s.check()
		if len(s.wrong) > 0 {
			for i := range s.wrong {
				s.wrong[i] = fmt.Sprintf("after %v: %s", step, s.wrong[i])
			}
			break
		}
	}
	s.end()
	return s.wrong
}

func (s *simulation) fail(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// settle waits until nothing happens any more without another move: the end of a session is
// heard of a little later.
func (s *simulation) settle() {
	synctest.Wait()
	s.farm.mu.Lock()
	ended := slices.Collect(maps.Keys(s.ended))
	clear(s.ended)
	s.farm.mu.Unlock()
	for _, name := range ended {
		s.master.l.Lost(name)
	}
	synctest.Wait()
	s.uses = slices.DeleteFunc(s.uses, func(u *simUse) bool {
		select {
		case <-u.done:
			return u.err != nil
		default:
			return false
		}
	})
}

// open begins a master.
func (s *simulation) open() {
	m := &simMaster{dead: new(atomic.Bool)}
	s.master = m
	m.l = New(Options{
		Store: memoryOf{nil, s.memory, m.dead}, Logger: slog.New(slog.DiscardHandler), Env: latent.Env{Basedir: s.farm.enter(m.dead)},
		Changed: func(string, Status) {},
		Disconnect: func(worker, _ string) {
			s.farm.mu.Lock()
			defer s.farm.mu.Unlock()
			if !m.dead.Load() && s.farm.sessions[worker] != 0 {
				delete(s.farm.sessions, worker)
				s.ended[worker] = true
			}
		},
	})
	for _, row := range s.memory.open() {
		var held []int64
		for _, u := range s.uses {
			if u.worker == row.Worker {
				held = append(held, u.id)
			}
		}
		m.l.Adopt(row, s.config(row.Worker), held, nil)
	}
	s.apply()
}

func (s *simulation) config(worker string) Config {
	return Config{Return: time.Minute, Worker: &config.Worker{Name: worker, Latent: &config.Latent{
		Backend: &farmParams{farm: s.farm, Version: s.images / 3}, BuildWait: []time.Duration{0, 10 * time.Minute, -1}[s.images%3],
		CheckEvery: 10 * time.Second, Missing: 20 * time.Minute, Caps: []config.InstanceCap{{Name: "one", MaxInstances: s.most}},
	}}}
}

func (s *simulation) apply() {
	workers := map[string]Config{}
	for _, name := range s.names {
		if !s.gone[name] {
			workers[name] = s.config(name)
		}
	}
	s.master.l.Configure(workers)
}

func (s *simulation) want(a, b int) {
	ctx, cancel := context.WithCancel(context.Background())
	s.last++
	u := &simUse{id: s.last, worker: s.names[a%2], image: string(rune('a' + b%2)), stop: cancel, done: make(chan struct{})}
	s.uses = append(s.uses, u)
	l := s.master.l
	go func() {
		defer close(u.done)
		var info []string
		info, u.give, u.err = l.Want(ctx, Want{Config: s.config(u.worker), BuildID: u.id, Arguments: latent.Arguments{"image": u.image}, Host: "h", Port: 1})
		if u.err == nil && info != nil && info[0] != u.image {
			s.farm.blame("build %d wants image %s and has an instance of %s", u.id, u.image, info[0])
		}
	}()
}

// served are the uses that have a worker.
func (s *simulation) served() (us []*simUse) {
	for _, u := range s.uses {
		select {
		case <-u.done:
			us = append(us, u)
		default:
		}
	}
	return us
}

func (s *simulation) release(a, _ int) {
	if us := s.served(); len(us) > 0 {
		s.giveBack(us[a%len(us)])
	}
}

func (s *simulation) giveBack(u *simUse) {
	if u.give != nil {
		u.give()
	} else {
		s.master.l.Release(u.worker, u.id)
	}
	u.stop()
	s.uses = slices.DeleteFunc(s.uses, func(o *simUse) bool { return o == u })
}

// cancel is a build that is stopped while it waits.
func (s *simulation) cancel(a, _ int) {
	if len(s.uses) > 0 {
		s.uses[a%len(s.uses)].stop()
	}
}

// connect is the worker of an instance, which dials.
func (s *simulation) connect(a, _ int) {
	vms := s.farm.list()
	if len(vms) == 0 {
		return
	}
	v := vms[a%len(vms)]
	s.farm.mu.Lock()
	if s.farm.sessions[v.worker] != 0 { // a second instance under one name is refused before
		s.farm.mu.Unlock()
		return
	}
	s.farm.mu.Unlock()
	if s.master.l.Login(v.worker, v.password) != nil {
		return
	}
	for _, row := range s.memory.open() {
		if row.Worker == v.worker && row.ID != v.attempt {
			s.fail("instance %d got in as %d", v.attempt, row.ID)
		}
	}
	s.farm.mu.Lock()
	s.farm.sessions[v.worker] = v.attempt
	s.farm.mu.Unlock()
	s.master.l.Attached(v.worker)
}

// cut ends the session of a worker.
func (s *simulation) cut(a, _ int) {
	name := s.names[a%2]
	s.farm.mu.Lock()
	defer s.farm.mu.Unlock()
	if s.farm.sessions[name] != 0 {
		delete(s.farm.sessions, name)
		s.ended[name] = true
	}
}

// crash is the end of an instance that nobody asked for.
func (s *simulation) crash(a, _ int) {
	if vms := s.farm.list(); len(vms) > 0 {
		s.farm.remove(vms[a%len(vms)].attempt)
	}
}

func (s *simulation) pass(a, _ int) {
	time.Sleep([]time.Duration{time.Millisecond, time.Second, 5 * time.Second, 11 * time.Second, time.Minute, 11 * time.Minute, 21 * time.Minute, time.Hour}[a])
}

// plan is what the provider does with the next calls.
func (s *simulation) plan(a, b int) { s.farm.plan(a, b) }

// configure is a reload: other content, another time to wait, a worker less or more.
func (s *simulation) configure(a, b int) {
	if b < 2 {
		s.gone[s.names[b]] = !s.gone[s.names[b]]
	} else {
		s.images = a
	}
	s.apply()
}

// full has the disk refuse the next writes.
func (s *simulation) full(a, _ int) { s.memory.refuse(a) }

// kill is kill -9 of the master. Its builds go on with the next one, or do not.
func (s *simulation) kill(a, _ int) {
	s.master.dead.Store(true)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	s.leave(gone, a)
}

// restart is a stop of the master, and a start.
func (s *simulation) restart(a, _ int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s.leave(ctx, a)
}

// leave ends the ledger and begins the next. Of the builds that have a worker those go on
// that a says.
func (s *simulation) leave(ctx context.Context, a int) {
	held := s.served()
	for _, u := range s.uses {
		if !slices.Contains(held, u) {
			u.stop()
		}
	}
	s.master.l.Close(ctx)
	s.master.dead.Store(true)
	synctest.Wait()
	s.farm.mu.Lock()
	clear(s.farm.sessions)
	clear(s.ended)
	s.farm.mu.Unlock()
	s.uses = nil
	for i, u := range held {
		if a>>(i%3)&1 == 1 {
			s.uses = append(s.uses, u)
			u.give = nil
		}
	}
	s.open()
}

func (s *simulation) reap(int, int) {
	_, err := s.master.l.Reap(context.Background())
	if err != nil && !strings.Contains(err.Error(), errFarm.Error()) {
		s.fail("reap: %v", err)
	}
}

// ages are the states of an instance as they follow each other.
var ages = []string{state.InstanceStarting, state.InstanceUp, state.InstanceStopping, state.InstanceGone}

// check is what is always true.
func (s *simulation) check() {
	s.wrong = append(s.wrong, s.farm.faults()...)
	rows := s.memory.open()
	if len(rows) > s.most {
		s.fail("%d instances are in the ledger, and %d may be", len(rows), s.most)
	}
	for _, name := range s.names {
		var mine []state.Instance
		for _, r := range rows {
			if r.Worker == name {
				mine = append(mine, r)
			}
		}
		status, known := s.master.l.Status(name)
		if len(mine) > 1 {
			s.fail("%s has instances %d and %d", name, mine[0].ID, mine[1].ID)
		}
		if (!known || status.State == latent.Down) && len(mine) > 0 {
			s.fail("%s is down, and has %+v", name, mine)
		}
		if s.farm.sessions[name] != 0 && status.State != latent.Up {
			s.fail("%s is connected, and %v", name, status.State)
		}
	}
	for _, v := range s.farm.list() {
		if !v.late && !slices.ContainsFunc(rows, func(r state.Instance) bool { return r.ID == v.attempt }) {
			s.fail("instance %d of %s is not in the ledger", v.attempt, v.worker)
		}
	}
	for _, r := range s.memory.all() {
		if r.GoneAt != 0 && r.Password != "" {
			s.fail("instance %d is gone, and has a password", r.ID)
		}
		if age := slices.Index(ages, r.State); age < s.ages[r.ID] {
			s.fail("instance %d is %s once more", r.ID, r.State)
		} else {
			s.ages[r.ID] = age
		}
	}
}

// end has provider and disk do as they are told, stops the master, and sees that nothing is
// left.
func (s *simulation) end() {
	s.farm.obey()
	s.memory.refuse(0)
	for _, u := range slices.Clone(s.uses) {
		s.giveBack(u)
	}
	clear(s.gone) // a provider that no worker names any more is not asked
	s.apply()
	time.Sleep(2 * time.Hour)
	s.settle()
	for _, name := range s.names {
		if status, _ := s.master.l.Status(name); status.State == latent.Starting || status.State == latent.Stopping {
			s.fail("in the end %s is %v for ever", name, status.State)
		}
	}
	s.reap(0, 0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if left := s.master.l.Close(ctx); len(left) > 0 {
		s.fail("in the end the master leaves %v", left)
	}
	synctest.Wait()
	if rows := s.memory.open(); len(rows) > 0 {
		s.fail("in the end the ledger has %+v", rows)
	}
	for _, v := range s.farm.list() {
		s.fail("in the end instance %d of %s is there", v.attempt, v.worker)
	}
	s.wrong = append(s.wrong, s.farm.faults()...)
}
