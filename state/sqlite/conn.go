package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	sqlite3 "modernc.org/sqlite"
)

// maxStatements bounds the prepared statements of one connection: queries differ by
// fields and by number of values, which outsiders choose.
const maxStatements = 200

// openDB returns a pool whose connections have our settings. Nothing is opened yet.
func openDB(path string, busy time.Duration) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()),
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(1)",
		"cache_size(-8000)",
		"journal_size_limit(67108864)",
	}}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	c, err := sqlite3.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// conn is one connection with its prepared statements. One goroutine uses it at a
// time. Statements run without a context: one that could be cancelled would cost a
// goroutine each.
type conn struct {
	c     *sql.Conn
	stmts *simplelru.LRU[string, *sql.Stmt]
}

func pin(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	stmts, err := simplelru.NewLRU(maxStatements, func(_ string, s *sql.Stmt) { s.Close() })
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &conn{c, stmts}, nil
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts.Get(query); ok {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	c.stmts.Add(query, s)
	return s, nil
}

// exec runs a statement and returns how many rows it changed.
func (c *conn) exec(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// insert runs an INSERT and returns the id of the row.
func (c *conn) insert(query string, args ...any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// scanner is a row, or what stands for one that could not be read.
type scanner interface{ Scan(dest ...any) error }

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

func (c *conn) row(query string, args ...any) scanner {
	s, err := c.prepare(query)
	if err != nil {
		return failed{err}
	}
	return s.QueryRowContext(context.Background(), args...)
}

func (c *conn) query(query string, args ...any) (*sql.Rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.Background(), args...)
}

// script runs several statements that are not worth keeping.
func (c *conn) script(text string) error {
	_, err := c.c.ExecContext(context.Background(), text)
	return err
}

func (c *conn) close() error {
	c.stmts.Purge()
	return c.c.Close()
}
