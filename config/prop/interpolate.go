package prop

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// An Interpolation is util.Interpolate: a string with conversions such as
// %(prop:branch)s that are filled in from a build (docs/requirements.md C3). Make it with
// [Interpolate].
type Interpolation struct {
	format string
	parts  []part
	args   []Renderable
	kw     map[string]Renderable
}

// A part is literal text, or a conversion and where its value comes from.
type part struct {
	lit  string
	verb *verb
	from source // nil: the next positional argument
	spec string // the conversion as written, for errors
}

// A source gives the value of a conversion.
type source interface {
	value(ctx context.Context, p Props) (any, error)
}

// A SyntaxError says what is wrong in an Interpolate string, and where: Offset
// counts bytes from the start of Format.
type SyntaxError struct {
	Format string
	Offset int
	Text   string
}

// Error returns the place as a person counts characters, and the text.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("at character %d: %s", len([]rune(e.Format[:e.Offset]))+1, e.Text)
}

// Interpolate parses a format. It takes either positional arguments, for
// conversions without a key, or keyword arguments, for %(kw:name)s. The error is
// a *SyntaxError unless both are given.
func Interpolate(format string, args []Renderable, kw map[string]Renderable) (*Interpolation, error) {
	if len(args) > 0 && len(kw) > 0 {
		return nil, fmt.Errorf("Interpolate takes positional or keyword arguments, not both: write every %%s as %%(kw:NAME)s")
	}
	p := parser{format: format, kw: kw, positional: len(args) > 0}
	parts, err := p.all(len(args))
	if err != nil {
		return nil, err
	}
	return &Interpolation{format: format, parts: parts, args: args, kw: kw}, nil
}

// String returns the format.
func (in *Interpolation) String() string { return in.format }

// Render returns the string. Errors name the conversion that has no fitting value.
func (in *Interpolation) Render(ctx context.Context, p Props) (any, error) {
	args := make([]any, len(in.args))
	for i, a := range in.args {
		v, err := a.Render(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("argument %d of Interpolate: %w", i+1, err)
		}
		args[i] = v
	}
	b, err := renderParts(ctx, p, in.parts, args)
	if err != nil {
		return nil, err
	}
	return string(b), nil
}

// AppendCanonical appends the format and the arguments.
func (in *Interpolation) AppendCanonical(dst []byte) []byte {
	dst = appendString(appendNode(dst, "Interpolate", in.args...), in.format)
	for _, k := range sortedKeys(in.kw) {
		dst = in.kw[k].AppendCanonical(appendString(dst, k))
	}
	return append(dst, '.')
}

func renderParts(ctx context.Context, p Props, parts []part, args []any) ([]byte, error) {
	var dst []byte
	for _, part := range parts {
		if part.verb == nil {
			dst = append(dst, part.lit...)
			continue
		}
		v := *part.verb
		var x any
		var err error
		if part.from == nil {
			v, x, args, err = take(v, args)
		} else {
			x, err = part.from.value(ctx, p)
		}
		if err == nil {
			dst, err = v.append(dst, x)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.spec, err)
		}
	}
	return dst, nil
}

// take takes the values of a positional conversion: its width and precision if
// they are stars, then the value.
func take(v verb, args []any) (verb, any, []any, error) {
	for _, size := range []*int{&v.width, &v.prec} {
		if *size != star {
			continue
		}
		n, ok := args[0].(int64)
		if !ok {
			return v, nil, args, fmt.Errorf("* wants an int, got %s", kindOf(args[0]))
		}
		args = args[1:]
		if n > maxWidth || n < -maxWidth {
			return v, nil, args, fmt.Errorf("* is more than %d", maxWidth)
		}
		if n < 0 {
			if size == &v.prec {
				n = 0
			} else {
				v.minus, n = true, -n
			}
		}
		*size = int(n)
	}
	return v, args[0], args[1:], nil
}

// maxNesting bounds how deep actions may nest in actions.
const maxNesting = 50

type parser struct {
	format     string
	kw         map[string]Renderable
	positional bool
	taken      int // arguments that positional conversions take
}

func (p *parser) fail(at int, format string, args ...any) error {
	return &SyntaxError{p.format, at, fmt.Sprintf(format, args...)}
}

// all parses the whole format and checks that it takes args positional arguments.
func (p *parser) all(args int) ([]part, error) {
	parts, err := p.text(0, len(p.format), 0)
	if err == nil && p.positional && p.taken != args {
		err = p.fail(len(p.format), "the string has %d conversions and %d arguments", p.taken, args)
	}
	return parts, err
}

// text parses format[from:to], which is the whole or a text inside an action.
func (p *parser) text(from, to, depth int) ([]part, error) {
	if depth > maxNesting {
		return nil, p.fail(from, "substitutions nest more than %d deep", maxNesting)
	}
	var parts []part
	literal := func(s string) {
		if n := len(parts); n > 0 && parts[n-1].verb == nil {
			parts[n-1].lit += s
		} else if s != "" {
			parts = append(parts, part{lit: s})
		}
	}
	for at := from; at < to; {
		i := strings.IndexByte(p.format[at:to], '%')
		if i < 0 {
			literal(p.format[at:to])
			break
		}
		literal(p.format[at : at+i])
		next, pt, err := p.conversion(at+i, to, depth)
		if err != nil {
			return nil, err
		}
		if pt.verb == nil {
			literal("%")
		} else {
			parts = append(parts, pt)
		}
		at = next
	}
	return slices.Clip(parts), nil
}

// conversion parses one conversion that starts with the "%" at at. A part without
// a verb is a percent sign.
func (p *parser) conversion(at, to, depth int) (next int, pt part, err error) {
	next = at + 1
	var from source
	keyed := next < to && p.format[next] == '('
	if keyed {
		end := closing(p.format[next:to])
		if end < 0 {
			return 0, part{}, p.fail(at, "the parenthesis after %% is never closed")
		}
		if p.positional {
			return 0, part{}, p.fail(at, "%s cannot stand beside positional arguments: give them by keyword, for %%(kw:NAME)s", p.format[at:next+end+1])
		}
		if from, err = p.substitution(next+1, next+end, depth); err != nil {
			return 0, part{}, err
		}
		next += end + 1
	}
	v, n, err := parseVerb(p.format[next:to])
	if err != nil {
		return 0, part{}, p.fail(at, "%s", err)
	}
	next += n
	stars := btoi(v.width == star) + btoi(v.prec == star)
	switch {
	case keyed && stars > 0:
		return 0, part{}, p.fail(at, "* needs positional arguments: write the number")
	case v.conv == '%' && stars == 0:
		return next, part{}, nil
	case !keyed && !p.positional:
		return 0, part{}, p.fail(at, `%s has nothing to print: name a value, as in %%(prop:NAME)s, or give an argument (write "%%%%" for a percent sign)`, p.format[at:next])
	case !keyed && v.conv == '%':
		return 0, part{}, p.fail(at, "%s: a percent sign has no width", p.format[at:next])
	case !keyed:
		p.taken += stars + 1
	}
	return next, part{verb: &v, from: from, spec: p.format[at:next]}, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// closing returns the index of the ")" that closes the "(" at s[0], or -1.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
