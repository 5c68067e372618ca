package api

import (
	"cmp"
	"slices"
	"strings"

	"buildstar/state"
)

// holdsFor reports whether a filter holds for a value that is not in the store:
// nil, a bool, an int64, a string or a list of strings. Values of different types
// are not equal and have no order.
func holdsFor(f state.Filter, value any) bool {
	if f.Op == state.Ne {
		return !slices.ContainsFunc(f.Values, func(v any) bool { return same(value, v) })
	}
	return slices.ContainsFunc(f.Values, func(v any) bool {
		switch f.Op {
		case state.Eq:
			return same(value, v)
		case state.Contains:
			return contains(value, v)
		}
		c, ok := order(value, v)
		if !ok {
			return false
		}
		switch f.Op {
		case state.Lt:
			return c < 0
		case state.Le:
			return c <= 0
		case state.Gt:
			return c > 0
		}
		return c >= 0
	})
}

func same(a, b any) bool {
	if list, ok := a.([]string); ok {
		return slices.ContainsFunc(list, func(s string) bool { return s == b })
	}
	return a == b
}

func contains(value, part any) bool {
	p, ok := part.(string)
	if !ok {
		return false
	}
	switch v := value.(type) {
	case string:
		return strings.Contains(v, p)
	case []string:
		return slices.Contains(v, p)
	}
	return false
}

func order(a, b any) (int, bool) {
	switch a := a.(type) {
	case int64:
		b, ok := b.(int64)
		return cmp.Compare(a, b), ok
	case string:
		b, ok := b.(string)
		return cmp.Compare(a, b), ok
	}
	return 0, false
}
