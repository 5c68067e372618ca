package state

// Query selects rows of one resource. Field names are those of the REST API (the
// JSON names of the row); times in filters are seconds, as they are there. An
// unknown field or operator is an error that names the fields there are.
type Query struct {
	Where      []Filter // all must hold
	Order      []Order
	Limit      int64 // 0: all
	Offset     int64
	Properties bool // builds: read their properties too
}

// Op is a comparison.
type Op string

const (
	Eq       Op = "eq"
	Ne       Op = "ne"
	Lt       Op = "lt"
	Le       Op = "le"
	Gt       Op = "gt"
	Ge       Op = "ge"
	Contains Op = "contains" // a substring, or an element of a list
)

// Filter holds for a row whose field compares so to any of the values (all of them
// for Ne). Values are string, int64, float64, bool or nil. The fields that are not
// REST's but may be filtered on: builders, workers, schedulers "active"; builds
// "generation"; changes and buildsets "ssid", which only eq compares for buildsets;
// logs "buildid"; buildsets "parent_step"; buildrequests "retries".
type Filter struct {
	Field  string
	Op     Op
	Values []any
}

// Order sorts by a field; rows equal in every field come by id.
type Order struct {
	Field string
	Desc  bool
}

// Where returns the query for rows whose fields equal the values: pairs of field
// and value.
func Where(pairs ...any) Query {
	var q Query
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Where = append(q.Where, Filter{Field: pairs[i].(string), Op: Eq, Values: []any{pairs[i+1]}})
	}
	return q
}

// One returns the only row of a query, or ErrNotFound: One(tx.Builds(Where("buildid", id))).
func One[T any](rows []T, err error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	if len(rows) == 0 {
		return zero, ErrNotFound
	}
	return rows[0], nil
}

// ChangesOf returns the changes that source stamps were made with, by id.
func ChangesOf(tx ReadTx, stamps []SourceStamp) ([]Change, error) {
	if len(stamps) == 0 {
		return nil, nil
	}
	ids := make([]any, len(stamps))
	for i, s := range stamps {
		ids[i] = s.ID
	}
	return tx.Changes(Query{Where: []Filter{{Field: "ssid", Op: Eq, Values: ids}}})
}
