// Package latenttest holds the suite that every backend of latent workers must pass, against
// its real server where there is one (docs/requirements.md A9, D1 pain 2).
package latenttest

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/instance"
	"buildstar/latent"
	"buildstar/state"
	"buildstar/state/sqlite"
)

// patience bounds what the suite waits for.
const patience = 2 * time.Minute

// Subject is a backend under test, whose instances need not connect.
type Subject struct {
	Params latent.Params
	Env    latent.Env // Master is unique to the test
	Props  prop.Props // of a build that an instance can be started for; nil: none
	// Alive returns how many instances of Env.Master the provider itself says there are.
	Alive func(t *testing.T) int
	// Kill ends an instance behind the backend's back; nil: that cannot be done.
	Kill func(t *testing.T, ref latent.Ref)
}

// Exercise runs the suite; each test gets a subject of its own.
func Exercise(t *testing.T, newSubject func(t *testing.T) Subject) {
	tests := []struct {
		name string
		run  func(*exercise)
	}{
		{"an instance lives from start to stop", (*exercise).life},
		{"a stop of nothing succeeds", (*exercise).nothing},
		{"a start whose reply was lost is stopped without a handle", (*exercise).lostReply},
		{"a start that is cut leaves nothing after its stop", (*exercise).cut},
		{"another backend of the same arguments stops it", (*exercise).restart},
		{"instances are told apart", (*exercise).apart},
		{"the provider's list is complete", (*exercise).list},
		{"a dead instance is noticed", (*exercise).dead},
		{"equal builds need equal instances", (*exercise).equal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(begin(t, newSubject(t))) })
	}
	for _, p := range points {
		t.Run("the master is killed "+p.String(), func(t *testing.T) { begin(t, newSubject(t)).killed(p) })
	}
}

// exercise is one test.
type exercise struct {
	t *testing.T
	Subject
	b   latent.Backend
	ctx context.Context
}

func begin(t *testing.T, s Subject) *exercise {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	if s.Props == nil {
		s.Props = &prop.Map{}
	}
	x := &exercise{t: t, Subject: s, ctx: ctx}
	x.b = x.open()
	if n := s.Alive(t); n != 0 {
		t.Fatalf("there are %d instances before the test", n)
	}
	return x
}

func (x *exercise) open() latent.Backend {
	x.t.Helper()
	b, err := x.Params.Open(x.Env)
	if err != nil {
		x.t.Fatal(err)
	}
	return b
}

func (x *exercise) launch(worker string, attempt int64) latent.Launch {
	x.t.Helper()
	arguments, err := x.Params.Render(x.ctx, x.Props)
	if err != nil {
		x.t.Fatal(err)
	}
	settled := make(chan struct{})
	x.t.Cleanup(func() { close(settled) })
	return latent.Launch{
		Ref: latent.Ref{Worker: worker, Attempt: attempt, Arguments: arguments}, Password: "secret", Host: "127.0.0.1", Port: 9,
		Properties: map[string]any{}, Log: func(string) {}, Settled: settled,
	}
}

// start starts an instance and returns how the ledger knows it.
func (x *exercise) start(worker string, attempt int64) latent.Ref {
	x.t.Helper()
	in := x.launch(worker, attempt)
	s, err := x.b.Start(x.ctx, in)
	if err != nil || s.Handle == "" {
		x.t.Fatalf("start: %+v, %v", s, err)
	}
	ref := in.Ref
	ref.Handle = s.Handle
	return ref
}

func (x *exercise) stop(b latent.Backend, ref latent.Ref, fast bool) {
	x.t.Helper()
	if err := b.Stop(x.ctx, ref, fast); err != nil {
		x.t.Fatalf("stop %+v: %v", ref, err)
	}
}

// alive waits until the provider has so many instances: a fast stop may take its time.
func (x *exercise) alive(want int) {
	x.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		n := x.Alive(x.t)
		if n == want {
			return
		}
		select {
		case <-tick.C:
		case <-x.ctx.Done():
			x.t.Fatalf("there are %d instances, want %d", n, want)
		}
	}
}

func (x *exercise) life() {
	for i, fast := range []bool{false, true} {
		ref := x.start("w", int64(i+1))
		x.alive(1)
		x.stop(x.b, ref, fast)
		x.alive(0)
		x.stop(x.b, ref, fast) // again
	}
}

