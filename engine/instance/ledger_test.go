package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/state"
	"buildstar/state/sqlite"
)

// provider is a cloud whose calls the test scripts.
type provider struct {
	mu     sync.Mutex
	alive  map[int64]string // by attempt: what it was started with
	starts int
	stops  int
	busy   bool // in a call
	faults []string
	hidden bool // List does not see them
	// nameless says that List does not know which start they are of
	nameless bool
	hold     chan struct{} // if not nil, a start waits for it
	fail     error         // of starts
	stuck    int           // how many stops fail
	bad      string        // what Check says; "": good
	launch   latent.Launch // the newest
	env      latent.Env
}

// backendOf is both Params and Backend.
type backendOf struct {
	*provider
	Image prop.Template[string]
}

func (*backendOf) Kind() string   { return "fake" }
func (b *backendOf) Varies() bool { return true }

func (b *backendOf) Open(e latent.Env) (latent.Backend, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.env = e
	return b, nil
}
func (b *backendOf) Render(ctx context.Context, p prop.Props) (latent.Arguments, error) {
	v, err := b.Image.Render(ctx, p)
	return latent.Arguments{"image": v}, err
}

// enter notes a call; calls must not overlap.
func (p *provider) enter(what string) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		p.faults = append(p.faults, what+" while another call goes on")
	}
	p.busy = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.busy = false
	}
}

func (b *backendOf) Start(ctx context.Context, in latent.Launch) (s latent.Started, err error) {
	defer b.enter("start")()
	b.mu.Lock()
	b.starts++
	b.launch = in
	if len(b.alive) > 0 {
		b.faults = append(b.faults, "a second instance")
	}
	if b.fail == nil || !errors.Is(b.fail, latent.ErrCannotSubstantiate) {
		b.alive[in.Attempt] = fmt.Sprint(in.Ref.Arguments["image"])
	}
	hold, fail := b.hold, b.fail
	b.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
	return latent.Started{Handle: fmt.Sprint("h", in.Attempt), Info: []string{"info"}}, fail
}

func (b *backendOf) Stop(_ context.Context, in latent.Ref, _ bool) error {
	defer b.enter("stop")()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stops++
	if b.stuck > 0 {
		b.stuck--
		return errors.New("the provider is down")
	}
	delete(b.alive, in.Attempt)
	return nil
}

func (b *backendOf) Check(context.Context, latent.Ref) (bool, string, error) {
	defer b.enter("check")()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bad == "", b.bad, nil
}

func (b *backendOf) List(context.Context) (refs []latent.Ref, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.alive {
		ref := latent.Ref{Worker: "w", Attempt: id, Handle: fmt.Sprint("h", id)}
		if b.nameless {
			ref = latent.Ref{Handle: ref.Handle}
		}
		if !b.hidden {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// rig is a ledger with one worker, in a synctest bubble.
type rig struct {
	t *testing.T
	*provider
	store    state.Store
	l        *Ledger
	c        Config
	closed   bool
	builds   int64
	troubles []string // that people heard of
}

func bubble(t *testing.T, fn func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "db"), sqlite.Options{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, provider: &provider{alive: map[int64]string{}}, store: store}
		r.c = Config{Return: time.Hour, Worker: &config.Worker{Name: "w", Latent: &config.Latent{
			Backend: &backendOf{provider: r.provider, Image: prop.Of("a")}, BuildWait: 10 * time.Minute, CheckEvery: 10 * time.Second, Missing: 20 * time.Minute,
		}}}
		r.open()
		r.l.Configure(map[string]Config{"w": r.c})
		defer store.Close()
		defer func() {
			r.close()
			for _, f := range r.faults {
				t.Error(f)
			}
		}()
		fn(t, r)
	})
}

// change puts another configuration in force.
func (r *rig) change(fn func(*config.Latent)) {
	w, l := *r.c.Worker, *r.c.Worker.Latent
	fn(&l)
	w.Latent = &l
	r.c.Worker = &w
	r.l.Configure(map[string]Config{"w": r.c})
	synctest.Wait()
}

// script sets what the provider does next.
func (r *rig) script(fn func(p *provider)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(r.provider)
}

// heard is what people heard of.
func (r *rig) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.troubles)
}

