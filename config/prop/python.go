package prop

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Str returns what Python's str prints for a property value: True, 1.5, ['a', 1].
// The keys of a dict are sorted.
func Str(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return Repr(v)
}

// Repr returns what Python's repr prints for a property value: 'a', None, 1e+16.
func Repr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return reprFloat(v)
	case string:
		return quote(v, unicode.IsPrint)
	case []any:
		items := make([]string, len(v))
		for i, e := range v {
			items[i] = Repr(e)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		items := make([]string, 0, len(v))
		for _, k := range sortedKeys(v) {
			items = append(items, Repr(k)+": "+Repr(v[k]))
		}
		return "{" + strings.Join(items, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// reprFloat prints the shortest digits that read back as f, with an exponent
// below 1e-4 and from 1e16 on.
func reprFloat(f float64) string {
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exp, ok := strings.Cut(s, "e")
	if !ok { // +Inf, -Inf, NaN
		return strings.ToLower(strings.TrimPrefix(strings.Replace(s, "Inf", "inf", 1), "+"))
	}
	if n, _ := strconv.Atoi(exp); n < -4 || n >= 16 {
		return mantissa + "e" + exp
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's quoting of a string; runes for which plain is false are
// escaped.
func quote(s string, plain func(rune) bool) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b := []byte{q}
	for i, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			b = fmt.Appendf(b, `\x%02x`, s[i])
		case plain(r):
			b = utf8.AppendRune(b, r)
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return string(append(b, q))
}

// number returns a bool, int or float as int64 or float64.
func number(v any) (n any, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case int64, float64:
		return v, true
	}
	return nil, false
}

// asFloat returns an int64 or float64 as a float64.
func asFloat(n any) float64 {
	if i, ok := n.(int64); ok {
		return float64(i)
	}
	return n.(float64)
}

// Equal reports whether two property values are equal in Python's sense: 1, 1.0
// and True are.
func Equal(a, b any) bool {
	x, xok := number(a)
	y, yok := number(b)
	if xok || yok {
		return xok && yok && compareNumbers(x, y) == 0
	}
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !Equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			if w, ok := b[k]; !ok || !Equal(v, w) {
				return false
			}
		}
		return true
	case string:
		b, ok := b.(string)
		return ok && a == b
	}
	return a == nil && b == nil
}

func compareNumbers(x, y any) int {
	i, iok := x.(int64)
	j, jok := y.(int64)
	if iok && jok {
		return cmp.Compare(i, j)
	}
	return cmp.Compare(asFloat(x), asFloat(y))
}

// Compare orders two property values as Python's < does: numbers, strings and
// lists among themselves; anything else is an error.
func Compare(a, b any) (int, error) {
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return compareNumbers(x, y), nil
		}
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return cmp.Compare(a, b), nil
		}
	case []any:
		if b, ok := b.([]any); ok {
			for i := range min(len(a), len(b)) {
				if !Equal(a[i], b[i]) {
					return Compare(a[i], b[i])
				}
			}
			return cmp.Compare(len(a), len(b)), nil
		}
	}
	return 0, fmt.Errorf("%s and %s have no order", Describe(a), Describe(b))
}
