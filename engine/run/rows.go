package run

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"buildstar/config"
	"buildstar/state"
)

// rows writes what a build has to say about its progress, without waiting for the
// disk (docs/requirements.md, docs/architecture.md section 4: "only acceptance, claim and finish
// wait"). Ids of rows are known once the store's writer came to them, so they are
// futures. Except for done callbacks everything is called by the build's
// goroutine.
type rows struct {
	o       *Order
	mask    *mask
	trouble func(error)
	segment state.LogSegment
	written bool // since the last sync
	batch   []func(state.Tx) error
	steps   []*stepRow
	logs    []*Log
	dirty   atomic.Bool // some row could not be written
	frozen  atomic.Bool // nothing is written any more: the next master goes on
}

// future is an id that the store's writer gives.
type future struct {
	id   atomic.Int64
	once sync.Once
	done chan struct{}
}

func newFuture() *future { return &future{done: make(chan struct{})} }

func (f *future) set(id int64) {
	f.id.Store(id)
	f.once.Do(func() { close(f.done) })
}

// fail says that there will be no id, unless it is there already.
func (f *future) fail() { f.once.Do(func() { close(f.done) }) }

// wait returns the id, or 0 if there will be none.
func (f *future) wait(ctx context.Context) int64 {
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	return f.id.Load()
}

// stepRow is the row of a step, and its id once it has one.
type stepRow struct {
	row state.Step // ID is not used
	id  *future
}

func (s *stepRow) get() state.Step {
	row := s.row
	row.ID = s.id.id.Load()
	return row
}

func newRows(o *Order, mask *mask, trouble func(error)) *rows {
	return &rows{o: o, mask: mask, trouble: trouble}
}

// queue keeps fn for the transaction of the next later.
func (w *rows) queue(fn func(state.Tx) error) { w.batch = append(w.batch, fn) }

// later writes what was queued, and fn. The order of calls is the order of writing.
// The ids that fn gives are failed if it does not come to that.
func (w *rows) later(fn func(state.Tx) error, ids ...*future) {
	if w.frozen.Load() {
		for _, f := range ids {
			f.fail()
		}
		return
	}
	batch := append(w.batch, fn)
	w.batch = nil
	w.o.Store.Defer(func(tx state.Tx) error {
		for _, fn := range batch {
			if err := fn(tx); err != nil {
				w.dirty.Store(true)
				return err
			}
		}
		return nil
	}, func(err error) {
		if err == nil {
			return
		}
		w.dirty.Store(true)
		for _, f := range ids {
			f.fail()
		}
		w.trouble(err)
	})
}

// commit returns when everything so far is on the disk.
func (w *rows) commit(ctx context.Context) error {
	if w.frozen.Load() {
		return errSuspended
	}
	err := w.o.Store.Update(context.WithoutCancel(ctx), func(state.Tx) error { return nil })
	if err == nil && w.dirty.Load() {
		err = errors.New("the master cannot write")
	}
	return err
}

// addStep opens the row of a step.
func (w *rows) addStep(row state.Step) *stepRow {
	row = w.mask.step(row)
	s := &stepRow{row: row, id: newFuture()}
	w.steps = append(w.steps, s)
	w.later(func(tx state.Tx) error {
		id, err := tx.AddStep(row)
		s.id.set(id)
		if err != nil {
			return err
		}
		row.ID = id
		return tx.PutStep(row, "started")
	}, s.id)
	return s
}

// putStep writes a step's row as it is now.
func (w *rows) putStep(s *stepRow, verb string) {
	s.row = w.mask.step(s.row)
	row := s.row
	w.later(func(tx state.Tx) error {
		row.ID = s.id.id.Load()
		return tx.PutStep(row, verb)
	})
}

func (w *rows) setProperties(set state.Properties) {
	set = w.mask.properties(set)
	w.later(func(tx state.Tx) error { return tx.SetProperties(w.o.Row.ID, set) })
}

// open returns the segment for the build's logs.
func (w *rows) open() (state.LogSegment, error) {
	if w.segment == nil {
		s, err := w.openSegment()
		if err != nil {
			return nil, err
		}
		w.segment = s
	}
	return w.segment, nil
}

func (w *rows) openSegment() (state.LogSegment, error) {
	if w.o.Past != nil {
		return w.o.Logs.ReopenBuild(w.o.Row.ID, w.o.Past.logIDs())
	}
	return w.o.Logs.OpenBuild(w.o.Row.ID)
}

// position returns how far what is named was written to the logs.
func (w *rows) position(name string) int64 {
	seg, err := w.open()
	if err != nil {
		return 0 // who appends will be told
	}
	n, _ := seg.Resume(name)
	return n
}

// suspend ends the writing of logs of a build that goes on later.
func (w *rows) suspend() {
	if w.segment == nil {
		return
	}
	if err := w.segment.Suspend(); err != nil {
		w.o.Logger.Warn("close the logs of a build that goes on", "build", w.o.Row.ID, "error", err)
	}
}

// sync makes the logs of the steps so far durable.
func (w *rows) sync() {
	if w.segment == nil || !w.written {
		return
	}
	w.written = false
	if err := w.segment.Sync(); err != nil {
		w.trouble(err)
	}
}

// close ends the writing of logs; rows that were queued are written with the
// outcome if nothing took them along.
func (w *rows) close() {
	if w.segment != nil {
		if err := w.segment.Close(); err != nil {
			w.trouble(err)
		}
	}
	if len(w.batch) > 0 {
		w.later(func(state.Tx) error { return nil })
	}
}

// repair writes again every row of steps and logs if one of them failed. It runs
// on the store's writer, after all that was queued.
func (w *rows) repair(tx state.Tx) error {
	if !w.dirty.Load() {
		return nil
	}
	for _, s := range w.steps {
		if err := w.repairStep(tx, s); err != nil {
			return err
		}
	}
	for _, l := range w.logs {
		if err := w.repairLog(tx, l); err != nil {
			return err
		}
	}
	return nil
}

func (w *rows) repairStep(tx state.Tx, s *stepRow) error {
	row := s.get()
	if !row.Complete {
		row.Complete, row.CompleteAt, row.Results = true, state.Now(), config.Exception
	}
	have, err := tx.Steps(state.Where("buildid", row.BuildID, "number", row.Number))
	if err != nil {
		return err
	}
	if len(have) > 0 {
		row.ID = have[0].ID
	} else if row.ID, err = tx.AddStep(row); err != nil {
		return err
	}
	s.id.set(row.ID)
	return tx.PutStep(row, "finished")
}

func (w *rows) repairLog(tx state.Tx, l *Log) error {
	row := l.get()
	row.Complete = true
	have, err := state.One(tx.Logs(state.Where("logid", row.ID)))
	if err != nil || have.StepID != row.StepID || have.Slug != row.Slug {
		return nil // its text cannot be found without the id it was written under
	}
	return tx.PutLog(row)
}
