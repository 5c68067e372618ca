package spec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// A builtin is a class as users call it.
type builtin struct{ class *Class }

var _ star.Callable = (*builtin)(nil)

func (f *builtin) Name() string          { return f.class.Full() }
func (f *builtin) String() string        { return "<class " + f.class.Full() + ">" }
func (f *builtin) Type() string          { return "class" }
func (f *builtin) Freeze()               {}
func (f *builtin) Truth() star.Bool      { return true }
func (f *builtin) Hash() (uint32, error) { return star.String(f.class.Full()).Hash() }

// CallInternal binds the arguments and makes the object.
func (f *builtin) CallInternal(thread *star.Thread, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	c := f.class
	params := c.New()
	args, kwargs = c.Former.byName(args, kwargs)
	b := newBinding(thread, c.full, c.plan, args, kwargs)
	b.renamed, b.old = c.Renamed, c.Old
	dst := reflect.ValueOf(params).Elem()
	b.bind(dst, c.Unsupported)
	c.plan.place(dst, b.pos)

	value := params
	if m, ok := params.(maker); ok && (c.Partial || b.problems == nil && !b.poisoned && !b.held) {
		b.begin()
		value = m.Make(&b.Call)
	}
	if bad, err := b.end(); bad || err != nil {
		return b.placeholder(c, value), err
	}
	if v, ok := value.(star.Value); ok {
		return v, nil
	}
	if value == nil {
		return star.None, nil
	}
	o := &Object{class: c, env: b.env, Value: value, pos: b.pos, chain: b.chain, kwargs: kwargs}
	if len(args) > 0 {
		o.args = append(star.Tuple(nil), args...) // the interpreter reuses args
	}
	if b.env != nil && b.env.Keep != nil {
		b.env.Keep(o)
	}
	return o, nil
}

func newBinding(thread *star.Thread, what string, p *plan, args star.Tuple, kwargs []star.Tuple) *binding {
	b := &binding{what: what, plan: p, args: args, kwargs: kwargs}
	b.thread, b.env, b.b = thread, EnvOf(thread), b
	b.pos, _ = posAt(thread, 1)
	if thread.CallStackDepth() > 2 {
		b.chain = chainAt(thread, 1)
	}
	return b
}

// place tells the struct where it was made.
func (p *plan) place(dst reflect.Value, pos prop.Pos) {
	if p.setsPos {
		dst.Addr().Interface().(poser).SetPos(pos)
	}
	if p.where != nil {
		dst.FieldByIndex(p.where).Set(reflect.ValueOf(pos))
	}
}

// begin lets Make run in spite of bad parameters. Where an argument went to no
// parameter, it may have been meant for any that has none.
func (b *binding) begin() {
	if b.partial = b.problems != nil || b.poisoned || b.held; !b.partial {
		return
	}
	for i := range b.plan.params {
		if (b.loose || b.named.has(i)) && !b.given.has(i) {
			b.bad.add(i)
		}
	}
}

// end hands over the problems. bad says that the call has none to return but a
// placeholder; err is not nil where problems end the evaluation.
func (b *binding) end() (bad bool, err error) {
	if b.problems == nil {
		return b.poisoned || b.held, nil
	}
	slices.SortStableFunc(b.problems, func(p, q prop.Problem) int { return cmp.Compare(b.rank(p.Param), b.rank(q.Param)) })
	subject := b.subject()
	for i := range b.problems {
		b.problems[i].Subject = subject
		b.problems[i].Chain = b.chain
	}
	if b.env == nil || !b.env.Collect {
		return true, b.problems
	}
	for _, p := range b.problems {
		b.env.Report(p)
	}
	return true, nil
}

// rank orders parameters as the call gives them; those it lacks come last, as they
// are declared.
func (b *binding) rank(name string) int {
	n, known := b.plan.byName[name]
	for i := range b.args {
		if known && i < len(b.plan.positional) && b.plan.positional[i] == n {
			return i
		}
	}
	for i, kv := range b.kwargs {
		if string(kv[0].(star.String)) == name {
			return len(b.args) + i
		}
	}
	if known {
		return len(b.args) + len(b.kwargs) + n
	}
	return -1 // about the whole call
}

// placeholder returns what stands for the value of a call that went wrong.
func (b *binding) placeholder(c *Class, value any) *Placeholder {
	p := &Placeholder{env: b.env, class: c}
	if n, ok := b.plan.byName["name"]; ok {
		p.Declared, _ = star.AsString(b.arg(n))
	}
	if c.Partial {
		for _, q := range b.problems {
			if n, ok := b.plan.byName[q.Param]; ok {
				b.bad.add(n)
			}
		}
		p.partial = &Object{class: c, env: b.env, Value: value, pos: b.pos, chain: b.chain, bad: &b.bad, subject: b.subject()}
	}
	return p
}

// A method is a declared method with its plan.
type method struct {
	*Method
	full string
	plan *plan
}

// A boundMethod is a method of one object.
type boundMethod struct {
	*method
	self *Object
}

var _ star.Callable = (*boundMethod)(nil)

func (f *boundMethod) Name() string          { return f.full }
func (f *boundMethod) String() string        { return "<method " + f.full + ">" }
func (f *boundMethod) Type() string          { return "method" }
func (f *boundMethod) Freeze()               { f.self.Freeze() }
func (f *boundMethod) Truth() star.Bool      { return true }
func (f *boundMethod) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: method") }

// CallInternal binds the arguments and runs the method.
func (f *boundMethod) CallInternal(thread *star.Thread, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	b := newBinding(thread, f.full, f.plan, args, kwargs)
	var params any
	if f.Unsupported != "" {
		b.Problem("not-supported", "", "not supported yet", strings.TrimSpace(f.Unsupported))
	} else {
		params = f.New()
		dst := reflect.ValueOf(params).Elem()
		b.bind(dst, f.Unknown)
		f.plan.place(dst, b.pos)
	}
	var value any
	var err error
	if b.problems == nil && (!b.poisoned && !b.held || f.Partial) {
		if value, err = f.Method.Call(&b.Call, f.self, params); err != nil {
			return nil, err
		}
	}
	if bad, err := b.end(); bad || err != nil {
		return &Placeholder{env: b.env}, err
	}
	return toStar(value)
}

// toStar returns the Starlark value of what a method returned.
func toStar(v any) (star.Value, error) {
	switch v := v.(type) {
	case star.Value:
		return v, nil
	case nil, bool, int64, float64, string, []any, map[string]any:
		return Star(v), nil
	}
	return nil, fmt.Errorf("the method returned a %T, which is no Starlark value", v)
}
