package starlark

import (
	"strings"

	"go.starlark.net/syntax"

	"buildstar/config/prop"
)

// keyPlaces returns where the keys of c stand in the syntax tree of master.star:
// "title", "www.port". root is c or BuildmasterConfig; its own place has the key
// "". Of several assignments the last one counts, as in the evaluation.
func keyPlaces(tree *syntax.File, root string) map[string]prop.Pos {
	k := keyFinder{root: root, at: make(map[string]prop.Pos)}
	syntax.Walk(tree, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.AssignStmt:
			if keys, pos, ok := k.path(n.LHS); ok {
				k.set(keys, pos, n.Op != syntax.EQ)
				k.children(keys, n.RHS)
			}
		case *syntax.CallExpr:
			k.call(n)
		}
		return true
	})
	return k.at
}

type keyFinder struct {
	root string
	at   map[string]prop.Pos
}

// set notes a key; an augmented assignment (+=) does not move it.
func (k keyFinder) set(keys []string, pos prop.Pos, augmented bool) {
	name := strings.Join(keys, ".")
	if _, known := k.at[name]; !known || !augmented {
		k.at[name] = pos
	}
}

// path returns the keys of c['www']['port'] and the place of the last.
func (k keyFinder) path(x syntax.Expr) (keys []string, pos prop.Pos, ok bool) {
	switch x := x.(type) {
	case *syntax.Ident:
		return nil, posOf(x.NamePos), x.Name == k.root
	case *syntax.ParenExpr:
		return k.path(x.X)
	case *syntax.IndexExpr:
		keys, _, ok = k.path(x.X)
		lit, isLit := x.Y.(*syntax.Literal)
		if !ok || !isLit {
			return nil, prop.Pos{}, false
		}
		name, isString := lit.Value.(string)
		return append(keys, name), posOf(lit.TokenPos), isString
	}
	return nil, prop.Pos{}, false
}

// children notes the keys of a dict literal or a call of dict(k = v).
func (k keyFinder) children(keys []string, x syntax.Expr) {
	switch x := x.(type) {
	case *syntax.ParenExpr:
		k.children(keys, x.X)
	case *syntax.DictExpr:
		for _, e := range x.List {
			entry, ok := e.(*syntax.DictEntry)
			if !ok {
				continue
			}
			if lit, ok := entry.Key.(*syntax.Literal); ok {
				if name, ok := lit.Value.(string); ok {
					k.child(keys, name, posOf(lit.TokenPos), entry.Value)
				}
			}
		}
	case *syntax.CallExpr:
		if fn, ok := x.Fn.(*syntax.Ident); ok && fn.Name == "dict" {
			k.arguments(keys, x.Args)
		}
	}
}

func (k keyFinder) child(keys []string, name string, pos prop.Pos, value syntax.Expr) {
	sub := append(keys[:len(keys):len(keys)], name)
	k.set(sub, pos, false)
	k.children(sub, value)
}

func (k keyFinder) arguments(keys []string, args []syntax.Expr) {
	for _, a := range args {
		if b, ok := a.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
			if id, ok := b.X.(*syntax.Ident); ok {
				k.child(keys, id.Name, posOf(id.NamePos), b.Y)
				continue
			}
		}
		k.children(keys, a)
	}
}

// call notes the keys of c.update({...}) and c.setdefault('k', v).
func (k keyFinder) call(n *syntax.CallExpr) {
	dot, ok := n.Fn.(*syntax.DotExpr)
	if !ok {
		return
	}
	keys, _, ok := k.path(dot.X)
	if !ok {
		return
	}
	switch dot.Name.Name {
	case "update":
		k.arguments(keys, n.Args)
	case "setdefault":
		if len(n.Args) == 0 {
			return
		}
		if lit, ok := n.Args[0].(*syntax.Literal); ok {
			if name, ok := lit.Value.(string); ok {
				k.set(append(keys, name), posOf(lit.TokenPos), true)
			}
		}
	}
}