func (r *rig) open() {
	r.l = New(Options{Store: r.store, Logger: slog.New(slog.DiscardHandler), Changed: func(string, Status) {}, Disconnect: func(string, string) {},
		Trouble: func(_ state.Tx, t Trouble) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.troubles = append(r.troubles, fmt.Sprintf("%d: %s", t.Instance.ID, cmp.Or(t.Missing, t.Instance.Failure)))
			return nil
		}})
	r.closed = false
}

func (r *rig) close() {
	if !r.closed {
		r.closed = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r.l.Close(ctx)
	}
}

// build is one use of the worker.
type build struct {
	phases []string
	log    string
	stop   context.CancelFunc
	done   chan struct{}
	give   func()
	info   []string
	err    error
}

func (r *rig) want(image string) *build {
	ctx, cancel := context.WithCancel(context.Background())
	b := &build{stop: cancel, done: make(chan struct{})}
	r.builds++
	id := r.builds
	go func() {
		defer close(b.done)
		b.info, b.give, b.err = r.l.Want(ctx, Want{
			Config: r.c, BuildID: id, Arguments: latent.Arguments{"image": image}, Host: "h", Port: 1,
			Phase: func(text string, _ time.Time) { b.phases = append(b.phases, text) }, Log: func(text string) { b.log += text },
		})
	}()
	synctest.Wait()
	return b
}

func (r *rig) served(b *build) {
	r.t.Helper()
	synctest.Wait()
	select {
	case <-b.done:
		if b.err != nil {
			r.t.Fatalf("refused: %v", b.err)
		}
	default:
		r.t.Fatalf("the build still waits: %q", b.phases)
	}
}

func (r *rig) refused(b *build, want string) *Refusal {
	r.t.Helper()
	synctest.Wait()
	var no *Refusal
	select {
	case <-b.done:
		if !errors.As(b.err, &no) || !strings.Contains(no.Reason, want) {
			r.t.Fatalf("got %v, want %q", b.err, want)
		}
	default:
		r.t.Fatalf("the build still waits: %q", b.phases)
	}
	return no
}

func (r *rig) attach() {
	r.l.Attached("w")
	synctest.Wait()
}

// is checks where the instance is, and how often it was started and stopped.
func (r *rig) is(s latent.State, starts, stops int) {
	r.t.Helper()
	synctest.Wait()
	got, _ := r.l.Status("w")
	r.mu.Lock()
	defer r.mu.Unlock()
	if got.State != s || r.starts != starts || r.stops != stops {
		r.t.Fatalf("%v after %d starts and %d stops; want %v, %d, %d", got.State, r.starts, r.stops, s, starts, stops)
	}
}

func (r *rig) rows() (rows []state.Instance) {
	r.t.Helper()
	if err := r.store.View(context.Background(), func(tx state.ReadTx) (err error) {
		rows, err = tx.Instances(state.Query{})
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	return rows
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestBuildWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		r.is(latent.Starting, 1, 0)
		r.attach()
		r.served(b)
		if !slices.Equal(b.info, []string{"info"}) || b.phases[0] != "starting an instance" {
			t.Errorf("told %q, phases %q", b.info, b.phases)
		}
		b.give()
		pass(9 * time.Minute)
		r.is(latent.Up, 1, 0)
		again := r.want("a") // at once, and its timer begins anew
		r.served(again)
		pass(time.Hour)
		r.is(latent.Up, 1, 0)
		again.give()
		pass(10*time.Minute + time.Second)
		r.is(latent.Down, 1, 1)
		row := r.rows()[0]
		if row.State != state.InstanceGone || row.Password != "" || row.Handle != "h1" || row.Seconds(0) < 3600 || row.ConnectedAt == 0 || row.StoppingAt == 0 {
			t.Errorf("%+v", row)
		}
		r.change(func(l *config.Latent) { l.BuildWait = 0 })
		b = r.want("a")
		r.attach()
		r.served(b)
		b.give()
		r.is(latent.Down, 2, 2)
		r.change(func(l *config.Latent) { l.BuildWait = -1 })
		b = r.want("a")
		r.attach()
		r.served(b)
		b.give()
		pass(1000 * time.Hour)
		r.is(latent.Up, 3, 2)
		r.close()
		if len(r.alive) != 0 || r.stops != 3 {
			t.Errorf("left %v after %d stops", r.alive, r.stops)
		}
	})
}