func (x *exercise) nothing() {
	x.stop(x.b, x.launch("w", 1).Ref, false)
	x.stop(x.b, x.launch("w", 1).Ref, true)
}

func (x *exercise) lostReply() {
	ref := x.start("w", 1)
	ref.Handle = ""
	x.stop(x.b, ref, false)
	x.alive(0)
}

func (x *exercise) cut() {
	for i, after := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(x.ctx, after)
		in := x.launch("w", int64(i+1))
		s, err := x.b.Start(ctx, in)
		cancel()
		ref := in.Ref
		if err == nil {
			ref.Handle = s.Handle
		}
		x.stop(x.b, ref, false)
		x.alive(0)
	}
}

func (x *exercise) restart() {
	ref := x.start("w", 1)
	x.stop(x.open(), ref, false)
	x.alive(0)
}

func (x *exercise) apart() {
	a, b := x.start("w", 1), x.start("v", 2)
	x.alive(2)
	if a.Handle == b.Handle {
		x.t.Errorf("both are %q", a.Handle)
	}
	x.stop(x.b, a, false)
	x.alive(1)
	b.Handle = ""
	x.stop(x.b, b, false)
	x.alive(0)
}

func (x *exercise) list() {
	lister, ok := x.b.(latent.Lister)
	if !ok {
		return
	}
	want := []string{x.start("w", 1).Handle, x.start("v", 2).Handle}
	refs, err := lister.List(x.ctx)
	if err != nil {
		x.t.Fatal(err)
	}
	var got []string
	for _, r := range refs {
		got = append(got, r.Handle)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		x.t.Errorf("listed %q, want %q", got, want)
	}
	for _, r := range refs {
		x.stop(x.b, r, false) // without arguments, as the ledger stops what it does not know
	}
	x.alive(0)
}

func (x *exercise) dead() {
	checker, ok := x.b.(latent.Checker)
	if !ok || x.Kill == nil {
		return
	}
	ref := x.start("w", 1)
	if good, message, err := checker.Check(x.ctx, ref); !good || err != nil {
		x.t.Errorf("one that lives: %s, %v", message, err)
	}
	x.Kill(x.t, ref)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if good, _, err := checker.Check(x.ctx, ref); !good || err != nil {
			break
		}
		select {
		case <-tick.C:
		case <-x.ctx.Done():
			x.t.Fatal("one that is dead is good")
		}
	}
	x.stop(x.b, ref, false)
	x.alive(0)
}

func (x *exercise) equal() {
	a, b := x.launch("w", 1), x.launch("w", 2)
	if !a.Ref.Arguments.Equal(b.Ref.Arguments) {
		x.t.Errorf("%v is not %v", a.Ref.Arguments, b.Ref.Arguments)
	}
}

// point is where the master is killed.
type point int

const (
	beforeCreate point = iota
	afterCreate        // before the reply came
	afterHandle        // was written
	afterAttach
	beforeStop
	afterStop // before the reply came
)

var points = []point{beforeCreate, afterCreate, afterHandle, afterAttach, beforeStop, afterStop}

func (p point) String() string {
	return [...]string{"before the create call", "before its reply", "after the handle", "after the worker attached", "before the stop call", "before its reply to a stop"}[p]
}

// mortal is a backend whose master is killed at a point: it never hears of it again.
type mortal struct {
	latent.Backend
	at     point
	killed chan struct{} // closed at the point
	once   func()
}

var errKilled = errors.New("the master was killed")

// reach kills the master if this is the point. A master that was killed calls nothing.
func (m *mortal) reach(ctx context.Context, p point) error {
	select {
	case <-m.killed:
	default:
		if m.at != p {
			return nil
		}
		m.once()
	}
	<-ctx.Done() // until the ledger is thrown away
	return errKilled
}

func (m *mortal) Start(ctx context.Context, in latent.Launch) (latent.Started, error) {
	if err := m.reach(ctx, beforeCreate); err != nil {
		return latent.Started{}, err
	}
	s, err := m.Backend.Start(ctx, in)
	if err == nil {
		err = m.reach(ctx, afterCreate)
	}
	return s, err
}

