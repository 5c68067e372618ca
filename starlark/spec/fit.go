package spec

import (
	"fmt"
	"maps"
	"slices"

	star "go.starlark.net/starlark"
)

// Misfit says why a function cannot be called as its place calls it, or "".
// Functions that Go implements are not looked into. FirstContext is one argument
// or, for hideStepIf, two.
func (f Function) Misfit() string {
	fn, ok := f.Callable.(*star.Function)
	if !ok {
		return ""
	}
	least, most := len(f.Args), len(f.Args)
	what := count(len(f.Args))
	switch f.First {
	case FirstProps:
		least, most = least+1, most+1
		if what = "the properties"; len(f.Args) > 0 {
			what += " and " + count(len(f.Args))
		}
	case FirstContext:
		least, most, what = least+1, most+2, "what its place gives, such as the properties"
	}
	positional := fn.NumParams() - fn.NumKwonlyParams()
	if fn.HasVarargs() {
		positional--
	}
	if fn.HasKwargs() {
		positional--
	}
	needed := 0
	for i := range positional {
		name, _ := fn.Param(i)
		if _, byName := f.Kwargs[name]; fn.ParamDefault(i) == nil && !byName {
			needed++
		}
	}
	switch {
	case positional < least && !fn.HasVarargs():
		return fmt.Sprintf("%s takes %s; it is called with %s", fn.Name(), count(positional), what)
	case needed > most && f.First != FirstProps: // withArgs may follow
		return fmt.Sprintf("%s needs %s; it is called with %s", fn.Name(), count(needed), what)
	}
	if !fn.HasKwargs() {
		for _, name := range slices.Sorted(maps.Keys(f.Kwargs)) {
			if !slices.Contains(parameters(fn), name) {
				return fmt.Sprintf("%s has no parameter %q", fn.Name(), name)
			}
		}
	}
	return ""
}

func parameters(fn *star.Function) []string {
	names := make([]string, fn.NumParams())
	for i := range names {
		names[i], _ = fn.Param(i)
	}
	return names
}

func count(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}