func TestMissing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		pass(20 * time.Minute)
		if no := r.refused(b, "it did not connect within 20m0s"); no.Cannot || no.Blameless {
			t.Errorf("%+v", no)
		}
		r.is(latent.Down, 1, 1)
		r.script(func(p *provider) { p.hold = make(chan struct{}) }) // one that does not even return
		b = r.want("a")
		pass(20 * time.Minute)
		r.refused(b, "did not connect")
		r.is(latent.Down, 2, 2)
	})
}

func TestCheck(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		pass(25 * time.Second)
		r.is(latent.Starting, 1, 0)
		r.script(func(p *provider) { p.bad = "it burns" })
		pass(10 * time.Second)
		r.refused(b, "never connect: it burns")
		r.is(latent.Down, 1, 1)
	})
}

func TestStartFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.script(func(p *provider) { p.fail = errors.New("no quota") })
		r.refused(r.want("a"), "no quota")
		r.is(latent.Down, 1, 1)
		r.script(func(p *provider) { p.fail = latent.Cannotf("no image %q", "a") })
		if no := r.refused(r.want("a"), `no image "a"`); !no.Cannot {
			t.Errorf("%+v", no)
		}
		r.is(latent.Down, 2, 2)
	})
}

// A build that is stopped leaves at once, whatever the provider does, and takes the
// instance with it.
func TestWantStopped(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.script(func(p *provider) { p.hold = make(chan struct{}) })
		b := r.want("a")
		b.stop()
		<-b.done
		if !errors.Is(b.err, context.Canceled) {
			t.Error(b.err)
		}
		r.is(latent.Down, 1, 1)
		r.script(func(p *provider) { p.hold = nil })
		b = r.want("a")
		r.is(latent.Starting, 2, 1) // it waits for the worker
		b.stop()
		r.is(latent.Down, 2, 2)
		r.script(func(p *provider) { p.stuck = 1 })
		b = r.want("a")
		r.attach()
		r.served(b)
		b.give()
		r.change(func(l *config.Latent) { l.BuildWait = 0 })
	})
}

func TestConnectsBeforeStartReturned(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.change(func(l *config.Latent) { l.BuildWait = 0 })
		r.script(func(p *provider) { p.hold = make(chan struct{}) })
		b := r.want("a")
		r.attach()
		r.served(b)
		close(r.hold)
		b.give()
		r.is(latent.Down, 1, 1)
	})
}

func TestStopFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		r.attach()
		r.served(b)
		b.give()
		r.script(func(p *provider) { p.stuck = 3 })
		pass(10 * time.Minute)
		r.is(latent.Stopping, 1, 1)
		if s, _ := r.l.Status("w"); s.Failure != "the provider is down" {
			t.Errorf("%+v", s)
		}
		r.refused(r.want("a"), "its last instance cannot be stopped: the provider is down")
		if row := r.rows()[0]; row.Failures != 1 || row.Failure != "the provider is down" {
			t.Errorf("%+v", row)
		}
		pass(time.Second)
		pass(2 * time.Second)
		r.is(latent.Stopping, 1, 3)
		pass(4 * time.Second)
		r.is(latent.Down, 1, 4)
		b = r.want("a")
		r.attach()
		r.served(b)
		b.give()
	})
}

// An idle instance for another image is replaced; a busy one is waited for.
func TestReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		first := r.want("a")
		r.attach()
		r.served(first)
		other := r.want("b")
		pass(time.Hour)
		r.is(latent.Up, 1, 0)
		first.give()
		r.is(latent.Starting, 2, 1)
		r.attach()
		r.served(other)
		r.mu.Lock()
		if r.alive[2] != "b" {
			t.Errorf("it was started with %v", r.alive)
		}
		r.mu.Unlock()
		other.give()
	})
}

