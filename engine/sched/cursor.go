package sched

import (
	"context"
	"fmt"
	"time"

	"buildstar/config"
	"buildstar/state"
)

// cursor is how far a scheduler came: up to which change, and which buildset. It is
// written in the same transaction as what the scheduler did about them, so that nothing
// is done twice or not at all, whenever the master is killed.
type cursor struct {
	Class    string // of the scheduler
	Change   int64
	Buildset int64
	Since    state.Time // when it began to follow
}

const cursorName = "cursor"

// Join has a scheduler begin with what comes after this transaction: it is new in the
// configuration, or was disabled. A scheduler that is still the same goes on where it
// was, unless again is set.
func Join(tx state.Tx, s config.Scheduler, again bool) error {
	var c cursor
	found, err := tx.Recall(s.Key(), cursorName, &c)
	if err == nil && (!found || again || c.Class != s.Type()) {
		c = cursor{Class: s.Type(), Since: state.Now()}
		if c.Change, err = newest(tx.Changes, "changeid", func(c state.Change) int64 { return c.ID }); err == nil {
			c.Buildset, err = newest(tx.Buildsets, "bsid", func(b state.Buildset) int64 { return b.ID })
		}
		if err == nil {
			err = tx.Remember(s.Key(), cursorName, c)
		}
	}
	if err != nil {
		return fmt.Errorf("begin scheduler %q: %w", s.Key().Name, err)
	}
	return nil
}

// newest returns the highest id of a resource, 0 if there is none.
func newest[T any](read func(state.Query) ([]T, error), field string, id func(T) int64) (int64, error) {
	rows, err := read(state.Query{Order: []state.Order{{Field: field, Desc: true}}, Limit: 1})
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return id(rows[0]), nil
}

// after is the query for rows whose id is above n, in order.
func after(field string, n int64, limit int64) state.Query {
	return state.Query{Where: []state.Filter{{Field: field, Op: state.Gt, Values: []any{n}}}, Limit: limit}
}

// effect is what a scheduler does in one transaction.
type effect struct {
	from, to cursor
	sets     []Buildset
	wait     map[int64]bool // changes that wait from now on -> important
	drop     []int64        // changes that wait no longer
	remember map[string]any
	// still, if not nil, reports whether all else is as it was read.
	still func(state.ReadTx) (bool, error)
}

// commit carries an effect out, if it is still the one to be done: the scheduler is
// enabled, and the cursor where it was. It reports whether it was.
func (h Host) commit(ctx context.Context, owner config.Key, e effect) (done bool, err error) {
	err = h.Store.Update(ctx, func(tx state.Tx) error {
		row, err := state.One(tx.Schedulers(state.Where("schedulerid", h.ID)))
		if err != nil || !row.Enabled {
			return err
		}
		var now cursor
		if _, err := tx.Recall(owner, cursorName, &now); err != nil || now != e.from {
			return err
		}
		if e.still != nil {
			if ok, err := e.still(tx); err != nil || !ok {
				return err
			}
		}
		for _, set := range e.sets {
			if err := h.Submit(tx, set); err != nil {
				return err
			}
		}
		if err := tx.AddSchedulerChanges(h.ID, e.wait); err != nil {
			return err
		}
		if err := tx.DropSchedulerChanges(h.ID, e.drop...); err != nil {
			return err
		}
		for name, v := range e.remember {
			if err := tx.Remember(owner, name, v); err != nil {
				return err
			}
		}
		if e.to != e.from {
			if err := tx.Remember(owner, cursorName, e.to); err != nil {
				return err
			}
		}
		if len(e.sets) > 0 {
			row.Error, row.ErrorAt = "", 0
		}
		if len(e.sets)+len(e.wait)+len(e.drop)+len(e.remember) > 0 {
			row.ActedAt = state.Now() // those who watch it look again
		}
		done = true
		_, err = tx.PutScheduler(row)
		return err
	})
	return done, err
}

// unless returns next, or now if an effect was not carried out: then there is
// something else to do.
func unless(done bool, next time.Time) time.Time {
	if !done {
		return time.Now()
	}
	return next
}
