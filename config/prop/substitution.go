package prop

import (
	"context"
	"strings"
	"unicode/utf8"
)

// A substitution is what stands in the parentheses of a conversion: a place to
// look, and what to do with what is found or missing there.
type substitution struct {
	find   finder
	action byte   // one of "-~+?#", "#" for "#?"
	yes    []part // of "+", "?" and "#?"
	no     []part // of "-", "~", "?" and "#?"
}

// A finder looks a value up; ok is false if it is missing.
type finder func(ctx context.Context, p Props) (v any, ok bool, err error)

// value carries the action out. None counts as "".
func (s *substitution) value(ctx context.Context, p Props) (any, error) {
	v, ok, err := s.find(ctx, p)
	if err != nil {
		return nil, err
	}
	var text []part
	switch s.action {
	case '-':
		if ok {
			return orEmpty(v), nil
		}
		text = s.no
	case '~':
		if ok && Truthy(v) {
			return v, nil
		}
		text = s.no
	case '+', '?':
		text = s.no
		if ok {
			text = s.yes
		}
	case '#':
		text = s.no
		if ok && Truthy(v) {
			text = s.yes
		}
	}
	b, err := renderParts(ctx, p, text, nil)
	return string(b), err
}

func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

// substitution parses format[from:to], the inside of the parentheses.
func (p *parser) substitution(from, to, depth int) (source, error) {
	inside := p.format[from:to]
	name, arg, ok := strings.Cut(inside, ":")
	if !ok {
		return nil, p.fail(from, "%q has no selector: write %%(prop:%s)s for the property", inside, inside)
	}
	at := from + len(name) + 1
	s := &substitution{action: '-'}
	var rest string // the action, with its colon
	var err error
	switch name {
	case "prop", "kw":
		var key string
		if key, rest, err = p.identifier(at, arg, "name"); err != nil {
			return nil, err
		}
		s.find = findProp(key)
		if name == "kw" {
			s.find = findKeyword(p.kw[key])
		}
	case "src":
		if s.find, rest, err = p.src(at, arg); err != nil {
			return nil, err
		}
	case "secret", "worker":
		key, _, _ := strings.Cut(arg, ":")
		rest = arg[len(key):]
		s.find = findFact(key)
		if name == "secret" {
			s.find = findSecret(key)
		}
	default:
		return nil, p.fail(from, "%q is no selector: use prop, src, kw, secret or worker", name)
	}
	if rest == "" {
		return s, nil
	}
	return s, p.action(s, to-len(rest)+1, to, depth)
}

// identifier cuts an identifier off arg, which starts at at.
func (p *parser) identifier(at int, arg, what string) (id, rest string, err error) {
	id, _, _ = strings.Cut(arg, ":")
	for i, r := range id {
		if r != '_' && r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return "", "", p.fail(at+i, "%q cannot be in a %s: use letters, digits, _, . and -", r, what)
		}
	}
	return id, arg[len(id):], nil
}

func (p *parser) src(at int, arg string) (finder, string, error) {
	codebase, rest, err := p.identifier(at, arg, "codebase")
	if err != nil {
		return nil, "", err
	}
	if rest == "" {
		return nil, "", p.fail(at+len(codebase), "src needs a codebase, which may be empty, and an attribute: %%(src:%s:branch)s", codebase)
	}
	at += len(codebase) + 1
	attr, rest, err := p.identifier(at, rest[1:], "attribute")
	if err != nil {
		return nil, "", err
	}
	if _, ok := (SourceStamp{}).Attr(attr); !ok {
		return nil, "", p.fail(at, "%q is no attribute of a source stamp: use branch, revision, repository, project, codebase or changes", attr)
	}
	return findSrc(codebase, attr), rest, nil
}

// action parses format[from:to], what follows the key and a colon.
func (p *parser) action(s *substitution, from, to, depth int) (err error) {
	text := p.format[from:to]
	switch {
	case strings.HasPrefix(text, "-"), strings.HasPrefix(text, "~"):
		s.action = text[0]
		s.no, err = p.text(from+1, to, depth+1)
	case strings.HasPrefix(text, "+"):
		s.action = '+'
		s.yes, err = p.text(from+1, to, depth+1)
	case strings.HasPrefix(text, "?"):
		s.action = '?'
		err = p.ternary(s, from+1, to, depth)
	case strings.HasPrefix(text, "#?"):
		s.action = '#'
		err = p.ternary(s, from+2, to, depth)
	case text == "":
		err = p.fail(from, "nothing follows the colon: write :-TEXT for a default, or leave the colon out")
	default:
		r, _ := utf8.DecodeRuneInString(text)
		err = p.fail(from, "%q is no action: use :-TEXT, :~TEXT, :+TEXT, :?|YES|NO or :#?|YES|NO", r)
	}
	return err
}

// ternary parses a delimiter, a text, the delimiter again and another text. A
// delimiter in parentheses does not count, so that texts may nest.
func (p *parser) ternary(s *substitution, from, to, depth int) (err error) {
	if from == to {
		return p.fail(from, "a delimiter must follow, as in :?|YES|NO")
	}
	delim, n := utf8.DecodeRuneInString(p.format[from:to])
	if delim == '(' || delim == ')' {
		return p.fail(from, "%q cannot be a delimiter", delim)
	}
	mark := p.format[from : from+n]
	yes := from + n
	open := 0
	for i := yes; i < to; i++ {
		switch {
		case open == 0 && strings.HasPrefix(p.format[i:to], mark):
			if s.yes, err = p.text(yes, i, depth+1); err != nil {
				return err
			}
			s.no, err = p.text(i+n, to, depth+1)
			return err
		case p.format[i] == '(':
			open++
		case p.format[i] == ')':
			open--
		}
		if open < 0 {
			return p.fail(i, "a parenthesis is closed that was not opened")
		}
	}
	if open > 0 {
		return p.fail(yes, "a parenthesis is not closed")
	}
	return p.fail(from, "the delimiter %s must come twice, as in :?%sYES%sNO", mark, mark, mark)
}

func findProp(name string) finder {
	return func(_ context.Context, p Props) (any, bool, error) {
		v, ok := p.Property(name)
		return v, ok, nil
	}
}

func findKeyword(r Renderable) finder {
	return func(ctx context.Context, p Props) (any, bool, error) {
		if r == nil {
			return nil, false, nil
		}
		v, err := r.Render(ctx, p)
		return v, true, err
	}
}

func findSrc(codebase, attr string) finder {
	return func(_ context.Context, p Props) (any, bool, error) {
		ss, ok := p.SourceStamp(codebase)
		if !ok {
			return nil, false, nil
		}
		v, ok := ss.Attr(attr)
		return v, ok, nil
	}
}

func findFact(name string) finder {
	return func(_ context.Context, p Props) (any, bool, error) {
		v, ok := p.Fact(name)
		return v, ok, nil
	}
}

// findSecret finds or fails: a default for a secret would hide that it is lost.
func findSecret(name string) finder {
	return func(ctx context.Context, p Props) (any, bool, error) {
		s, err := p.Secret(ctx, name)
		return s, true, err
	}
}