// A lost connection may come back; if it does not the instance is stopped.
func TestLost(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		r.attach()
		r.served(b)
		r.l.Lost("w")
		pass(59 * time.Minute)
		r.is(latent.Up, 1, 0)
		r.attach()
		pass(2 * time.Hour)
		r.l.Lost("w")
		next := r.want("a")
		pass(time.Hour + time.Second)
		r.refused(next, "")
		r.is(latent.Down, 1, 1)
		b.give()
		r.is(latent.Down, 1, 1)
	})
}

func TestPasswordOfAnInstance(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if err := r.l.Login("w", ""); !errors.Is(err, ErrNotWanted) {
			t.Errorf("before it is started: %v", err)
		}
		b := r.want("a")
		password := r.launch.Password
		if len(password) != 20 {
			t.Errorf("the password is %q", password)
		}
		if err := r.l.Login("w", password); err != nil {
			t.Error(err)
		}
		if err := r.l.Login("w", "other"); err == nil || errors.Is(err, ErrNotWanted) {
			t.Errorf("with another password: %v", err)
		}
		b.stop()
		r.is(latent.Down, 1, 1)
		if err := r.l.Login("w", password); !errors.Is(err, ErrNotWanted) {
			t.Errorf("after it is gone: %v", err)
		}
	})
}

func TestCaps(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.change(func(l *config.Latent) {
			l.Caps, l.BuildWait = []config.InstanceCap{{Name: "c", MaxInstances: 1, HoursPerDay: 2}}, 0
		})
		add := func(i state.Instance) {
			i.Caps = []string{"c"}
			if err := r.store.Update(context.Background(), func(tx state.Tx) (err error) {
				i.ID, err = tx.AddInstance(i)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		b := r.want("a")
		r.attach()
		r.served(b)
		pass(90 * time.Minute)
		b.give()
		r.is(latent.Down, 1, 1)
		now := state.Now()
		add(state.Instance{Worker: "v", CreatedAt: now - 40*60*1000, GoneAt: now - 1000})
		if no := r.refused(r.want("a"), `cap "c" is reached: 2.2 of at most 2 hours`); !no.Blameless {
			t.Errorf("%+v", no)
		}
		r.is(latent.Down, 1, 1)
		pass(24 * time.Hour)
		add(state.Instance{Worker: "v", CreatedAt: state.Now()})
		r.refused(r.want("a"), `cap "c" is reached: 1 of at most 1 instances exist`)
		r.is(latent.Down, 1, 1)
	})
}

// Changed arguments apply to the next instance; a worker that leaves drains.
func TestConfigure(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		r.attach()
		r.served(b)
		r.change(func(l *config.Latent) { l.Backend = &backendOf{provider: r.provider, Image: prop.Of("b")} })
		r.is(latent.Up, 1, 0)
		b.give()
		r.is(latent.Down, 1, 1)
		b = r.want("b")
		r.attach()
		r.served(b)
		r.l.Configure(nil)
		r.is(latent.Up, 2, 1)
		b.give()
		synctest.Wait()
		if _, ok := r.l.Status("w"); ok || len(r.alive) != 0 {
			t.Errorf("the worker is still there, or its instance: %v", r.alive)
		}
		r.l.Configure(map[string]Config{"w": r.c})
		b = r.want("b")
		r.is(latent.Starting, 3, 2)
		r.attach()
		r.served(b)
		b.give()
	})
}

