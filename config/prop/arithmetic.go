package prop

import (
	"fmt"
	"math"
	"math/bits"
)

// arithmetic applies + - * / // or % to two numbers. / makes a float; // and %
// round down, so that the remainder has the sign of the divisor.
func arithmetic(op string, x, y any) (any, error) {
	m, ok := number(x)
	n, ok2 := number(y)
	if !ok || !ok2 {
		return nil, fmt.Errorf("cannot take %s and %s", Describe(x), Describe(y))
	}
	i, ok := m.(int64)
	j, ok2 := n.(int64)
	if ok && ok2 && op != "/" {
		return integers(op, i, j)
	}
	a, b := asFloat(m), asFloat(n)
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		return nil, errZero
	}
	var f float64
	switch op {
	case "+":
		f = a + b
	case "-":
		f = a - b
	case "*":
		f = a * b
	case "/":
		f = a / b
	case "//":
		f = math.Floor(a / b)
	case "%":
		if f = math.Mod(a, b); f != 0 && (f < 0) != (b < 0) {
			f += b
		}
	}
	if math.IsInf(f, 0) || math.IsNaN(f) { // no property value: JSON cannot say it
		return nil, errTooLarge
	}
	return f, nil
}

func integers(op string, i, j int64) (any, error) {
	var r int64
	ok := true
	switch op {
	case "+":
		r = i + j
		ok = (r > i) == (j > 0)
	case "-":
		r = i - j
		ok = (r < i) == (j > 0)
	case "*":
		r, ok = product(i, j)
	default:
		if j == 0 {
			return nil, errZero
		}
		if i == math.MinInt64 && j == -1 {
			if op == "%" {
				return int64(0), nil
			}
			return nil, errTooLarge
		}
		q, rem := i/j, i%j
		if rem != 0 && (rem < 0) != (j < 0) {
			q, rem = q-1, rem+j
		}
		if r = q; op == "%" {
			r = rem
		}
	}
	if !ok {
		return nil, errTooLarge
	}
	return r, nil
}

func product(i, j int64) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(i), magnitude(j))
	if negative := (i < 0) != (j < 0); negative {
		return -int64(lo), hi == 0 && lo <= 1<<63
	}
	return int64(lo), hi == 0 && lo < 1<<63
}

func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}
