package call

import (
	"fmt"
	"maps"
	"slices"

	"go.starlark.net/resolve"
	"go.starlark.net/syntax"
)

// tree appends a syntax tree without positions and comments, and returns the
// names of the globals that it uses, sorted.
func (e *encoder) tree(def syntax.Node) []string {
	globals := make(map[string]bool)
	var parens []bool // of the open nodes: is it a pair of parentheses, which means nothing
	syntax.Walk(def, func(n syntax.Node) bool {
		if n == nil {
			last := len(parens) - 1
			if !parens[last] {
				e.dst = append(e.dst, ')')
			}
			parens = parens[:last]
			return true
		}
		_, paren := n.(*syntax.ParenExpr)
		parens = append(parens, paren)
		if paren {
			return true
		}
		e.dst = fmt.Appendf(e.dst, "(%T", n)
		e.node(n)
		if id, ok := n.(*syntax.Ident); ok {
			if b, ok := id.Binding.(*resolve.Binding); ok && b.Scope == resolve.Global {
				globals[id.Name] = true
			}
		}
		return true
	})
	return slices.Sorted(maps.Keys(globals))
}

// node appends what of a node is not in its children, and where one list of
// children ends and the next begins.
func (e *encoder) node(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.Ident:
		e.text(n.Name)
	case *syntax.Literal:
		e.text(n.Token.String())
		e.text(fmt.Sprint(n.Value))
	case *syntax.BinaryExpr:
		e.text(n.Op.String())
	case *syntax.UnaryExpr:
		e.text(n.Op.String())
	case *syntax.AssignStmt:
		e.text(n.Op.String())
	case *syntax.BranchStmt:
		e.text(n.Token.String())
	case *syntax.IfStmt:
		e.count(len(n.True))
	case *syntax.DefStmt:
		e.count(len(n.Params))
	case *syntax.LambdaExpr:
		e.count(len(n.Params))
	case *syntax.SliceExpr:
		for _, x := range []syntax.Expr{n.Lo, n.Hi, n.Step} {
			if x == nil {
				e.dst = append(e.dst, '0')
			} else {
				e.dst = append(e.dst, '1')
			}
		}
	case *syntax.Comprehension:
		e.dst = fmt.Append(e.dst, n.Curly)
	}
}
