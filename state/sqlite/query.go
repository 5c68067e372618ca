package sqlite

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"buildstar/state"
)

// maxValues bounds the values of one query: SQLite takes 32,766 parameters.
const maxValues = 30_000

// selection is a query turned into SQL: what follows FROM table.
type selection struct {
	where, order, limit string
	args                []any
	values              int
	open                bool // asks for open rows only: few, and in partial indexes
}

// compile turns a query over a resource into SQL. Values are always parameters but
// for booleans: as literals they let SQLite use the partial indexes of open rows.
func compile(name string, q state.Query) (string, []any, error) {
	s, r, err := filter(name, q)
	if err != nil {
		return "", nil, err
	}
	if err := s.sort(name, r, q.Order); err != nil {
		return "", nil, err
	}
	if q.Limit < 0 || q.Offset < 0 {
		return "", nil, fmt.Errorf("query %s: limit and offset must not be negative, got %d and %d", name, q.Limit, q.Offset)
	}
	switch {
	case q.Limit > 0:
		s.limit = " LIMIT ?"
		s.args = append(s.args, q.Limit)
	case q.Offset > 0:
		s.limit = " LIMIT -1"
	}
	if q.Offset > 0 {
		s.limit += " OFFSET ?"
		s.args = append(s.args, q.Offset)
	}
	return s.where + s.order + s.limit, s.args, nil
}

// filter turns the filters of a query into a WHERE clause.
func filter(name string, q state.Query) (*selection, resource, error) {
	r, ok := resources[name]
	if !ok {
		return nil, r, fmt.Errorf("query %q: no such resource; there are %s", name, strings.Join(slices.Sorted(maps.Keys(resources)), ", "))
	}
	s := &selection{}
	for _, f := range q.Where {
		if s.values += len(f.Values); s.values > maxValues {
			return nil, r, fmt.Errorf("query %s: want at most %d values in all filters", name, maxValues)
		}
		c, err := r.column(name, f.Field)
		if err != nil {
			return nil, r, err
		}
		cond, err := s.condition(c, f)
		if err != nil {
			return nil, r, fmt.Errorf("query %s: %s: %w", name, f.Field, err)
		}
		if s.where == "" {
			s.where = " WHERE " + cond
		} else {
			s.where += " AND " + cond
		}
	}
	return s, r, nil
}

func (r resource) column(name, field string) (column, error) {
	c, ok := r.fields[field]
	if !ok {
		return c, fmt.Errorf("query %s: no field %q; there are %s", name, field, strings.Join(slices.Sorted(maps.Keys(r.fields)), ", "))
	}
	return c, nil
}

// sort adds the ORDER BY clause: the fields asked for, then the id.
func (s *selection) sort(name string, r resource, order []state.Order) error {
	var terms []string
	hasID := false
	for _, o := range order {
		c, err := r.column(name, o.Field)
		if err != nil {
			return err
		}
		if c.kind == linked {
			return fmt.Errorf("query %s: rows have several %s, so they cannot be in the order of it", name, o.Field)
		}
		if c.expr == "1" {
			continue // a constant; in ORDER BY it would mean the first column
		}
		term := c.expr
		if o.Desc {
			term += " DESC"
		}
		terms = append(terms, term)
		if hasID = o.Field == r.id; hasID {
			break
		}
	}
	switch {
	case !hasID && s.open && len(terms) == 0:
		// Not the order of the table: SQLite would walk all of it to save sorting a few.
		terms = append(terms, "+id")
	case !hasID:
		terms = append(terms, "id")
	}
	s.order = " ORDER BY " + strings.Join(terms, ", ")
	return nil
}

var operators = map[state.Op]string{
	state.Eq: "=", state.Ne: "<>", state.Lt: "<", state.Le: "<=", state.Gt: ">", state.Ge: ">=",
}

// condition returns the SQL of one filter.
func (s *selection) condition(c column, f state.Filter) (string, error) {
	if f.Op == state.Contains || c.kind == texts {
		return s.contains(c, f)
	}
	if c.kind == linked {
		return s.linkedTo(c, f)
	}
	op, ok := operators[f.Op]
	if !ok {
		return "", fmt.Errorf("no operator %q; there are eq, ne, lt, le, gt, ge, contains", f.Op)
	}
	var conds []string
	var in []any // values that "=" and "<>" compare with
	for _, v := range f.Values {
		null, v, err := c.value(v)
		if err != nil {
			return "", err
		}
		switch {
		case !null && (f.Op == state.Eq || f.Op == state.Ne) && c.kind != flag:
			in = append(in, v)
		case null && f.Op == state.Eq:
			conds = append(conds, c.isNull())
		case null && f.Op == state.Ne:
			conds = append(conds, "NOT ("+c.isNull()+")")
		case null:
			conds = append(conds, "0=1") // nothing is less or more than null
		case c.kind == flag:
			conds = append(conds, fmt.Sprintf("%s%s%d", c.expr, op, v))
			s.open = s.open || v == int64(0) && f.Op == state.Eq && len(f.Values) == 1
		default:
			conds = append(conds, c.notNull(c.comparable()+op+"?"))
			s.args = append(s.args, v)
		}
	}
	if len(in) > 0 {
		conds = append(conds, s.among(c, f.Op, in))
	}
	return join(conds, f.Op), nil
}

