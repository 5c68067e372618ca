package latenttest

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/config"
	"buildstar/engine/instance"
	"buildstar/latent"
	"buildstar/state"
	"buildstar/state/sqlite"
)

// life is one worker whose instances a ledger starts and stops.
type life struct {
	*exercise
	*watch
	store  state.Store
	ledger *instance.Ledger
	config instance.Config
	sent   atomic.Int64 // how often a session of the worker was ended
}

// live begins a life with a ledger on a store. An instance that builds nothing is stopped.
func (x *exercise) live(store state.Store, at func(context.Context, point) error) *life {
	l := &life{exercise: x, watch: &watch{Params: x.Params, at: at}, store: store}
	l.ledger = instance.New(instance.Options{
		Store: store, Logger: slog.New(slog.DiscardHandler), Env: x.Env,
		Changed: func(string, instance.Status) {}, Disconnect: func(string, string) { l.sent.Add(1) },
		Backoff: func(int64) time.Duration { return 10 * time.Millisecond },
	})
	l.config = instance.Config{Return: time.Hour, Worker: &config.Worker{Name: "w", Latent: &config.Latent{
		Backend: l.watch, Missing: patience, CheckEvery: time.Hour,
	}}}
	return l
}

// configure changes what the configuration says of the worker.
func (l *life) configure(fn func(*instance.Config, *config.Latent)) {
	c := *l.config.Worker.Latent
	w := *l.config.Worker
	l.config.Worker, w.Latent = &w, &c
	fn(&l.config, &c)
	l.ledger.Configure(map[string]instance.Config{"w": l.config})
}

// use is a build that wants the worker.
type use struct {
	cancel  context.CancelFunc
	done    chan struct{}
	release func()
	err     error
}

// want begins a use, and returns when the ledger knows of it.
func (l *life) want() *use {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.ctx)
	u := &use{cancel: cancel, done: make(chan struct{})}
	in := l.launch("w", 0)
	known := make(chan struct{})
	know := sync.OnceFunc(func() { close(known) })
	go func() {
		defer close(u.done)
		_, u.release, u.err = l.ledger.Want(ctx, instance.Want{
			Config: l.config, Arguments: in.Ref.Arguments, Host: in.Host, Port: in.Port, Properties: in.Properties,
			Phase: func(string, time.Time) { know() },
		})
	}()
	select {
	case <-known:
	case <-u.done:
	}
	return u
}

// over reports whether a use was answered.
func (u *use) over() bool { return closed(u.done) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// is waits until the instance is in a state.
func (l *life) is(s latent.State) {
	l.t.Helper()
	l.wait("the instance is "+s.String(), func() bool {
		got, _ := l.ledger.Status("w")
		return got.State == s
	})
}

// started waits for the reply to a start.
func (l *life) started(u *use) latent.Ref {
	l.t.Helper()
	var ref latent.Ref
	l.wait("an instance is started", func() bool {
		if u.over() && u.err != nil {
			l.t.Fatalf("refused: %v", u.err)
		}
		rows := l.left()
		if len(rows) == 0 || rows[0].Handle == "" {
			return false
		}
		ref = latent.Ref{Worker: "w", Attempt: rows[0].ID, Handle: rows[0].Handle, Arguments: rows[0].Arguments}
		return true
	})
	return ref
}

// serve waits until a use has the worker, which connects.
func (l *life) serve(u *use) {
	l.t.Helper()
	l.ledger.Attached("w")
	<-u.done
	if u.err != nil {
		l.t.Fatalf("refused: %v", u.err)
	}
}

// attached starts an instance for a use and attaches its worker.
func (l *life) attached() *use {
	l.t.Helper()
	u := l.want()
	l.started(u)
	l.serve(u)
	return u
}

// left returns the rows of instances that are not gone.
func (l *life) left() (rows []state.Instance) {
	l.t.Helper()
	if err := l.store.View(context.Background(), func(tx state.ReadTx) (err error) {
		rows, err = tx.Instances(state.Where("gone_at", nil))
		return err
	}); err != nil {
		l.t.Fatal(err)
	}
	return rows
}

// end stops the master, and sees that nothing is left.
func (l *life) end() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, patience)
	defer cancel()
	if left := l.ledger.Close(ctx); len(left) > 0 {
		l.t.Errorf("the master leaves %v", left)
	}
	if rows := l.left(); len(rows) > 0 {
		l.t.Errorf("the ledger still has %+v", rows)
	}
	for _, f := range l.faults() {
		l.t.Error(f)
	}
	l.alive(0)
}

// open opens the store of a master.
func (x *exercise) openStore(dir string) state.Store {
	x.t.Helper()
	store, err := sqlite.Open(context.Background(), filepath.Join(dir, "db"), sqlite.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		x.t.Fatal(err)
	}
	return store
}
