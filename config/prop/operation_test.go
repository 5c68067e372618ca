package prop

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOperation(t *testing.T) {
	list := func(v ...any) []any { return v }
	tests := []struct {
		x    any
		op   string
		y    any
		want any // error text if it begins with "!"
	}{
		{int64(1), "==", 1.0, true},
		{true, "==", int64(1), true},
		{"1", "==", int64(1), false},
		{nil, "==", nil, true},
		{nil, "==", false, false},
		{list(int64(1), "a"), "==", list(1.0, "a"), true},
		{map[string]any{"a": int64(1)}, "==", map[string]any{"a": int64(2)}, false},
		{map[string]any{"a": int64(1)}, "==", map[string]any{"a": true}, true},
		{"a", "!=", "b", true},
		{int64(2), "<", 2.5, true},
		{"a", "<", "b", true},
		{list(int64(1), int64(2)), "<", list(int64(1), int64(3)), true},
		{list(int64(1)), "<=", list(int64(1)), true},
		{int64(3), ">", int64(3), false},
		{int64(3), ">=", int64(3), true},
		{int64(3), "<", "3", "!int 3 and string \"3\" have no order"},
		{nil, "<", int64(1), "!have no order"},
		{"a", "in", list("a", "b"), true},
		{1.0, "in", list(int64(1)), true},
		{"el", "in", "hello", true},
		{int64(1), "in", "hello", "!want string on the left"},
		{"k", "in", map[string]any{"k": nil}, true},
		{int64(1), "in", map[string]any{"1": nil}, false},
		{"k", "in", int64(1), "!want list, dict or string on the right"},
		{int64(1), "+", int64(2), int64(3)},
		{int64(1), "+", 0.5, 1.5},
		{"a", "+", "b", "ab"},
		{"a", "+", int64(1), "!cannot take string \"a\" and int 1"},
		{list("a"), "+", list("b"), list("a", "b")},
		{true, "+", true, int64(2)},
		{int64(1), "-", int64(2), int64(-1)},
		{int64(math.MaxInt64), "+", int64(1), "!does not fit 64 bits"},
		{int64(math.MinInt64), "-", int64(1), "!does not fit 64 bits"},
		{int64(math.MinInt64), "*", int64(-1), "!does not fit 64 bits"},
		{int64(math.MinInt64), "*", int64(1), int64(math.MinInt64)},
		{int64(1 << 40), "*", int64(1 << 40), "!does not fit 64 bits"},
		{1e308, "*", 10.0, "!does not fit 64 bits"},
		{int64(-3), "*", int64(4), int64(-12)},
		{"ab", "*", int64(2), "abab"},
		{int64(2), "*", "ab", "abab"},
		{"ab", "*", int64(-1), ""},
		{list("a"), "*", int64(2), list("a", "a")},
		{list(), "*", int64(1 << 60), []any{}},
		{"a", "*", int64(1 << 60), "!more than"},
		{"a", "*", "b", "!cannot take"},
		{int64(7), "/", int64(2), 3.5},
		{int64(1), "/", int64(0), "!division by zero"},
		{int64(7), "//", int64(2), int64(3)},
		{int64(-7), "//", int64(2), int64(-4)},
		{int64(7), "//", int64(-2), int64(-4)},
		{int64(math.MinInt64), "//", int64(-1), "!does not fit 64 bits"},
		{int64(math.MinInt64), "%", int64(-1), int64(0)},
		{int64(7), "//", 2.0, 3.0},
		{int64(7), "//", int64(0), "!division by zero"},
		{int64(-7), "%", int64(3), int64(2)},
		{int64(7), "%", int64(-3), int64(-2)},
		{-7.5, "%", 2.0, 0.5},
		{1.0, "%", 0.0, "!division by zero"},
		{"%s-%03d", "%", list("a", int64(7)), "a-007"},
		{"<%s>", "%", "a", "<a>"},
		{"%(prop:x)s", "%", list(), "!cannot stand beside positional"},
		{"none", "%", list(), "none"},
		{"none", "%", "a", "!0 conversions and 1 arguments"},
	}
	for _, tt := range tests {
		op, err := Operate(tt.op, Const{tt.x}, Const{tt.y})
		if err != nil {
			t.Fatal(err)
		}
		got, err := op.Render(t.Context(), sample)
		if text, ok := tt.want.(string); ok && strings.HasPrefix(text, "!") {
			if err == nil || !strings.Contains(err.Error(), text[1:]) || !strings.HasPrefix(err.Error(), "operator "+tt.op+": ") {
				t.Errorf("%v %s %v: got %v, %v; want %s", tt.x, tt.op, tt.y, got, err, text[1:])
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v %s %v: got %#v, %v; want %#v", tt.x, tt.op, tt.y, got, err, tt.want)
		}
	}
	if _, err := Operate("**", Const{}, Const{}); err == nil {
		t.Error("** is accepted")
	}
}

// Quotient and remainder belong together, and the remainder has the divisor's
// sign.
func TestDivisionLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := rapid.Int64().Draw(t, "x"), rapid.Int64().Draw(t, "y")
		if y == 0 || x == math.MinInt64 && y == -1 {
			return
		}
		q, err := integers("//", x, y)
		r, err2 := integers("%", x, y)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		qi, ri := q.(int64), r.(int64)
		if qi*y+ri != x || ri != 0 && (ri < 0) != (y < 0) {
			t.Fatalf("%d // %d = %d, %% = %d", x, y, qi, ri)
		}
	})
}
