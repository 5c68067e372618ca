package prop

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxWidth bounds the width and precision of a conversion: what one conversion
// prints beyond its value.
const maxWidth = 10_000

// A verb is one printf conversion in Python's sense.
type verb struct {
	minus, plus, space, zero, alt bool
	width, prec                   int // noNumber: not given; star: taken from the arguments
	conv                          byte
}

const (
	noNumber = -1
	star     = -2
)

// parseVerb reads what follows a "%" and an optional key. n is how much of s it
// took.
func parseVerb(s string) (v verb, n int, err error) {
	v.width, v.prec = noNumber, noNumber
	i := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '-':
			v.minus = true
			continue
		case '+':
			v.plus = true
			continue
		case ' ':
			v.space = true
			continue
		case '0':
			v.zero = true
			continue
		case '#':
			v.alt = true
			continue
		}
		break
	}
	if v.width, i, err = parseSize(s, i, noNumber); err != nil {
		return v, i, fmt.Errorf("width %w", err)
	}
	if i < len(s) && s[i] == '.' {
		if v.prec, i, err = parseSize(s, i+1, 0); err != nil {
			return v, i, fmt.Errorf("precision %w", err)
		}
	}
	if i < len(s) && strings.IndexByte("hlL", s[i]) >= 0 {
		i++
	}
	if i == len(s) {
		return v, i, errors.New(`the conversion is not complete: end it with "s", or write "%%" for a percent sign`)
	}
	if strings.IndexByte("diouxXeEfFgGcrsa%", s[i]) < 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return v, i, fmt.Errorf(`%q is no conversion: use "s", or write "%%%%" for a percent sign`, r)
	}
	v.conv = s[i]
	return v, i + 1, nil
}

// parseSize reads a number or "*" at i; absent is what nothing means.
func parseSize(s string, i, absent int) (size, next int, err error) {
	if i < len(s) && s[i] == '*' {
		return star, i + 1, nil
	}
	start := i
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	if i == start {
		return absent, i, nil
	}
	size, err = strconv.Atoi(s[start:i])
	if err != nil || size > maxWidth {
		return 0, i, fmt.Errorf("is more than %d", maxWidth)
	}
	return size, i, nil
}

// append formats one value. The errors do not show the value, which may be a
// secret.
func (v verb) append(dst []byte, x any) ([]byte, error) {
	switch v.conv {
	case 's':
		return v.text(dst, Str(x)), nil
	case 'r':
		return v.text(dst, Repr(x)), nil
	case 'a':
		return v.text(dst, ascii(Repr(x))), nil
	case 'c':
		return v.char(dst, x)
	}
	n, ok := number(x)
	if !ok {
		return dst, fmt.Errorf("%%%c wants a number, got %s", v.conv, kindOf(x))
	}
	switch v.conv {
	case 'd', 'i', 'u':
		digits, err := truncated(n)
		if err != nil {
			return dst, err
		}
		return v.integer(dst, digits, ""), nil
	case 'x', 'X', 'o':
		i, ok := n.(int64)
		if !ok {
			return dst, fmt.Errorf("%%%c wants an int, got %s", v.conv, kindOf(x))
		}
		base, prefix := 16, "0"+string(v.conv)
		if v.conv == 'o' {
			base = 8
		}
		digits := strconv.FormatInt(i, base)
		if v.conv == 'X' {
			digits = strings.ToUpper(digits)
		}
		if !v.alt {
			prefix = ""
		}
		return v.integer(dst, digits, prefix), nil
	}
	return v.float(dst, asFloat(n)), nil
}

func ascii(s string) string {
	var b []byte
	for _, r := range s {
		switch {
		case r < 0x80:
			b = append(b, byte(r))
		case r < 0x100:
			b = fmt.Appendf(b, `\x%02x`, r)
		case r < 0x10000:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = fmt.Appendf(b, `\U%08x`, r)
		}
	}
	return string(b)
}

func kindOf(v any) string {
	word, _, _ := strings.Cut(Describe(v), " ")
	return word
}

// truncated returns the decimal digits of a number without its fraction.
func truncated(n any) (string, error) {
	f, ok := n.(float64)
	if !ok {
		return strconv.FormatInt(n.(int64), 10), nil
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return "", errors.New("%d wants a finite number")
	}
	i, _ := big.NewFloat(f).Int(nil)
	return i.String(), nil
}

func (v verb) text(dst []byte, s string) []byte {
	if v.prec >= 0 {
		n := 0
		for i := range s {
			if n == v.prec {
				s = s[:i]
				break
			}
			n++
		}
	}
	return v.pad(dst, "", s, false)
}

func (v verb) char(dst []byte, x any) ([]byte, error) {
	if n, ok := number(x); ok {
		if i, ok := n.(int64); ok && 0 <= i && i <= utf8.MaxRune {
			return v.pad(dst, "", string(rune(i)), false), nil
		}
	} else if s, ok := x.(string); ok && utf8.RuneCountInString(s) == 1 {
		return v.pad(dst, "", s, false), nil
	}
	return dst, fmt.Errorf("%%c wants one character or the number of one, got %s", kindOf(x))
}

// integer pads digits, which may begin with "-".
func (v verb) integer(dst []byte, digits, prefix string) []byte {
	sign := v.sign(&digits)
	if v.prec > len(digits) {
		digits = strings.Repeat("0", v.prec-len(digits)) + digits
	}
	return v.pad(dst, sign+prefix, digits, v.zero)
}

func (v verb) float(dst []byte, f float64) []byte {
	prec := v.prec
	if prec < 0 {
		prec = 6
	}
	format := "%.*" + string(v.conv)
	if v.alt {
		format = "%#.*" + string(v.conv)
	}
	digits := fmt.Sprintf(format, prec, f)
	if math.IsInf(f, 0) || math.IsNaN(f) {
		digits = strings.TrimPrefix(strings.ToLower(digits), "+")
	}
	sign := v.sign(&digits)
	return v.pad(dst, sign, digits, v.zero)
}

// sign cuts a "-" off digits and returns the sign to print.
func (v verb) sign(digits *string) string {
	rest, negative := strings.CutPrefix(*digits, "-")
	*digits = rest
	switch {
	case negative:
		return "-"
	case v.plus:
		return "+"
	case v.space:
		return " "
	}
	return ""
}

func (v verb) pad(dst []byte, sign, s string, zeros bool) []byte {
	n := v.width - len(sign) - utf8.RuneCountInString(s)
	if n <= 0 {
		return append(append(dst, sign...), s...)
	}
	switch {
	case v.minus:
		dst = append(append(dst, sign...), s...)
		return appendRepeat(dst, ' ', n)
	case zeros:
		dst = appendRepeat(append(dst, sign...), '0', n)
	default:
		dst = append(appendRepeat(dst, ' ', n), sign...)
	}
	return append(dst, s...)
}

func appendRepeat(dst []byte, c byte, n int) []byte {
	for range n {
		dst = append(dst, c)
	}
	return dst
}
