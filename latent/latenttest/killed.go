package latenttest

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"buildstar/config"
	"buildstar/engine/instance"
	"buildstar/latent"
	"buildstar/state"
	"buildstar/state/sqlite"
)

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
