package dist

import (
	"errors"
	"slices"
	"time"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
)

// configure derives everything from the new snapshot; no relation of workers and
// builders outlives it (docs/requirements.md D1 pain 5).
func (d *Distributor) configure(s *config.Snapshot, ids map[string]int64) {
	d.builders, d.byName = make(map[int64]*configured, len(s.Builders)), ids
	d.serves = make(map[string][]int64, len(s.Workers))
	d.locking = nil
	for _, b := range s.Builders {
		id := ids[b.Name]
		c := &configured{Builder: Builder{ID: id, Name: b.Name, Workers: b.Workers}, collapse: s.Master.CollapseRequests}
		if b.CollapseRequests != nil {
			c.collapse = *b.CollapseRequests
		}
		if locks, plain := b.Locks.Plain(); plain && len(locks) > 0 {
			c.Locks = locks
		}
		locking := func(w string) bool { return len(s.Worker(w).Locks) > 0 }
		if len(c.Locks) > 0 || slices.ContainsFunc(b.Workers, locking) {
			d.locking = append(d.locking, id)
		}
		c.Queue = func(yield func(*Request) bool) { d.index.requests(id)(yield) }
		d.builders[id] = c
		for _, w := range b.Workers {
			d.serves[w] = append(d.serves[w], id)
		}
	}
	workers := make(map[string]*Worker, len(s.Workers))
	for _, w := range s.Workers {
		have := d.workers[w.Name]
		if have == nil {
			have = &Worker{Name: w.Name}
		}
		have.MaxBuilds, have.Locks, have.Latent = w.MaxBuilds, w.Locks, w.Latent != nil
		have.Varies = w.Latent != nil && w.Latent.MayBeIncompatible
		workers[w.Name] = have
	}
	d.workers = workers
	for name := range workers {
		d.refresh(name, same)
	}
	d.all = true
}

// Status is what the master knows of a worker's readiness.
type Status struct {
	Connected, Settling bool
	ChangedAt           state.Time
	Paused              bool
	PauseReason         string
	PausedBy            string
	PausedAt            state.Time
	Graceful            bool
	Quarantine          state.Quarantine
	Instance            Instance
}

// SetWorker says how a worker is now.
func (d *Distributor) SetWorker(name string, s Status) {
	d.mail.post(func() {
		w := d.workers[name]
		if w == nil {
			return
		}
		w.Connected, w.Settling, w.ChangedAt, w.Graceful = s.Connected, s.Settling, s.ChangedAt, s.Graceful
		w.Paused, w.PauseReason, w.PausedBy, w.PausedAt = s.Paused, s.PauseReason, s.PausedBy, s.PausedAt
		w.Quarantine, w.Instance = s.Quarantine, s.Instance
		d.mark(name)
		d.drain(w)
	})
}

// drain says that a worker that shall exit can.
func (d *Distributor) drain(w *Worker) {
	idle := w.Connected && !w.Settling && w.Graceful && len(d.on[w.Name]) == 0
	if idle && !w.drained {
		d.o.Drained(w.Name)
	}
	w.drained = idle
}

// Adopt says that a build runs that an earlier run of the master started. Its ticket is
// of the caller's choice, from 1<<62 on; Finished ends it.
func (d *Distributor) Adopt(s Start, b state.Build) {
	d.mail.post(func() {
		d.places[s.Ticket] = &place{start: s, BuildID: b.ID, Number: b.Number, Since: b.StartedAt}
		d.refresh(s.Worker, func(ts []run.Ticket) []run.Ticket { return append(ts, s.Ticket) })
	})
}

// Opened says that a started build has its row.
func (d *Distributor) Opened(t run.Ticket, b state.Build) {
	d.mail.post(func() {
		if p := d.places[t]; p != nil {
			p.BuildID, p.Number, p.Since = b.ID, b.Number, b.StartedAt
			d.refresh(p.start.Worker, same)
		}
	})
}

// Refused says that a started build could not be opened. The request is tried
// again unless it is gone (state.ErrNotFound).
func (d *Distributor) Refused(t run.Ticket, err error) {
	d.mail.post(func() {
		p := d.places[t]
		if p == nil {
			return
		}
		d.leave(t, p)
		if !errors.Is(err, state.ErrNotFound) && d.index.byID[p.start.Request.ID] == nil {
			e := newEntry(p.start.Request)
			e.NotBefore = state.At(time.Now().Add(time.Second))
			d.index.add(e)
			d.dirty[e.BuilderID] = true
		}
	})
}

// Retrying says that a request is about to be given back because its build ended
// RETRY. Call it before the row changes. again means that the build was
// interrupted for the master's sake: no delay, no other worker preferred.
func (d *Distributor) Retrying(r state.BuildRequest, worker string, again bool) {
	h := hint{}
	if !again {
		h = hint{delay: d.o.Backoff(r.Retries + 1), avoid: worker}
	}
	d.mail.post(func() { d.hints[r.ID] = h })
}

// Finished says that a build is over and its rows are written.
func (d *Distributor) Finished(t run.Ticket) {
	d.mail.post(func() {
		if p := d.places[t]; p != nil {
			d.leave(t, p)
		}
	})
}

// leave frees the place of a build.
func (d *Distributor) leave(t run.Ticket, p *place) {
	d.refresh(p.start.Worker, func(ts []run.Ticket) []run.Ticket {
		return slices.DeleteFunc(ts, func(o run.Ticket) bool { return o == t })
	})
	delete(d.places, t)
	d.mark(p.start.Worker)
	if w := d.workers[p.start.Worker]; w != nil {
		d.drain(w)
	}
	d.o.Locks.ReleaseAll(t)
}

// LocksFreed says that some lock was released. It may be called by the
// distributor itself.
func (d *Distributor) LocksFreed() {
	d.mail.post(func() {
		for _, id := range d.locking {
			d.dirty[id] = true
		}
	})
}

// Answered says that Options.Fit has an answer for a request of a builder which it had not.
func (d *Distributor) Answered(builderID int64) {
	d.mail.post(func() { d.dirty[builderID] = true })
}

// SetStopping ends the starting of builds.
func (d *Distributor) SetStopping() { d.mail.post(func() { d.stopping = true }) }

// SetDiskFull says whether the master can write. While it cannot no build starts.
func (d *Distributor) SetDiskFull(since state.Time) {
	d.mail.post(func() {
		d.fullAt = since
		d.all = true
	})
}

func same(ts []run.Ticket) []run.Ticket { return ts }