// The next master finds what one left that was killed, wherever that was.
func TestAdopt(t *testing.T) {
	tests := []struct {
		name  string
		row   state.Instance
		alive bool
		held  []int64
		why   error
		want  latent.State
	}{
		{name: "before the create call", row: state.Instance{State: state.InstanceStarting}, want: latent.Down},
		{name: "before the handle was written", row: state.Instance{State: state.InstanceStarting}, alive: true, want: latent.Down},
		{name: "before it connected", row: state.Instance{State: state.InstanceStarting, Handle: "h1"}, alive: true, want: latent.Starting},
		{name: "while it was up", row: state.Instance{State: state.InstanceUp, Handle: "h1", ConnectedAt: 5}, alive: true, want: latent.Starting},
		{name: "with a build", row: state.Instance{State: state.InstanceUp, Handle: "h1", ConnectedAt: 5}, alive: true, held: []int64{9}, want: latent.Starting},
		{name: "with a build, before its handle was written", row: state.Instance{State: state.InstanceUp, ConnectedAt: 5}, alive: true, held: []int64{9}, want: latent.Starting},
		{name: "during the stop with a build", row: state.Instance{State: state.InstanceStopping, Handle: "h1"}, alive: true, held: []int64{9}, want: latent.Down},
		{name: "during the stop", row: state.Instance{State: state.InstanceStopping, Handle: "h1"}, alive: true, want: latent.Down},
		{name: "after the stop call", row: state.Instance{State: state.InstanceStopping, Handle: "h1"}, want: latent.Down},
		{name: "and its configuration is not known", row: state.Instance{State: state.InstanceUp, Handle: "h1"}, alive: true, why: errors.New("gone"), want: latent.Down},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.close()
				row := tt.row
				row.Worker, row.Kind, row.Password, row.CreatedAt, row.Arguments = "w", "fake", "pw", state.Now(), map[string]any{"image": "a"}
				if err := r.store.Update(context.Background(), func(tx state.Tx) (err error) {
					row.ID, err = tx.AddInstance(row)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				if tt.alive {
					r.alive[row.ID] = "a"
				}
				r.open()
				c := r.c
				if tt.why != nil {
					c = Config{}
				}
				if kept := r.l.Adopt(row, c, tt.held, tt.why); kept != (tt.want == latent.Starting) {
					t.Errorf("kept: %v", kept)
				}
				r.l.Configure(map[string]Config{"w": r.c})
				pass(2 * time.Second) // the first try to stop may know too little
				if s, _ := r.l.Status("w"); s.State != tt.want {
					t.Fatalf("it is %v", s.State)
				}
				if tt.want == latent.Down {
					if len(r.alive) != 0 || r.rows()[0].GoneAt == 0 {
						t.Errorf("left %v, %+v", r.alive, r.rows())
					}
					return
				}
				if err := r.l.Login("w", "pw"); err != nil {
					t.Error(err)
				}
				r.attach()
				r.l.Release("w", 9)
				b := r.want("a")
				r.served(b)
				b.give()
				pass(11 * time.Minute)
				r.is(latent.Down, 0, 1)
			})
		})
	}
}

// An instance whose worker left the configuration, and whose own configuration cannot be had
// any more, is stopped by any worker that sees it; by nobody else.
func TestAdoptByOthers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.close()
		row := state.Instance{Worker: "left", Kind: "fake", State: state.InstanceUp, Handle: "h1", CreatedAt: state.Now()}
		if err := r.store.Update(context.Background(), func(tx state.Tx) (err error) {
			row.ID, err = tx.AddInstance(row)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		r.alive[row.ID], r.hidden = "a", true
		r.open()
		r.l.Adopt(row, Config{}, nil, errors.New("no module x"))
		r.l.Configure(map[string]Config{"w": r.c})
		pass(20 * time.Minute)
		got := r.rows()[0]
		if len(r.alive) != 1 || got.GoneAt != 0 || !strings.Contains(got.Failure, "no fake worker of the configuration finds it") || !strings.Contains(got.Failure, "no module x") {
			t.Errorf("%+v", got)
		}
		if heard := r.heard(); len(heard) != 1 || !strings.Contains(heard[0], "no fake worker") {
			t.Errorf("people heard %q", heard)
		}
		r.script(func(p *provider) { p.hidden = false })
		pass(6 * time.Minute)
		if len(r.alive) != 0 || r.rows()[0].GoneAt == 0 {
			t.Errorf("left %v, %+v", r.alive, r.rows())
		}
		if _, ok := r.l.Status("left"); ok {
			t.Error("the worker is still there")
		}
	})
}

