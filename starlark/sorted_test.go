package starlark

import (
	"strings"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// docs/requirements.md A12.7: sorted and cmp as Python 2 had them.
func TestSorted(t *testing.T) {
	eval := func(text string) (star.Value, error) {
		return star.EvalOptions(&syntax.FileOptions{}, &star.Thread{}, "x.star", text, star.StringDict{
			"sorted": star.NewBuiltin("sorted", sorted), "cmp": star.NewBuiltin("cmp", compare),
		})
	}
	for text, want := range map[string]string{
		`sorted([3, 1, 2])`: "[1, 2, 3]", `sorted((3, 1, 2), reverse = True)`: "[3, 2, 1]", `sorted([3, 1, 2], cmp = None, key = lambda x: -x)`: "[3, 2, 1]",
		`sorted([3, 1, 2], cmp = cmp)`: "[1, 2, 3]", `sorted(["b", "a"], cmp = lambda x, y: cmp(y, x))`: `["b", "a"]`,
		`sorted([(1, "b"), (0, "x"), (1, "a")], cmp = lambda x, y: cmp(x[0], y[0]))`:                 `[(0, "x"), (1, "b"), (1, "a")]`,
		`sorted([(1, "b"), (0, "x"), (1, "a")], cmp = lambda x, y: cmp(x[0], y[0]), reverse = True)`: `[(1, "b"), (1, "a"), (0, "x")]`,
		`[cmp(1, 2), cmp(2, 1), cmp("a", "a"), cmp([1], [2])]`:                                       "[-1, 1, 0, -1]",
	} {
		if v, err := eval(text); err != nil || v.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, v, err, want)
		}
	}
	for text, want := range map[string]string{
		`sorted([1, "a"])`: "not implemented", `sorted([1, 2], cmp = lambda x, y: "a")`: "sorted: cmp returned string, want int",
		`sorted([1, 2], cmp = lambda x: x)`: "accepts 1 positional argument", `sorted(1, cmp = cmp)`: "got int, want iterable", `cmp(1, "a")`: "not implemented",
		`sorted([1], cpm = cmp)`: "unexpected keyword argument", `cmp(1)`: "got 1 arguments, want 2",
	} {
		if v, err := eval(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %s", text, v, err, want)
		}
	}
}
