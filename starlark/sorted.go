package starlark

import (
	"fmt"
	"slices"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// compare is cmp(x, y) of Python 2, which configurations of Buildbot 0.8 sort with: -1, 0 or 1.
func compare(_ *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	var x, y star.Value
	if err := star.UnpackPositionalArgs(b.Name(), args, kwargs, 2, &x, &y); err != nil {
		return nil, err
	}
	if same, err := star.Equal(x, y); err != nil || same {
		return star.MakeInt(0), err
	}
	less, err := star.Compare(syntax.LT, x, y)
	if less {
		return star.MakeInt(-1), err
	}
	return star.MakeInt(1), err
}

// sorted is Starlark's sorted(iterable, key=None, reverse=False), with cmp=None as Python 2
// had it: a function of two items that returns a negative number if the first comes first.
func sorted(thread *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	i := slices.IndexFunc(kwargs, func(kv star.Tuple) bool { return kv[0] == star.String("cmp") })
	if i < 0 || kwargs[i][1] == star.None {
		if i >= 0 {
			kwargs = slices.Delete(slices.Clone(kwargs), i, i+1)
		}
		return star.Call(thread, star.Universe["sorted"], args, kwargs)
	}
	var items star.Iterable
	var cmp star.Callable
	var reverse bool
	if err := star.UnpackArgs(b.Name(), args, kwargs, "iterable", &items, "cmp", &cmp, "reverse?", &reverse); err != nil {
		return nil, err
	}
	var list []star.Value
	for x := range star.Elements(items) {
		list = append(list, x)
	}
	var failed error
	slices.SortStableFunc(list, func(x, y star.Value) int {
		if failed != nil {
			return 0
		}
		if reverse {
			x, y = y, x
		}
		v, err := star.Call(thread, cmp, star.Tuple{x, y}, nil)
		if err != nil {
			failed = err
			return 0
		}
		n, ok := v.(star.Int)
		if !ok {
			failed = fmt.Errorf("sorted: cmp returned %s, want int", v.Type())
			return 0
		}
		return n.Sign()
	})
	if failed != nil {
		return nil, failed
	}
	return star.NewList(list), nil
}
