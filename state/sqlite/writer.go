package sqlite

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/state"
)

// maxGroup bounds the transactions of one commit, and so how long the first of them
// waits.
const maxGroup = 500

// writer owns the connection that writes. Its goroutine runs what is queued in one
// transaction after the other.
type writer struct {
	c        *conn
	bus      *state.Bus
	epoch    int64
	log      *slog.Logger
	deferFor time.Duration
	running  atomic.Bool // a caller's function runs
	commits  atomic.Int64
	signal   chan struct{}
	stopped  chan struct{}

	mu     sync.Mutex
	queue  []job
	busy   bool // work is taken from the queue and its events not yet published
	closed bool
}

// job is one thing to do for the writer: a transaction that somebody waits for
// (answer), a deferred one (done), or what comes after those: events without rows, or a
// function.
type job struct {
	ctx    context.Context
	fn     func(state.Tx) error
	answer chan error
	done   func(error)
	events []state.Event
	after  func()
}

func newWriter(c *conn, bus *state.Bus, epoch int64, o Options) *writer {
	w := &writer{
		c: c, bus: bus, epoch: epoch, log: o.Log, deferFor: o.DeferFor,
		signal: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	go w.run()
	return w
}

func (w *writer) update(ctx context.Context, fn func(state.Tx) error) error {
	if w.running.Load() && onWriter() {
		panic("state: Update inside the function of an Update would wait for itself; do it after")
	}
	j := job{ctx: ctx, fn: fn, answer: make(chan error, 1)}
	if !w.push(j) {
		return state.ErrClosed
	}
	return <-j.answer
}

func (w *writer) later(fn func(state.Tx) error, done func(error)) {
	if !w.push(job{ctx: context.Background(), fn: fn, done: done}) && done != nil {
		done(state.ErrClosed)
	}
}

// publish sends events at once if nothing is on its way to the disk, and in their
// turn if something is.
func (w *writer) publish(events []state.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.busy && len(w.queue) == 0 {
		w.bus.Publish(events...)
		return
	}
	w.queue = append(w.queue, job{events: events})
	w.wake()
}

func (w *writer) push(j job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.queue = append(w.queue, j)
	w.wake()
	return true
}

func (w *writer) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// close does what is queued, then ends the writer.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.wake()
	w.mu.Unlock()
	<-w.stopped
	return w.c.close()
}

// run is the writer's goroutine. A group that somebody waits for is committed as soon
// as the queue is empty; one that nobody waits for after deferFor.
func (w *writer) run() {
	defer close(w.stopped)
	var g group
	timer := time.NewTimer(w.deferFor)
	timer.Stop()
	for {
		jobs, closed := w.take(len(g.jobs) > 0)
		if len(jobs) > 0 && len(g.jobs) == 0 {
			timer.Reset(w.deferFor)
		}
		for _, j := range jobs {
			w.do(&g, j)
			if len(g.jobs) >= maxGroup {
				w.commit(&g)
			}
		}
		if g.waited || closed {
			w.commit(&g)
		}
		if closed && len(jobs) == 0 {
			return
		}
		if len(jobs) > 0 {
			continue // more may have come meanwhile
		}
		select {
		case <-w.signal:
		case <-timer.C:
			w.commit(&g)
		}
	}
}

// take empties the queue. holding says that work of earlier calls is not published.
func (w *writer) take(holding bool) (jobs []job, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs, w.queue = w.queue, nil
	w.busy = holding || len(jobs) > 0
	return jobs, w.closed
}

// group is the transactions that will be committed together.
type group struct {
	jobs   []job // done and not committed, or events that must come after those
	open   bool  // a transaction is open
	waited bool  // somebody waits for the commit
}

