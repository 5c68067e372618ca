package starlark

import (
	"fmt"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// readChangeFunctions reads what c says of changes that come (docs/requirements.md C1).
func (r root) readChangeFunctions(top *topLevel) (codebase prop.Template[string], revlink prop.Template[*string]) {
	if f := r.function("codebaseGenerator", top.CodebaseGenerator, "function", 1); f != nil {
		r.fill("codebaseGenerator", codebase.Set(f))
	}
	if o, ok := top.RevLink.(*spec.Object); ok && o.Class().Full() == "util.RevlinkMatch" {
		r.fill("revlink", revlink.Set(o.Value.(prop.Renderable)))
	} else if f := r.function("revlink", top.RevLink, "function or util.RevlinkMatch", 2); f != nil {
		r.fill("revlink", revlink.Set(f))
	}
	return codebase, revlink
}

// function reads a key that holds a function of n arguments, or None.
func (r root) function(key string, v star.Value, want string, n int) prop.Renderable {
	switch v := v.(type) {
	case nil, star.NoneType, *spec.Placeholder:
		return nil
	case star.Callable:
		f := spec.Function{Callable: v, Pos: r.place(key), First: spec.FirstNothing, Env: r.e.env}
		for i := range n {
			f.Args = append(f.Args, prop.Argument(i))
		}
		if why := f.Misfit(); why != "" {
			r.problem("bad-callback", key, why, "")
			return nil
		}
		return r.e.env.Function(f)
	}
	r.problem("wrong-type", key, fmt.Sprintf("want %s, got %s", want, spec.Got(v)), "")
	return nil
}

// fill reports what a template of a function refuses.
func (r root) fill(key string, err error) {
	if err != nil {
		r.problem("wrong-type", key, err.Error(), "")
	}
}
