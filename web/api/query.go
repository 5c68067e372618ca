package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"buildstar/state"
)

// query is what the parameters of a GET ask for.
type query struct {
	where      []state.Filter
	order      []state.Order
	pick       []string // fields to show; nil is all
	properties []string
	limit      int64 // -1: all
	offset     int64
	none       bool // a filter cannot hold for any row
	filtered   []string
}

// badQuery is an error of the person who wrote the query.
type badQuery struct{ text string }

func (e *badQuery) Error() string { return e.text }

func badf(format string, args ...any) error { return &badQuery{fmt.Sprintf(format, args...)} }

// parameters that are no fields.
var parameters = []string{"field", "order", "limit", "offset", "property"}

// maxProperties bounds how many properties one query may name.
const maxProperties = 100

// parseQuery reads the parameters of a collection (docs/requirements.md C10). Nothing is
// ignored: an unknown parameter, field or comparison is an error that names the
// nearest there is (D2.14).
func (s *schema) parseQuery(raw string) (query, error) {
	q := query{limit: -1}
	if raw == "" {
		return q, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, badf("query: %v", err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := s.parseParameter(&q, name, values[name]); err != nil {
			return q, err
		}
	}
	return q, s.checkPicked(&q)
}

// parseItemQuery reads the parameters of a single row: what to show of it.
func (s *schema) parseItemQuery(raw string) (query, error) {
	q, err := s.parseQuery(raw)
	if err == nil && (len(q.filtered) > 0 || len(q.order) > 0 || q.limit >= 0 || q.offset > 0) {
		err = badf("a single %s takes only field%s", s.name, map[bool]string{true: " and property"}[s.properties])
	}
	return q, err
}

func (s *schema) parseParameter(q *query, name string, values []string) error {
	switch name {
	case "limit", "offset":
		n, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil || n < 0 || len(values) > 1 {
			return badf("%s: want one whole number that is not negative, got %q", name, strings.Join(values, ","))
		}
		if name == "limit" {
			q.limit = n
		} else {
			q.offset = n
		}
		return nil
	case "order":
		for _, v := range values {
			field, desc := strings.CutPrefix(v, "-")
			i, err := s.find(field)
			if err != nil {
				return err
			}
			if !s.columns[i].sortable() {
				return badf("cannot order by %s", field)
			}
			q.order = append(q.order, state.Order{Field: field, Desc: desc})
		}
		return nil
	case "field":
		q.pick = []string{}
		for _, v := range values {
			if _, err := s.find(v); err != nil {
				return err
			}
			if !slices.Contains(q.pick, v) {
				q.pick = append(q.pick, v)
			}
		}
		return nil
	case "property":
		if !s.properties {
			return badf("property: %s have no properties to show", s.plural)
		}
		if len(values) > maxProperties {
			return badf("property: at most %d names at once", maxProperties)
		}
		q.properties = values
		return nil
	}
	return s.parseFilter(q, name, values)
}

// find returns the index of a field, or an error that names the nearest.
func (s *schema) find(field string) (int, error) {
	if i := s.column(field); i >= 0 {
		return i, nil
	}
	return 0, badf("%s have no field %q%s", s.plural, clip(field), suggest(field, s.names()))
}

var ops = map[string]state.Op{
	"eq": state.Eq, "ne": state.Ne, "lt": state.Lt, "le": state.Le, "gt": state.Gt, "ge": state.Ge, "contains": state.Contains,
}

// parseFilter reads field=value or field__op=value.
func (s *schema) parseFilter(q *query, name string, values []string) error {
	field, opName, hasOp := strings.Cut(name, "__")
	i := s.column(field)
	if i < 0 {
		if !hasOp {
			return badf("unknown parameter %q%s", clip(name), suggest(name, append(s.names(), parameters...)))
		}
		_, err := s.find(field)
		return err
	}
	op := state.Eq
	if hasOp {
		var ok bool
		if op, ok = ops[opName]; !ok {
			return badf("%s: no comparison %q; there are eq, ne, lt, le, gt, ge and contains", field, clip(opName))
		}
	}
	q.filtered = append(q.filtered, field)
	c := &s.columns[i]
	if err := c.checkOp(op, len(values)); err != nil {
		return err
	}
	f := state.Filter{Field: field, Op: op, Values: make([]any, len(values))}
	for n, v := range values {
		var err error
		if f.Values[n], err = c.parse(v, op); err != nil {
			return err
		}
	}
	if c.derived == nil {
		q.where = append(q.where, f)
		return nil
	}
	filters, none, err := c.derived(f)
	if err != nil {
		return &badQuery{err.Error()}
	}
	q.where = append(q.where, filters...)
	q.none = q.none || none
	return nil
}

// checkOp refuses comparisons that make no sense for the column.
func (c *column) checkOp(op state.Op, values int) error {
	ordered := op == state.Lt || op == state.Le || op == state.Gt || op == state.Ge
	switch {
	case c.kind == kindObject:
		return badf("cannot filter by %s", c.name)
	case ordered && values > 1:
		return badf("%s__%s: give one value", c.name, op)
	case ordered && (c.kind == kindBool || c.kind == kindList):
		return badf("%s__%s: makes no sense, %s is of type %s", c.name, op, c.name, c.kind)
	case op == state.Contains && c.kind != kindText && c.kind != kindList:
		return badf("%s__contains: makes no sense, %s is of type %s", c.name, c.name, c.kind)
	}
	return nil
}

// parse reads a value as the column's kind.
func (c *column) parse(v string, op state.Op) (any, error) {
	if c.nullable && (v == "null" || v == "None") && (op == state.Eq || op == state.Ne) {
		return nil, nil
	}
	switch c.kind {
	case kindInt, kindTime:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, badf("%s: want a whole number, got %q", c.name, clip(v))
		}
		return n, nil
	case kindBool:
		switch strings.ToLower(v) {
		case "on", "true", "yes", "1":
			return true, nil
		case "off", "false", "no", "0":
			return false, nil
		}
		return nil, badf("%s: want true or false, got %q", c.name, clip(v))
	}
	return v, nil
}

// checkPicked refuses to filter or order by fields that were not selected.
func (s *schema) checkPicked(q *query) error {
	if q.pick == nil {
		return nil
	}
	for _, o := range q.order {
		if !slices.Contains(q.pick, o.Field) {
			return badf("cannot order by %s: it is not among the fields selected", o.Field)
		}
	}
	for _, field := range q.filtered {
		if !slices.Contains(q.pick, field) {
			return badf("cannot filter by %s: it is not among the fields selected", field)
		}
	}
	return nil
}

// clip shortens what an outsider sent for an error message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
