package call

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	star "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// A hashState is the digest of a function's content, once it is known.
type hashState struct {
	sum  []byte
	busy bool // a function may refer to itself
}

// AppendCanonical appends the digest of the function's content, and of the
// arguments it is given.
func (f *function) AppendCanonical(dst []byte) []byte {
	dst = append(append(dst, "function:"...), f.digest()...)
	dst = append(dst, byte(f.First))
	dst = binary.AppendUvarint(dst, uint64(len(f.Args)))
	for _, r := range f.Args {
		dst = r.AppendCanonical(dst)
	}
	for _, k := range slices.Sorted(maps.Keys(f.Kwargs)) {
		dst = f.Kwargs[k].AppendCanonical(appendText(dst, k))
	}
	return dst
}

// digest returns the digest of the function's content: its syntax without
// positions and comments, the values of the globals it reads, its free variables
// and its defaults (docs/architecture.md section 5). It is first called when the
// evaluation is sealed, and only read afterwards.
func (f *function) digest() []byte {
	if f.content.sum != nil {
		return f.content.sum
	}
	if f.content.busy {
		return []byte("itself")
	}
	f.content.busy = true
	e := &encoder{env: f.Env, visiting: make(map[*star.Function]int)}
	e.value(f.Callable)
	sum := sha256.Sum256(e.dst)
	f.content.sum, f.content.busy = sum[:], false
	return f.content.sum
}

// An encoder appends values so that equal bytes mean equal behaviour.
type encoder struct {
	dst      []byte
	env      *spec.Env
	visiting map[*star.Function]int // functions that were seen, by order
	depth    int
	size     int
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func (e *encoder) text(s string)  { e.dst = appendText(e.dst, s) }
func (e *encoder) count(n int)    { e.dst = binary.AppendUvarint(e.dst, uint64(n)) }
func (e *encoder) tag(tag string) { e.text(tag) }

// maxDepth and maxSize bound values that hold themselves, or each other many
// times. What is beyond does not count as content.
const (
	maxDepth = 100
	maxSize  = 1_000_000
)

func (e *encoder) value(v star.Value) {
	if e.depth >= maxDepth || e.size >= maxSize {
		e.tag("deep")
		return
	}
	e.depth++
	e.size++
	defer func() { e.depth-- }()
	switch v := v.(type) {
	case nil:
		e.tag("unset")
	case *star.Function:
		e.function(v)
	case *star.List:
		e.sequence("list", v)
	case star.Tuple:
		e.sequence("tuple", v)
	case *star.Dict:
		e.tag("dict")
		e.count(v.Len())
		for _, item := range v.Items() {
			e.value(item[0])
			e.value(item[1])
		}
	case *star.Set:
		e.tag("set")
		e.count(v.Len())
		for x := range star.Elements(v) {
			e.value(x)
		}
	case *starlarkstruct.Struct:
		d := make(star.StringDict)
		v.ToStringDict(d)
		e.tag("struct")
		e.bindings(d.Keys(), d)
	case *spec.Object:
		e.object(v)
	default: // None, bools, numbers, strings, ranges, builtins, modules
		e.tag(v.Type())
		e.text(v.String())
	}
}

func (e *encoder) sequence(tag string, l star.Indexable) {
	e.tag(tag)
	e.count(l.Len())
	for i := range l.Len() {
		e.value(l.Index(i))
	}
}

func (e *encoder) bindings(names []string, values star.StringDict) {
	e.count(len(names))
	for _, n := range names {
		e.text(n)
		e.value(values[n])
	}
}

// object appends the content of what a class made. Graph nodes may have changed
// after the call (addStep), so it is their fields that count; of the others it is
// the arguments.
func (e *encoder) object(o *spec.Object) {
	e.tag(o.Class().Full())
	switch v := o.Value.(type) {
	case interface{ AppendCanonical([]byte) []byte }: // renderables, factories, lock accesses
		e.dst = v.AppendCanonical(e.dst)
		return
	case *config.Factory, config.Node:
		sum := config.Hash(v)
		e.dst = append(e.dst, sum[:]...)
		return
	}
	args, kwargs := o.Arguments()
	e.sequence("args", args)
	e.count(len(kwargs))
	for _, kv := range kwargs {
		e.value(kv)
	}
}

// function appends a function. One that is being appended already is named by its
// order, so that recursion ends.
func (e *encoder) function(fn *star.Function) {
	if n, seen := e.visiting[fn]; seen {
		e.tag("seen")
		e.count(n)
		return
	}
	e.visiting[fn] = len(e.visiting)
	e.tag("function")
	e.count(fn.NumParams())
	for i := range fn.NumParams() {
		if d := fn.ParamDefault(i); d != nil {
			e.count(i)
			e.value(d)
		}
	}
	e.count(fn.NumFreeVars())
	for i := range fn.NumFreeVars() {
		b, v := fn.FreeVar(i)
		e.text(b.Name)
		e.value(v)
	}
	var def syntax.Node
	if e.env != nil && e.env.Syntax != nil {
		p := fn.Position()
		def = e.env.Syntax(prop.Pos{File: p.Filename(), Line: int(p.Line), Col: int(p.Col)})
	}
	if def == nil { // it did not come from a file of this evaluation
		e.text(fn.String())
		return
	}
	e.bindings(e.tree(def), fn.Globals())
}
