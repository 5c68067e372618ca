package dist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
)

// Start is a request that was given to a worker. Whoever gets it claims the
// request with Open and says how that went: Opened or Refused, then Finished.
type Start struct {
	Ticket  run.Ticket // the locks of the worker, and the builder's plain ones, are held under it
	Request state.BuildRequest
	Builder string
	Worker  string
}

// Options are what a Distributor needs.
type Options struct {
	Store  state.Store
	Locks  *run.Locks
	Logger *slog.Logger
	// Start is told of every decision. It is called by the distributor's goroutine and
	// must not wait.
	Start func(Start)
	// Drained is told when a worker that is graceful has no builds, once for each time
	// it becomes so. It is called by the distributor's goroutine and must not wait.
	Drained func(worker string)
	// Fit says how the instance of a latent worker suits a request; nil: each suits all. It is
	// called by the distributor's goroutine and must not wait: it may say Asking, and then call
	// Answered.
	Fit func(r state.BuildRequest, worker string) Fit
	// Backoff is how long a request waits after its n-th RETRY; nil: 1, 2, 4 ... s.
	Backoff func(retries int64) time.Duration
}

// Distributor keeps the index of waiting requests and decides, whenever something
// happened, which of them start. One goroutine, Run, owns its state; the other
// methods leave it a message and return at once, unless they say otherwise.
type Distributor struct {
	o    Options
	mail mailbox

	index    *index
	workers  map[string]*Worker
	builders map[int64]*configured
	byName   map[string]int64
	serves   map[string][]int64 // worker -> ids of its builders
	locking  []int64            // builders whose builds hold locks from their start
	places   map[run.Ticket]*place
	on       map[string][]run.Ticket // by worker
	hints    map[int64]hint          // requests about to come back

	all     bool // every builder must be looked at
	dirty   map[int64]bool
	nextDue state.Time

	stopping bool
	fullAt   state.Time
	tickets  run.Ticket
	uses     uint64
}

// configured is a builder of the configuration.
type configured struct {
	Builder
	collapse bool
}

// place is a build that was started and has not finished.
type place struct {
	start   Start
	BuildID int64
	Number  int64
	Since   state.Time
}

// hint is what is known of a request that comes back after a RETRY.
type hint struct {
	delay time.Duration
	avoid string
}

// New returns a distributor that knows no configuration and no workers yet.
func New(o Options) *Distributor {
	if o.Backoff == nil {
		o.Backoff = backoff
	}
	return &Distributor{
		o: o, mail: newMailbox(), index: newIndex(),
		workers: map[string]*Worker{}, builders: map[int64]*configured{}, byName: map[string]int64{},
		serves: map[string][]int64{}, places: map[run.Ticket]*place{}, on: map[string][]run.Ticket{},
		hints: map[int64]hint{}, dirty: map[int64]bool{},
	}
}

// backoff doubles from one second to a minute.
func backoff(retries int64) time.Duration {
	return min(time.Second<<min(max(retries-1, 0), 6), time.Minute)
}

// Run decides until ctx ends. It loads the waiting requests from state and then
// follows the events; when it falls behind it loads them again.
func (d *Distributor) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		sub := d.o.Store.Subscribe(ctx, "buildrequests/*/*")
		if err := d.load(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("load waiting requests: %w", err)
		}
		d.all = true
		d.follow(ctx, sub)
		if err := sub.Err(); ctx.Err() == nil && !errors.Is(err, state.ErrSlow) {
			return fmt.Errorf("follow requests: %w", err)
		}
	}
	return nil
}

// load builds the index anew from state.
func (d *Distributor) load(ctx context.Context) error {
	var rows []state.BuildRequest
	err := d.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
		rows, err = tx.BuildRequests(state.Where("claimed", false, "complete", false))
		return err
	})
	if err != nil {
		return err
	}
	old := d.index
	d.index = newIndex()
	for _, row := range rows {
		e := newEntry(row)
		if was := old.byID[row.ID]; was != nil {
			e.NotBefore, e.Avoid = was.NotBefore, was.Avoid
		}
		d.index.add(e)
	}
	return nil
}

func newEntry(row state.BuildRequest) *entry {
	return &entry{row: row, Request: Request{ID: row.ID, BuilderID: row.BuilderID, Priority: row.Priority, SubmittedAt: row.SubmittedAt}}
}

func (d *Distributor) follow(ctx context.Context, sub *state.Subscription) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.round()
		if d.nextDue != 0 {
			timer.Reset(max(time.Until(d.nextDue.Time()), time.Millisecond))
		}
		select {
		case <-d.mail.signal:
			d.mail.drain()
		case e, ok := <-sub.C:
			if !ok {
				return
			}
			d.mail.drain() // what was said before the event was published
			d.event(ctx, e)
			d.more(ctx, sub)
		case <-timer.C:
			d.all, d.nextDue = true, 0
		case <-ctx.Done():
			return
		}
	}
}

