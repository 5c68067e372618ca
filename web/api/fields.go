package api

import (
	"buildstar/state"
)

// kind is the type of a field: how its values are written in a query, and which
// comparisons make sense.
type kind string

const (
	kindInt    kind = "integer"
	kindText   kind = "string"
	kindBool   kind = "boolean"
	kindTime   kind = "datetime" // whole seconds since 1970
	kindList   kind = "list"     // of strings; "contains" asks for an element
	kindObject kind = "object"   // can be selected, not compared
)

// column is what a query may know of a field.
type column struct {
	name     string
	kind     kind
	nullable bool
	// derived turns a comparison of a field that is not stored into comparisons of
	// fields that are. none says that no row can match.
	derived func(f state.Filter) (filters []state.Filter, none bool, err error)
}

// sortable reports whether a query may order by the field.
func (c *column) sortable() bool {
	return c.kind != kindObject && c.kind != kindList && c.derived == nil
}

// schema is what a query may know of one kind of rows: from it queries are checked
// and application.spec is made. Its columns are the members of the row's JSON.
type schema struct {
	name, plural string // "build", "builds": the type, and the key of the answer
	key          string // the id field
	order        []state.Order
	columns      []column
	properties   bool // the parameter "property" is known
}

// resource is one kind of rows of the REST API.
type resource[T any] struct {
	schema
	read func(state.ReadTx, state.Query) ([]T, error)
	id   func(*T) int64
	// append appends a row as a JSON object.
	append func(dst []byte, r *T, w *world) []byte
	// prepare reads what rows need beside themselves. Optional.
	prepare func(tx state.ReadTx, w *world, rows []T) error
}

// column returns the index of a column by name, or -1.
func (s *schema) column(name string) int {
	for i := range s.columns {
		if s.columns[i].name == name {
			return i
		}
	}
	return -1
}

// names returns the names of the columns.
func (s *schema) names() []string {
	names := make([]string, len(s.columns))
	for i := range s.columns {
		names[i] = s.columns[i].name
	}
	return names
}

// appendPicked appends a row with only the fields that were asked for, in the
// order they were asked for; nil is all.
func (res *resource[T]) appendPicked(dst []byte, r *T, w *world, pick []string) []byte {
	if pick == nil {
		return res.append(dst, r, w)
	}
	members := members(res.append(nil, r, w))
	dst = append(dst, '{')
	for i, name := range pick {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(state.AppendString(dst, name), ':'), members[name]...)
	}
	return append(dst, '}')
}

// members splits a compact JSON object that we wrote into its members. Their names
// have no escapes.
func members(object []byte) map[string][]byte {
	out := map[string][]byte{}
	for i := 1; i < len(object)-1; i++ { // i is at the quote of a name
		name := i + 1
		for i = name; object[i] != '"'; i++ {
		}
		start := i + 2
		end := valueEnd(object, start)
		out[string(object[name:i])] = object[start:end]
		i = end
	}
	return out
}

// valueEnd returns where the value that begins at i ends.
func valueEnd(b []byte, i int) int {
	depth := 0
	for ; ; i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
}

func integer(name string) column { return column{name: name, kind: kindInt} }

// id is a number that may be missing: null.
func id(name string) column       { return column{name: name, kind: kindInt, nullable: true} }
func text(name string) column     { return column{name: name, kind: kindText} }
func optional(name string) column { return column{name: name, kind: kindText, nullable: true} }
func boolean(name string) column  { return column{name: name, kind: kindBool} }
func when(name string) column     { return column{name: name, kind: kindTime, nullable: true} }
func list(name string) column     { return column{name: name, kind: kindList} }
func object(name string) column   { return column{name: name, kind: kindObject} }
