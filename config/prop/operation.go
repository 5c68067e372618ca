package prop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Operation is an operator between two Renderables, with Python's meaning
// (docs/requirements.md C3). Op is one of == != < <= > >= + - * / // % in.
type Operation struct {
	Op   string
	X, Y Renderable
}

// Operate returns the Operation x op y. It refuses an op that there is not.
func Operate(op string, x, y Renderable) (*Operation, error) {
	if _, ok := operators[op]; !ok {
		return nil, fmt.Errorf("%q is no operator of properties", op)
	}
	return &Operation{op, x, y}, nil
}

// Render renders both sides, then applies the operator.
func (o *Operation) Render(ctx context.Context, p Props) (any, error) {
	x, err := o.X.Render(ctx, p)
	if err != nil {
		return nil, err
	}
	y, err := o.Y.Render(ctx, p)
	if err != nil {
		return nil, err
	}
	v, err := operators[o.Op](x, y)
	if err != nil {
		return nil, fmt.Errorf("operator %s: %w", o.Op, err)
	}
	return v, nil
}

// AppendCanonical appends the operator and both sides.
func (o *Operation) AppendCanonical(dst []byte) []byte {
	return appendNode(dst, "Op"+o.Op, o.X, o.Y)
}

var operators = map[string]func(x, y any) (any, error){
	"==": func(x, y any) (any, error) { return Equal(x, y), nil },
	"!=": func(x, y any) (any, error) { return !Equal(x, y), nil },
	"<":  ordered(func(c int) bool { return c < 0 }),
	"<=": ordered(func(c int) bool { return c <= 0 }),
	">":  ordered(func(c int) bool { return c > 0 }),
	">=": ordered(func(c int) bool { return c >= 0 }),
	"in": contains,
	"+":  add,
	"-":  func(x, y any) (any, error) { return arithmetic("-", x, y) },
	"*":  multiply,
	"/":  func(x, y any) (any, error) { return arithmetic("/", x, y) },
	"//": func(x, y any) (any, error) { return arithmetic("//", x, y) },
	"%":  modulo,
}

func ordered(is func(int) bool) func(x, y any) (any, error) {
	return func(x, y any) (any, error) {
		c, err := Compare(x, y)
		if err != nil {
			return nil, err
		}
		return is(c), nil
	}
}

func contains(x, y any) (any, error) {
	switch y := y.(type) {
	case []any:
		return slices.ContainsFunc(y, func(e any) bool { return Equal(x, e) }), nil
	case map[string]any:
		k, ok := x.(string)
		_, has := y[k]
		return ok && has, nil
	case string:
		if s, ok := x.(string); ok {
			return strings.Contains(y, s), nil
		}
		return nil, fmt.Errorf("want string on the left, got %s", Describe(x))
	}
	return nil, fmt.Errorf("want list, dict or string on the right, got %s", Describe(y))
}

func add(x, y any) (any, error) {
	switch x := x.(type) {
	case string:
		if y, ok := y.(string); ok {
			return x + y, nil
		}
	case []any:
		if y, ok := y.([]any); ok {
			return slices.Concat(x, y), nil
		}
	}
	return arithmetic("+", x, y)
}

// maxRepeat bounds the bytes or items that * makes.
const maxRepeat = 1 << 20

func multiply(x, y any) (any, error) {
	if _, ok := number(x); ok {
		if _, ok := number(y); !ok {
			x, y = y, x // 3 * "a"
		}
	}
	size := -1
	switch x := x.(type) {
	case string:
		size = len(x)
	case []any:
		size = len(x)
	}
	m, _ := number(y)
	n, ok := m.(int64)
	if size < 0 || !ok {
		return arithmetic("*", x, y)
	}
	n = max(n, 0)
	if size > 0 && n > maxRepeat/int64(size) {
		return nil, fmt.Errorf("the result has more than %d characters or items", maxRepeat)
	}
	if s, ok := x.(string); ok {
		return strings.Repeat(s, int(n)), nil
	}
	if size == 0 {
		return []any{}, nil
	}
	return slices.Repeat(x.([]any), int(n)), nil
}

// modulo is the remainder of numbers and, of a string, formatting: a list on the
// right is the arguments.
func modulo(x, y any) (any, error) {
	format, ok := x.(string)
	if !ok {
		return arithmetic("%", x, y)
	}
	values, ok := y.([]any)
	if !ok {
		values = []any{y}
	}
	p := parser{format: format, positional: true}
	parts, err := p.all(len(values))
	if err != nil {
		return nil, err
	}
	b, err := renderParts(context.Background(), nil, parts, values)
	return string(b), err
}

var (
	errZero     = errors.New("division by zero")
	errTooLarge = errors.New("the result does not fit 64 bits")
)