func (m *mortal) Stop(ctx context.Context, in latent.Ref, fast bool) error {
	if err := m.reach(ctx, beforeStop); err != nil {
		return err
	}
	err := m.Backend.Stop(ctx, in, fast)
	if err == nil {
		err = m.reach(ctx, afterStop)
	}
	return err
}

// mortals opens mortal backends.
type mortals struct {
	latent.Params
	at     point
	killed chan struct{}
}

func (m *mortals) Open(e latent.Env) (latent.Backend, error) {
	b, err := m.Params.Open(e)
	done := make(chan struct{}, 1)
	done <- struct{}{}
	return &mortal{Backend: b, at: m.at, killed: m.killed, once: func() {
		select {
		case <-done:
			close(m.killed)
		default:
		}
	}}, err
}

// grave is the store of a master that was killed: it writes nothing any more.
type grave struct {
	state.Store
	killed <-chan struct{}
}

func (g grave) Update(ctx context.Context, fn func(state.Tx) error) error {
	select {
	case <-g.killed:
		return errKilled
	default:
		return g.Store.Update(ctx, fn)
	}
}

// killed is a life through the ledger whose master is killed at a point. The next one leaves
// nothing with the provider, and no row open.
func (x *exercise) killed(at point) {
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(context.Background(), filepath.Join(x.t.TempDir(), "db"), sqlite.Options{Log: quiet})
	if err != nil {
		x.t.Fatal(err)
	}
	defer store.Close()
	ledger := func(s state.Store) *instance.Ledger {
		return instance.New(instance.Options{
			Store: s, Logger: quiet, Env: x.Env, Changed: func(string, instance.Status) {}, Disconnect: func(string, string) {},
			Backoff: func(int64) time.Duration { return 10 * time.Millisecond },
		})
	}
	worker := func(p latent.Params) instance.Config {
		return instance.Config{Return: time.Hour, Worker: &config.Worker{Name: "w", Latent: &config.Latent{
			Backend: p, Missing: patience, CheckEvery: time.Hour,
		}}}
	}
	dead := make(chan struct{})
	first, c := ledger(grave{store, dead}), worker(&mortals{x.Params, at, dead})
	first.Configure(map[string]instance.Config{"w": c})
	over := make(chan struct{})
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	go func() {
		defer close(over)
		in := x.launch("w", 0)
		_, release, err := first.Want(ctx, instance.Want{Config: c, Arguments: in.Ref.Arguments, Host: in.Host, Port: in.Port, Properties: in.Properties})
		if err == nil {
			if at == afterAttach {
				close(dead)
			}
			release()
		}
	}()
	x.until(store, dead, first, at)
	next, c := ledger(store), worker(x.Params)
	for _, row := range x.left(store) {
		next.Adopt(row, c, nil, nil)
	}
	next.Configure(map[string]instance.Config{"w": c})
	bound, end := context.WithTimeout(x.ctx, patience)
	defer end()
	if left := next.Close(bound); len(left) > 0 {
		x.t.Errorf("the next master leaves %v", left)
	}
	if rows := x.left(store); len(rows) > 0 {
		x.t.Errorf("the ledger still has %+v", rows)
	}
	x.alive(0)
	gone, throw := context.WithCancel(x.ctx)
	throw() // nobody waits for a dead master
	first.Close(gone)
	cancel()
	<-over
}

// until leads the first master to its end.
func (x *exercise) until(store state.Store, dead chan struct{}, first *instance.Ledger, at point) {
	x.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-dead:
			return
		case <-x.ctx.Done():
			x.t.Fatalf("the master was not killed %v", at)
		case <-tick.C:
		}
		rows := x.left(store)
		if len(rows) == 0 || rows[0].Handle == "" {
			continue
		}
		if at == afterHandle {
			close(dead)
			return
		}
		first.Attached("w")
	}
}

func (x *exercise) left(store state.Store) (rows []state.Instance) {
	x.t.Helper()
	if err := store.View(context.Background(), func(tx state.ReadTx) (err error) {
		rows, err = tx.Instances(state.Where("gone_at", nil))
		return err
	}); err != nil {
		x.t.Fatal(err)
	}
	return rows
}