// People hear once of each instance that is missing or cannot be stopped.
func TestTrouble(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		heard := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := r.heard(); !slices.Equal(got, want) {
				t.Fatalf("people heard %q, want %q", got, want)
			}
		}
		b := r.want("a")
		pass(20 * time.Minute)
		r.refused(b, "did not connect")
		heard("1: it did not connect within 20m0s")
		b = r.want("a")
		r.attach()
		r.served(b)
		r.script(func(p *provider) { p.stuck = 1 << 20 })
		b.give()
		pass(10*time.Minute + 2*time.Second)
		heard("1: it did not connect within 20m0s")
		pass(time.Second)
		heard("1: it did not connect within 20m0s", "2: the provider is down")
		pass(time.Hour)
		r.close()
		r.open()
		r.l.Adopt(r.rows()[1], r.c, nil, nil)
		r.l.Configure(map[string]Config{"w": r.c})
		pass(time.Hour)
		r.script(func(p *provider) { p.stuck = 0 })
		pass(time.Hour)
		heard("1: it did not connect within 20m0s", "2: the provider is down")
		r.is(latent.Down, 2, r.stops)
		b = r.want("a")
		r.attach()
		r.served(b)
		r.l.Lost("w")
		pass(time.Hour)
		heard("1: it did not connect within 20m0s", "2: the provider is down", "3: its connection was lost and did not come back within 1h0m0s")
	})
}

// A backend learns from the ledger where strays may be.
func TestEnvInstances(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, image := range []string{"a", "b"} {
			b := r.want(image)
			r.attach()
			r.served(b)
			b.give()
			pass(time.Hour)
		}
		refs, err := r.env.Instances(t.Context())
		if want := []latent.Ref{
			{Worker: "w", Attempt: 2, Handle: "h2", Arguments: latent.Arguments{"image": "b"}},
			{Worker: "w", Attempt: 1, Handle: "h1", Arguments: latent.Arguments{"image": "a"}},
		}; err != nil || !reflect.DeepEqual(refs, want) {
			t.Errorf("got %+v, %v; want %+v", refs, err, want)
		}
	})
}

// What the provider runs and the ledger does not know is stopped; the rest is left alone.
func TestReap(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		r.attach()
		r.served(b)
		r.script(func(p *provider) { p.alive[77] = "a" })
		strays, err := r.l.Plan(t.Context())
		if err != nil || len(strays) != 1 || strays[0].Ref.Attempt != 77 {
			t.Fatalf("%+v, %v", strays, err)
		}
		if _, err := r.l.Reap(t.Context()); err != nil || len(r.alive) != 1 {
			t.Errorf("left %v, %v", r.alive, err)
		}
		b.give()
	})
}

// One that is being started has no handle in the ledger yet: a provider that does not say
// which start it is of cannot tell it from a stray one.
func TestReapWhileStarting(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.script(func(p *provider) { p.hold, p.nameless = make(chan struct{}), true })
		b := r.want("a")
		found, err := r.l.Reap(t.Context())
		if err != nil || len(found) != 1 || !found[0].Unsure || len(r.alive) != 1 {
			t.Errorf("%+v, %v; left %v", found, err, r.alive)
		}
		close(r.hold)
		r.attach()
		r.served(b)
		r.script(func(p *provider) { p.alive[77] = "a" })
		found, err = r.l.Reap(t.Context())
		if err != nil || len(found) != 1 || found[0].Unsure || found[0].Ref.Handle != "h77" {
			t.Errorf("%+v, %v", found, err)
		}
		b.give()
	})
}

// The master stops in each state; builds that go on without it keep their instance.
func TestClose(t *testing.T) {
	for _, point := range []string{"down", "starting", "started", "up", "lost", "stopping", "stuck"} {
		t.Run(point, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				if point == "starting" {
					r.script(func(p *provider) { p.hold = make(chan struct{}) })
				}
				if point != "down" {
					b := r.want("a")
					if point != "starting" && point != "started" {
						r.attach()
						r.served(b)
						b.give()
						switch point {
						case "lost":
							r.l.Lost("w")
						case "stopping", "stuck":
							r.script(func(p *provider) { p.stuck = 1 })
							pass(10 * time.Minute)
						}
					}
				}
				if point == "stuck" {
					r.script(func(p *provider) { p.stuck = 2 })
				}
				r.close()
				if left := len(r.alive); (left != 0) != (point == "stuck") {
					t.Errorf("left: %v", r.alive)
				}
			})
		})
	}
	bubble(t, func(t *testing.T, r *rig) {
		b := r.want("a")
		r.attach()
		r.served(b)
		r.close()
		if len(r.alive) != 1 || r.rows()[0].State != state.InstanceUp {
			t.Errorf("the instance of a build that goes on is gone: %v", r.alive)
		}
	})
}
