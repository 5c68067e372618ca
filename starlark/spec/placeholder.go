package spec

import (
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Placeholder stands for the value of a call that had problems. Whatever is done
// to it works and gives a placeholder again, so that evaluation goes on and finds
// the other problems.
type Placeholder struct {
	// Declared is the name that the call declared, or "".
	Declared string

	env   *Env
	class *Class // of the call, or nil

	partial *Object // what Make made of the good arguments, or nil
}

var (
	_ star.Callable    = (*Placeholder)(nil)
	_ star.HasSetField = (*Placeholder)(nil)
	_ star.HasSetKey   = (*Placeholder)(nil)
	_ star.HasBinary   = (*Placeholder)(nil)
	_ star.HasUnary    = (*Placeholder)(nil)
	_ star.Sequence    = (*Placeholder)(nil)
	_ star.Comparable  = (*Placeholder)(nil)
)

// NewPlaceholder returns a placeholder for a value that could not be made.
func NewPlaceholder(env *Env) *Placeholder { return &Placeholder{env: env} }

// Class returns the class that was called, or nil if that is not known.
func (p *Placeholder) Class() *Class { return p.class }

// Partial returns what the call made of its good arguments, or nil: its name and
// references are checked with those of others.
func (p *Placeholder) Partial() *Object { return p.partial }

// leak notes that p was used in a way that cannot be followed.
func (p *Placeholder) leak() {
	if p.env != nil {
		p.env.leaked = true
	}
}

func (p *Placeholder) String() string {
	p.leak()
	return "<what had a problem>"
}

func (p *Placeholder) Type() string {
	p.leak()
	if p.class == nil {
		return "placeholder"
	}
	return p.class.Full()
}

func (p *Placeholder) Freeze() {}

func (p *Placeholder) Truth() star.Bool {
	p.leak()
	return true
}

func (p *Placeholder) Hash() (uint32, error) {
	p.leak()
	return 1, nil
}

// Name makes a placeholder callable.
func (p *Placeholder) Name() string { return "placeholder" }

func (p *Placeholder) child() *Placeholder { return &Placeholder{env: p.env} }

// Attr, Get, Binary, Unary and calls give placeholders.
func (p *Placeholder) Attr(name string) (star.Value, error) {
	if p.partial != nil {
		if m, ok := p.class.methods[name]; ok && m.Partial {
			return &boundMethod{method: m, self: p.partial}, nil
		}
	}
	return p.child(), nil
}
func (p *Placeholder) AttrNames() []string                      { return nil }
func (p *Placeholder) SetField(string, star.Value) error        { return nil }
func (p *Placeholder) SetKey(_, _ star.Value) error             { return nil }
func (p *Placeholder) Get(star.Value) (star.Value, bool, error) { return p.child(), true, nil }
func (p *Placeholder) Unary(syntax.Token) (star.Value, error)   { return p.child(), nil }

func (p *Placeholder) Binary(syntax.Token, star.Value, star.Side) (star.Value, error) {
	return p.child(), nil
}

// CompareSameType says that two placeholders are the same only if they are one.
func (p *Placeholder) CompareSameType(op syntax.Token, y star.Value, _ int) (bool, error) {
	p.leak()
	switch op {
	case syntax.EQL:
		return p == y, nil
	case syntax.NEQ:
		return p != y, nil
	}
	return false, nil
}

// Iterate yields nothing.
func (p *Placeholder) Iterate() star.Iterator {
	p.leak()
	return star.Tuple(nil).Iterate()
}

func (p *Placeholder) Len() int {
	p.leak()
	return 0
}

func (p *Placeholder) CallInternal(*star.Thread, star.Tuple, []star.Tuple) (star.Value, error) {
	return p.child(), nil
}