// more takes the events that are waiting already, so that a burst makes one round.
func (d *Distributor) more(ctx context.Context, sub *state.Subscription) {
	for range 256 {
		select {
		case e, ok := <-sub.C:
			if !ok {
				return
			}
			d.mail.drain()
			d.event(ctx, e)
		default:
			return
		}
	}
}

// event keeps the index in step with the rows.
func (d *Distributor) event(ctx context.Context, e state.Event) {
	row, ok := e.Row.(state.BuildRequest)
	if !ok {
		return
	}
	if row.Claimed || row.Complete {
		d.index.remove(row.ID)
		if row.Complete {
			delete(d.hints, row.ID) // it was given up, or cancelled: it does not come back
		}
		return
	}
	was := d.index.byID[row.ID]
	if was != nil && was.row == row {
		return
	}
	n := newEntry(row)
	if was != nil {
		n.NotBefore, n.Avoid, n.key = was.NotBefore, was.Avoid, was.key
	}
	if h, ok := d.hints[row.ID]; ok {
		delete(d.hints, row.ID)
		n.Avoid = h.avoid
		if h.delay > 0 {
			n.NotBefore = state.At(time.Now().Add(h.delay))
		}
	}
	d.index.add(n)
	d.dirty[row.BuilderID] = true
	if was == nil {
		d.collapse(ctx, n)
	}
}

// round looks at the builders for which something changed and carries out what
// assign decides.
func (d *Distributor) round() {
	if !d.all && len(d.dirty) == 0 {
		return
	}
	v := d.view()
	if d.all {
		for id := range d.index.builders {
			d.look(&v, id)
		}
	} else {
		for id := range d.dirty {
			d.look(&v, id)
		}
	}
	d.all = false
	clear(d.dirty)
	assignments, _ := assign(&v)
	for _, a := range assignments {
		d.start(a)
	}
}

// look adds a builder to the view if it is configured and has requests.
func (d *Distributor) look(v *View, id int64) {
	b := d.builders[id]
	if b == nil || d.index.builders[id] == nil {
		return
	}
	if next := d.index.due(id, v.Now); next != 0 && (d.nextDue == 0 || next < d.nextDue) {
		d.nextDue = next
	}
	v.Builders = append(v.Builders, b.Builder)
}

func (d *Distributor) view() View {
	v := View{Now: state.Now(), Stopping: d.stopping, DiskFull: d.fullAt, Workers: d.workers}
	if len(d.locking) > 0 {
		s := d.o.Locks.State()
		v.Locks = &s
	}
	if d.o.Fit != nil {
		v.Fit = func(r *Request, worker string) Fit { return d.o.Fit(d.index.byID[r.ID].row, worker) }
	}
	return v
}

// start carries out one decision.
func (d *Distributor) start(a Assignment) {
	d.tickets++
	t := d.tickets
	if _, ok := d.o.Locks.Try(t, "a build of "+a.Builder, a.Locks, a.Worker); !ok {
		return // a step was faster; its release looks again
	}
	e := d.index.remove(a.Request.ID)
	d.uses++
	d.workers[a.Worker].LastUsed = d.uses
	p := &place{start: Start{Ticket: t, Request: e.row, Builder: a.Builder, Worker: a.Worker}, Since: state.Now()}
	d.places[t] = p
	d.refresh(a.Worker, func(ts []run.Ticket) []run.Ticket { return append(ts, t) })
	d.o.Start(p.start)
}

// refresh changes which builds are on a worker, oldest first. The view reads the
// list, so it is made anew.
func (d *Distributor) refresh(worker string, change func([]run.Ticket) []run.Ticket) {
	ts := change(d.on[worker])
	if len(ts) == 0 {
		delete(d.on, worker)
	} else {
		d.on[worker] = ts
	}
	w := d.workers[worker]
	if w == nil {
		return
	}
	w.Running = make([]Place, len(ts))
	for i, t := range ts {
		p := d.places[t]
		w.Running[i] = Place{Builder: p.start.Builder, BuildID: p.BuildID, Number: p.Number, Since: p.Since}
	}
}

func (d *Distributor) mark(worker string) {
	for _, id := range d.serves[worker] {
		d.dirty[id] = true
	}
}

// Configure makes a new configuration the one to decide by. ids are the rows of
// its builders.
func (d *Distributor) Configure(s *config.Snapshot, ids map[string]int64) {
	d.mail.post(func() { d.configure(s, ids) })
}
