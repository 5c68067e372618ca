package starlark

import (
	"fmt"

	"go.starlark.net/syntax"

	"buildstar/config/prop"
)

// comparisons reports == and != of what a build decides, as Buildbot has them.
// Starlark answers at once: such an expression is always False or always True, so
// that a step would silently never run.
func (e *evaluation) comparisons(f *file) {
	c := comparer{classes: e.renderables(), names: make(map[string]bool)}
	for _, stmt := range f.tree.Stmts {
		if a, ok := stmt.(*syntax.AssignStmt); ok && a.Op == syntax.EQ {
			if id, ok := a.LHS.(*syntax.Ident); ok {
				known, before := c.names[id.Name]
				c.names[id.Name] = c.renderable(a.RHS) && (known || !before)
			}
		}
	}
	syntax.Walk(f.tree, func(n syntax.Node) bool {
		x, ok := n.(*syntax.BinaryExpr)
		if ok && (x.Op == syntax.EQL || x.Op == syntax.NEQ) && (c.renderable(x.X) || c.renderable(x.Y)) {
			method := map[syntax.Token]string{syntax.EQL: "eq", syntax.NEQ: "ne"}[x.Op]
			e.report(prop.Problem{Code: "compared-too-early", Pos: posOf(x.OpPos),
				Text: fmt.Sprintf("%s is decided here, before there is a build", x.Op),
				Hint: fmt.Sprintf("write util.Property(...).%s(...), which each build decides", method)})
		}
		return true
	})
}

// renderables returns the classes whose values each build decides: util.Property.
func (e *evaluation) renderables() map[[2]string]bool {
	classes := make(map[[2]string]bool)
	for _, m := range e.opts.Modules {
		for _, c := range m.Classes {
			if c.Binary != nil {
				classes[[2]string{m.Name, c.Name}] = true
			}
		}
	}
	return classes
}

type comparer struct {
	classes map[[2]string]bool
	names   map[string]bool // globals, true for those that only hold renderables
}

// renderable reports whether x surely is one.
func (c comparer) renderable(x syntax.Expr) bool {
	switch x := x.(type) {
	case *syntax.ParenExpr:
		return c.renderable(x.X)
	case *syntax.Ident:
		return c.names[x.Name]
	case *syntax.CallExpr:
		dot, ok := x.Fn.(*syntax.DotExpr)
		if !ok {
			return false
		}
		module, ok := dot.X.(*syntax.Ident)
		return ok && c.classes[[2]string{module.Name, dot.Name.Name}]
	}
	return false
}
