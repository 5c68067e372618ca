// Package sqlite is the Store on SQLite: one file, WAL, synchronous=FULL.
//
// One goroutine owns the only connection that writes. It runs the functions that
// queued up while the disk was busy in one transaction, each in its own savepoint,
// and commits them together (group commit), so that a busy master needs a small
// part of an fsync per build. Readers have connections of their own, each View a
// snapshot. Events are published after the commit, by the same goroutine, so they
// have the order of the commits.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"buildstar/state"
)

// Options are the ways a Store may differ. The zero Options are good.
type Options struct {
	// Readers is how many Views run at once; others wait. 0: 4.
	Readers int
	// DeferFor is how long what Defer wrote may stay uncommitted. 0: 10 ms.
	DeferFor time.Duration
	// Log gets what has no caller to go to. nil: slog.Default().
	Log *slog.Logger

	busy   time.Duration // how long a lock of another process is waited for
	schema schema        // of tests that are another version of buildstar
}

// Store is a state.Store in a SQLite file.
type Store struct {
	db      *sql.DB
	path    string
	epoch   int64
	bus     *state.Bus
	log     *slog.Logger
	readers chan *conn // idle
	nread   int
	writer  *writer
	closing sync.Once
	closed  chan struct{}
	err     error // of Close
}

// Open opens the store in a file, creating or migrating it. It fails with an error
// that says what to do if the file is locked, damaged, not ours, or written by a
// newer version.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, explain(err))
	}
	return s, nil
}

func open(ctx context.Context, path string, o Options) (_ *Store, err error) {
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.DeferFor == 0 {
		o.DeferFor = 10 * time.Millisecond
	}
	if o.busy == 0 {
		o.busy = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.schema == nil {
		if o.schema, err = ours(); err != nil {
			return nil, err
		}
	}
	if err := o.schema.upgrade(ctx, path, o); err != nil {
		return nil, err
	}
	s := &Store{path: path, log: o.Log, nread: o.Readers, readers: make(chan *conn, o.Readers), closed: make(chan struct{})}
	if s.db, err = openDB(path, o.busy); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.db.Close())
		}
	}()
	w, err := pin(ctx, s.db)
	if err != nil {
		return nil, err
	}
	if err := prepareFile(w, path, o.schema); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if s.epoch, err = nextEpoch(w); err != nil {
		return nil, errors.Join(err, w.close())
	}
	for range o.Readers {
		r, err := pin(ctx, s.db)
		if err == nil {
			_, err = r.exec("PRAGMA query_only=1")
		}
		if err != nil {
			return nil, errors.Join(err, w.close(), s.closeReaders())
		}
		s.readers <- r
	}
	s.bus = state.NewBus(s.epoch)
	s.writer = newWriter(w, s.bus, s.epoch, o)
	return s, nil
}

// nextEpoch returns the epoch of the master that opened the store now; PutMaster
// records it.
func nextEpoch(c *conn) (int64, error) {
	var epoch sql.NullInt64
	if err := c.row("SELECT max(epoch) FROM masters").Scan(&epoch); err != nil {
		return 0, fmt.Errorf("read epoch: %w", err)
	}
	return epoch.Int64 + 1, nil
}

// Update implements state.Store.
func (s *Store) Update(ctx context.Context, fn func(state.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.writer.update(ctx, fn)
}

// Defer implements state.Store. Rows that a failing commit loses are also logged.
func (s *Store) Defer(fn func(state.Tx) error, done func(error)) { s.writer.later(fn, done) }

// After implements state.Store.
func (s *Store) After(fn func()) { s.writer.push(job{after: fn}) }

// View implements state.Store. fn must not call View: it could wait for itself.
func (s *Store) View(ctx context.Context, fn func(state.ReadTx) error) (err error) {
	var c *conn
	select {
	case c = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return state.ErrClosed
	}
	defer func() { s.readers <- c }()
	if _, err := c.exec("BEGIN"); err != nil {
		return fmt.Errorf("begin view: %w", explain(err))
	}
	defer func() {
		if _, rerr := c.exec("COMMIT"); rerr != nil && err == nil {
			err = fmt.Errorf("end view: %w", explain(rerr))
		}
	}()
	return fn(reader{c: c, ctx: ctx})
}

// Subscribe implements state.Store.
func (s *Store) Subscribe(ctx context.Context, patterns ...state.Pattern) *state.Subscription {
	return s.bus.Subscribe(ctx, patterns...)
}

// Resume implements state.Store.
func (s *Store) Resume(ctx context.Context, after state.Position, patterns ...state.Pattern) (*state.Subscription, bool) {
	return s.bus.Resume(ctx, after, patterns...)
}

// Publish implements state.Store. The events come after those of every Update and
// Defer called before.
func (s *Store) Publish(events ...state.Event) { s.writer.publish(events) }

// Position implements state.Store.
func (s *Store) Position() state.Position { return s.bus.Position() }

// Version implements state.Store.
func (s *Store) Version(resource string) uint64 { return s.bus.Version(resource) }

// Close commits what was deferred, waits for running Views, ends the subscriptions
// and closes the file. Later calls answer state.ErrClosed.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.err = s.writer.close()
		s.bus.Close()
		close(s.closed)
		s.err = errors.Join(s.err, s.closeReaders(), s.db.Close())
	})
	<-s.closed
	return s.err
}

// closeReaders closes the connections of readers that were opened, waiting for those
// in use once the store runs.
func (s *Store) closeReaders() error {
	var errs []error
	n := s.nread
	if s.writer == nil {
		n = len(s.readers)
	}
	for range n {
		errs = append(errs, (<-s.readers).close())
	}
	return errors.Join(errs...)
}
