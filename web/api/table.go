package api

import (
	"context"
	"io"
	"net/http"

	"buildstar/state"
)

const (
	// maxAtOnce is how many rows are read and held at once. A longer answer is read
	// and written in pieces, without holding a transaction while a client reads.
	maxAtOnce = 20_000
	maxPiece  = 2_000
)

// scope narrows a collection to what its path says, within the transaction that
// reads it. none says that no row can match.
type scope func(tx state.ReadTx, r *http.Request, t *topology) (where []state.Filter, none bool, err error)

// everything is the scope of a top-level collection.
func everything(state.ReadTx, *http.Request, *topology) ([]state.Filter, bool, error) {
	return nil, false, nil
}

// collection serves a collection.
func collection[T any](a *API, res *resource[T], within scope) func(r *http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		q, err := res.parseQuery(r.URL.RawQuery)
		if err != nil {
			return answer{}, err
		}
		t, err := a.topology(r.Context())
		if err != nil {
			return answer{}, err
		}
		w := a.world(t, q)
		var rows []T
		var total int64
		whole := true
		err = a.store.View(r.Context(), func(tx state.ReadTx) error {
			where, none, err := within(tx, r, t)
			if err != nil || none || q.none {
				return err
			}
			q.where = append(q.where, where...)
			rows, total, whole, err = readRows(tx, res, q, a.atOnce)
			if err != nil || !whole || res.prepare == nil {
				return err
			}
			return res.prepare(tx, w, rows)
		})
		if err != nil {
			return answer{}, err
		}
		if !whole {
			return streamRows(r.Context(), a, res, w, q, total)
		}
		return answer{body: appendRows(nil, res, w, q.pick, rows, total)}, nil
	}
}

// readRows reads the rows of a query and counts those there would be without its
// limit and offset. whole is false if they are too many to be held.
func readRows[T any](tx state.ReadTx, res *resource[T], q query, atOnce int64) (rows []T, total int64, whole bool, err error) {
	sq := res.storeQuery(q)
	if q.limit < 0 || q.limit > atOnce {
		sq.Limit = atOnce + 1
	}
	if q.limit != 0 {
		if rows, err = res.read(tx, sq); err != nil {
			return nil, 0, false, err
		}
	}
	whole = int64(len(rows)) <= atOnce
	if whole && (q.limit < 0 || int64(len(rows)) < q.limit) && (q.offset == 0 || len(rows) > 0) {
		return rows, q.offset + int64(len(rows)), true, nil
	}
	total, err = tx.Count(res.plural, state.Query{Where: q.where})
	return rows, total, whole, err
}

// storeQuery returns what to ask the store for, all rows at once.
func (s *schema) storeQuery(q query) state.Query {
	sq := state.Query{Where: q.where, Order: q.order, Offset: q.offset, Properties: len(q.properties) > 0}
	if sq.Order == nil {
		sq.Order = s.order
	}
	if q.limit > 0 {
		sq.Limit = q.limit
	}
	return sq
}

// appendRows appends a whole collection: {"builds":[...],"meta":{"total":N}}.
func appendRows[T any](dst []byte, res *resource[T], w *world, pick []string, rows []T, total int64) []byte {
	dst = append(state.AppendString(append(dst, '{'), res.plural), ":["...)
	for i := range rows {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = res.appendPicked(dst, &rows[i], w, pick)
	}
	dst = appendInt(append(dst, `],"meta":{"total":`...), total)
	return append(dst, "}}"...)
}

// streamRows answers with more rows than may be held. They come in the order of
// their ids, a piece per transaction, so that neither memory nor a transaction
// depends on their number; another order would need them all at once.
func streamRows[T any](ctx context.Context, a *API, res *resource[T], w *world, q query, total int64) (answer, error) {
	desc := false
	if len(q.order) > 0 {
		desc = q.order[0].Desc
		if len(q.order) > 1 || q.order[0].Field != res.key {
			return answer{}, badf("%d %s match: give a limit of at most %d, or order by %s", total, res.plural, a.atOnce, res.key)
		}
	}
	q.order = []state.Order{{Field: res.key, Desc: desc}}
	return answer{stream: func(out io.Writer) error {
		buf := append(state.AppendString([]byte{'{'}, res.plural), ":["...)
		left, first := q.limit, true
		base := q.where
		for left != 0 {
			q.limit = a.piece
			if left > 0 {
				q.limit = min(left, a.piece)
			}
			rows, err := readPiece(ctx, a, res, w, q)
			if err != nil {
				return err
			}
			for i := range rows {
				if !first {
					buf = append(buf, ",\n"...)
				}
				first = false
				buf = res.appendPicked(buf, &rows[i], w, q.pick)
			}
			if _, err := out.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
			if int64(len(rows)) < q.limit {
				break
			}
			if left > 0 {
				left -= int64(len(rows))
			}
			op := state.Gt
			if desc {
				op = state.Lt
			}
			last := res.id(&rows[len(rows)-1])
			q.where = append(base[:len(base):len(base)], state.Filter{Field: res.key, Op: op, Values: []any{last}})
			q.offset = 0
		}
		buf = appendInt(append(buf, `],"meta":{"total":`...), total)
		_, err := out.Write(append(buf, "}}\n"...))
		return err
	}}, nil
}

func readPiece[T any](ctx context.Context, a *API, res *resource[T], w *world, q query) (rows []T, err error) {
	err = a.store.View(ctx, func(tx state.ReadTx) error {
		if rows, err = res.read(tx, res.storeQuery(q)); err != nil || res.prepare == nil {
			return err
		}
		return res.prepare(tx, w, rows)
	})
	return rows, err
}

// one serves a single row, which find looks up.
func one[T any](a *API, res *resource[T], find finder[T]) func(r *http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		q, err := res.parseItemQuery(r.URL.RawQuery)
		if err != nil {
			return answer{}, err
		}
		t, err := a.topology(r.Context())
		if err != nil {
			return answer{}, err
		}
		w := a.world(t, q)
		rows := make([]T, 1)
		err = a.store.View(r.Context(), func(tx state.ReadTx) error {
			if rows[0], err = find(tx, r); err != nil {
				return err
			}
			if len(q.properties) > 0 { // again, with what find left out
				again := state.Query{Where: state.Where(res.key, res.id(&rows[0])).Where, Limit: 1, Properties: true}
				if rows[0], err = state.One(res.read(tx, again)); err != nil {
					return err
				}
			}
			if res.prepare == nil {
				return nil
			}
			return res.prepare(tx, w, rows)
		})
		if err != nil {
			return answer{}, err
		}
		body := append(state.AppendString([]byte{'{'}, res.plural), ":["...)
		body = res.appendPicked(body, &rows[0], w, q.pick)
		return answer{body: append(body, `],"meta":{}}`...)}, nil
	}
}

// finder looks up the row that a path names.
type finder[T any] func(tx state.ReadTx, r *http.Request) (T, error)
