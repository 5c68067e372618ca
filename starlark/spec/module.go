package spec

import (
	"fmt"
	"maps"
	"slices"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// A namespace is a module as users see it in one evaluation.
type namespace struct {
	module  *Module
	env     *Env
	members map[string]star.Value
}

var _ star.HasAttrs = (*namespace)(nil)

// Value returns the module for the evaluation of env: attributes that do not
// exist are reported there and give placeholders.
func (m *Module) Value(env *Env) star.Value {
	n := &namespace{module: m, env: env, members: make(map[string]star.Value, len(m.Classes)+len(m.Values))}
	for _, c := range m.Classes {
		n.members[c.Name] = c.Value()
	}
	for name, v := range m.Values {
		v.Freeze()
		n.members[name] = v
	}
	return n
}

func (n *namespace) String() string        { return "<module " + n.module.Name + ">" }
func (n *namespace) Type() string          { return "module" }
func (n *namespace) Freeze()               {}
func (n *namespace) Truth() star.Bool      { return true }
func (n *namespace) Hash() (uint32, error) { return star.String(n.module.Name).Hash() }
func (n *namespace) AttrNames() []string   { return slices.Sorted(maps.Keys(n.members)) }

// Attr returns a class or constant.
func (n *namespace) Attr(name string) (star.Value, error) {
	if v, ok := n.members[name]; ok {
		return v, nil
	}
	if now, old := n.module.Old[name]; old {
		return n.env.missing(prop.Problem{Code: "old-name", Subject: n.module.Name + "." + name, Text: oldName, Hint: "write " + now})
	}
	why, known := n.module.Unsupported[name]
	if known || n.module.NotYet {
		return n.env.missing(prop.Problem{Code: "not-supported", Subject: n.module.Name + "." + name, Text: "not supported yet", Hint: why})
	}
	return n.env.missing(noSuch(n.module.Name, name, n.nearest(name)))
}

const oldName = "this is the name that Buildbot 0.8 had"

func noSuch(in, name, near string) prop.Problem {
	return prop.Problem{Code: "unknown-name", Subject: in + "." + name, Text: "there is no " + name + " in " + in, Hint: didYouMean(near)}
}

// noAttr is what an object of class says of an attribute that it lacks.
func (e *Env) noAttr(class, name string, names []string) (star.Value, error) {
	return e.missing(noSuch(class, name, prop.Nearest(name, names)))
}

// missing reports that an attribute does not exist and returns a placeholder, or
// fails where problems are not collected. hasattr and getattr may ask for
// anything: they get the answer of the interpreter.
func (e *Env) missing(p prop.Problem) (star.Value, error) {
	if e == nil || e.sealed || !e.Collect || e.thread == nil {
		return nil, star.NoSuchAttrError(fmt.Sprintf("%s: %s%s", p.Subject, p.Text, parenthesis(p.Hint)))
	}
	at, ok := posAt(e.thread, 0)
	if !ok {
		return nil, nil
	}
	p.Pos, p.Chain = at, chainAt(e.thread, 0)
	e.Report(p)
	return &Placeholder{env: e}, nil
}

// nearest looks among what exists, then among what Buildbot has.
func (n *namespace) nearest(name string) string {
	if near := prop.Nearest(name, n.AttrNames()); near != "" {
		return near
	}
	return prop.Nearest(name, slices.Sorted(maps.Keys(n.module.Unsupported)))
}

func parenthesis(hint string) string {
	if hint == "" {
		return ""
	}
	return " (" + hint + ")"
}