// among compares with one or several values.
func (s *selection) among(c column, op state.Op, values []any) string {
	s.args = append(s.args, values...)
	cond := c.comparable() + "=?"
	if len(values) > 1 {
		cond = c.comparable() + " IN (?" + strings.Repeat(",?", len(values)-1) + ")"
	}
	cond = c.notNull(cond)
	if op == state.Ne {
		return "NOT (" + cond + ")"
	}
	return cond
}

// linkedTo asks for rows that are linked to any of others.
func (s *selection) linkedTo(c column, f state.Filter) (string, error) {
	if f.Op != state.Eq {
		return "", fmt.Errorf("it can be asked for eq, not %q", f.Op)
	}
	var conds []string
	for _, v := range f.Values {
		_, v, err := c.value(v)
		if err != nil {
			return "", err
		}
		conds = append(conds, "id IN ("+c.expr+"=?)") // a null is not there
		s.args = append(s.args, v)
	}
	return join(conds, f.Op), nil
}

// contains asks for a part of a text or for an element of a list.
func (s *selection) contains(c column, f state.Filter) (string, error) {
	var conds []string
	for _, v := range f.Values {
		text, ok := v.(string)
		if !ok {
			return "", fmt.Errorf("contains wants a string, got %v", v)
		}
		var cond string
		switch {
		case c.kind == plain || c.kind == nullText:
			cond = "coalesce(instr(" + c.expr + ",?),0)>0"
		case c.kind != texts:
			return "", fmt.Errorf("contains works on text and lists")
		case f.Op == state.Contains || f.Op == state.Eq || f.Op == state.Ne:
			cond = "EXISTS (SELECT 1 FROM json_each(" + c.expr + ") AS e WHERE e.value=?)"
		default:
			return "", fmt.Errorf("a list can be asked for contains, eq and ne, not %q", f.Op)
		}
		if f.Op == state.Ne {
			cond = "NOT " + cond
		}
		conds = append(conds, cond)
		s.args = append(s.args, text)
	}
	return join(conds, f.Op), nil
}

// join combines what one filter says of each of its values: any must hold, or all of
// them for Ne.
func join(conds []string, op state.Op) string {
	switch {
	case len(conds) == 1:
		return conds[0]
	case op == state.Ne && len(conds) == 0:
		return "1=1"
	case op == state.Ne:
		return "(" + strings.Join(conds, " AND ") + ")"
	case len(conds) == 0:
		return "0=1"
	}
	return "(" + strings.Join(conds, " OR ") + ")"
}

// comparable is the column as clients compare it.
func (c column) comparable() string {
	if c.kind == instant {
		return "(" + c.expr + "/1000)"
	}
	return c.expr
}

// isNull is true where clients see null.
func (c column) isNull() string {
	switch c.kind {
	case optional, instant:
		return c.expr + "=0"
	case running:
		return c.expr + "<0"
	case nullText:
		return c.expr + " IS NULL"
	}
	return "0=1"
}

// notNull narrows a condition to where clients see a value. It is never unknown, so
// that it can be negated.
func (c column) notNull(cond string) string {
	switch c.kind {
	case optional, instant:
		return "(" + c.expr + "<>0 AND " + cond + ")"
	case running:
		return "(" + c.expr + ">=0 AND " + cond + ")"
	case nullText:
		return "(" + c.expr + " IS NOT NULL AND " + cond + ")"
	}
	return cond
}

// value turns a value of a filter into what the column holds. Text from a URL is
// taken for numbers and booleans too.
func (c column) value(v any) (null bool, _ any, err error) {
	if v == nil {
		return true, nil, nil
	}
	switch c.kind {
	case plain, nullText:
		v, err = asText(v)
	case flag:
		v, err = asFlag(v)
	default:
		v, err = asNumber(v)
	}
	return false, v, err
}

func asText(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64, int, bool, float64:
		return fmt.Sprint(v), nil
	}
	return nil, fmt.Errorf("want a string, got %T", v)
}

func asNumber(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case int:
		return int64(v), nil
	case float64:
		return v, nil
	case bool:
		if v {
			return int64(1), nil
		}
		return int64(0), nil
	case json.Number:
		return asNumber(v.String())
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
		return nil, fmt.Errorf("want an integer, got %q", v)
	}
	return nil, fmt.Errorf("want a number, got %T", v)
}

var flags = map[string]int64{
	"true": 1, "on": 1, "yes": 1, "1": 1, "false": 0, "off": 0, "no": 0, "0": 0,
}

func asFlag(v any) (any, error) {
	n, ok := flags[strings.ToLower(fmt.Sprint(v))]
	if !ok {
		return nil, fmt.Errorf("want true or false, got %v", v)
	}
	return n, nil
}
