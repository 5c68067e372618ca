package run

import (
	"errors"
	"time"

	"buildstar/conn"
	"buildstar/state"
)

// contact is what a build knows of its worker. Its fields are guarded by Build.mu, but
// held, which belongs to the build's goroutine once taken.
type contact struct {
	session conn.Session  // nil: the worker is away
	changed chan struct{} // closed when session changes
	fresh   bool          // held of the session was not taken yet
	away    string        // what the page says meanwhile
	said    string        // what it would say otherwise
	leaving bool          // the master stops: that the session ends is not an interruption yet
}

// meet notes a session of the worker.
func (b *Build) meet(s conn.Session) {
	b.mu.Lock()
	b.contact.session, b.contact.fresh, b.contact.away = s, true, ""
	close(b.contact.changed)
	b.contact.changed = make(chan struct{})
	b.info = s.Info()
	said := b.contact.said
	b.mu.Unlock()
	now := state.Now()
	b.show(said, func(tx state.Tx) error { return tx.EndInterruption(b.o.Row.ID, now) })
}

// part notes that the worker is away, and why its session ended.
func (b *Build) part(why error) {
	at := max(lastTouch(state.Now(), why), b.o.Row.StartedAt)
	b.away("out of touch with worker "+b.o.Worker.Name+" since "+at.Time().UTC().Format("2006-01-02 15:04:05 MST"), state.WorkerAway, at)
}

// lastTouch is when a worker whose session has ended now was last heard of.
func lastTouch(now state.Time, why error) state.Time {
	var silence conn.Silence
	if errors.As(why, &silence) {
		now -= state.Time(time.Duration(silence).Milliseconds())
	}
	return now
}

// awake notes that the master was away, and the worker is not back yet.
func (b *Build) awake() {
	if len(b.o.Past.Logs) > 0 {
		_, _ = b.rows.open() // which cuts off what was not whole; who appends is told what is wrong
	}
	b.away("master restarted, worker "+b.o.Worker.Name+" still building", state.MasterAway, max(b.o.Past.Alive, b.o.Row.StartedAt))
}

func (b *Build) away(text, cause string, since state.Time) {
	b.mu.Lock()
	b.contact.session, b.contact.away = nil, text
	leaving := b.contact.leaving
	b.mu.Unlock()
	if leaving {
		return
	}
	b.show(text, func(tx state.Tx) error {
		i := state.Interruption{BuildID: b.o.Row.ID, Cause: cause, StartedAt: since, Lines: map[int64]int64{}}
		logs, err := tx.Logs(state.Where("buildid", i.BuildID, "complete", false))
		for _, l := range logs {
			n, err := b.o.Logs.NumLines(i.BuildID, l.ID)
			if err != nil && !errors.Is(err, state.ErrNotFound) { // nothing was written yet
				return err
			}
			i.Lines[l.ID] = n
		}
		if err != nil {
			return err
		}
		return tx.AddInterruption(i)
	})
}

// show writes what goes with a change of the build's state string, and that; say is for the
// build's own goroutine.
func (b *Build) show(text string, with func(state.Tx) error) {
	b.o.Store.Defer(func(tx state.Tx) error {
		row, err := state.One(tx.Builds(state.Where("buildid", b.o.Row.ID)))
		if err != nil || row.Complete {
			return err
		}
		if err := with(tx); err != nil || text == "" || row.StateString == text {
			return err
		}
		row.StateString = text
		return tx.PutBuild(row, "update")
	}, nil)
}

// Leave says that the master is about to stop: the session will be ended by it.
func (b *Build) Leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.contact.leaving = true
}