// do runs one job inside the group's transaction.
func (w *writer) do(g *group, j job) {
	if j.fn == nil {
		if len(g.jobs) == 0 {
			w.passed(j)
		} else {
			g.jobs = append(g.jobs, j)
		}
		return
	}
	if err := j.ctx.Err(); err != nil {
		j.finish(err)
		return
	}
	if !g.open {
		if err := w.begin(); err != nil {
			j.finish(fmt.Errorf("begin: %w", explain(err)))
			return
		}
		g.open = true
	}
	t := &tx{reader: reader{c: w.c, ctx: context.Background()}, epoch: w.epoch}
	if _, err := w.c.exec("SAVEPOINT one"); err != nil {
		w.fail(g, explain(err))
		j.finish(explain(err))
		return
	}
	if err := explain(w.call(t, j.fn)); err != nil {
		w.undo(g, err)
		j.finish(err)
		return
	}
	if _, err := w.c.exec("RELEASE one"); err != nil {
		w.fail(g, explain(err))
		j.finish(explain(err))
		return
	}
	j.events = t.events
	g.jobs = append(g.jobs, j)
	if j.answer != nil {
		g.waited = true
	} else if j.done != nil {
		j.done(nil)
	}
}

// begin opens a transaction, ending one that a failure may have left.
func (w *writer) begin() error {
	_, err := w.c.exec("BEGIN IMMEDIATE")
	if err == nil {
		return nil
	}
	if _, rerr := w.c.exec("ROLLBACK"); rerr != nil {
		return err
	}
	_, err = w.c.exec("BEGIN IMMEDIATE")
	return err
}

// undo takes back one function. SQLite itself ends the whole transaction on some
// errors (a full disk): then everything in the group is lost.
func (w *writer) undo(g *group, cause error) {
	_, err := w.c.exec("ROLLBACK TO one")
	if err == nil {
		_, err = w.c.exec("RELEASE one")
	}
	if err != nil {
		w.fail(g, cause)
	}
}

// fail ends the group's transaction and answers everyone in it with the cause.
func (w *writer) fail(g *group, cause error) {
	if _, err := w.c.exec("ROLLBACK"); err != nil {
		w.log.Debug("roll back", "error", err) // SQLite did it already
	}
	lost := 0
	for _, j := range g.jobs {
		switch {
		case j.answer != nil:
			j.answer <- cause
		case j.fn != nil:
			lost++
			j.finish(cause)
		default:
			w.passed(j)
		}
	}
	if lost > 0 {
		w.log.Error("the database lost deferred writes", "transactions", lost, "error", cause)
	}
	*g = group{jobs: g.jobs[:0]}
}

// commit makes the group durable, publishes its events and answers.
func (w *writer) commit(g *group) {
	if g.open {
		if _, err := w.c.exec("COMMIT"); err != nil {
			w.fail(g, fmt.Errorf("commit: %w", explain(err)))
			return
		}
		w.commits.Add(1)
	}
	for i, j := range g.jobs {
		w.passed(j)
		if j.answer != nil {
			j.answer <- nil
		}
		g.jobs[i] = job{}
	}
	*g = group{jobs: g.jobs[:0]}
}

// passed says what follows from a job once all before it is durable.
func (w *writer) passed(j job) {
	w.bus.Publish(j.events...)
	if j.after != nil {
		j.after()
	}
}

func (j job) finish(err error) {
	if j.answer != nil {
		j.answer <- err
	} else if j.done != nil {
		j.done(err)
	}
}

// call runs a caller's function; a panic becomes its error.
func (w *writer) call(t *tx, fn func(state.Tx) error) (err error) {
	w.running.Store(true)
	defer func() {
		w.running.Store(false)
		t.c = nil // whoever kept t finds out
		if v := recover(); v != nil {
			err = fmt.Errorf("transaction panicked: %v", v)
			w.log.Error("transaction panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	return fn(t)
}

// onWriter reports whether the calling goroutine is a writer's, by looking for call
// on its stack. It is a best effort: it sees 100 frames.
func onWriter() bool {
	var pcs [100]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function == callName {
			return true
		}
		if !more {
			return false
		}
	}
}

const callName = "buildstar/state/sqlite.(*writer).call"
