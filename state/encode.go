package state

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendString appends s as a JSON string, escaped as encoding/json does, so that
// it may stand in a script element; bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
			start = i + size
		case r == '\u2028', r == '\u2029':
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, "0123456789abcdef"[r&0xf])
			start = i + size
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}

// AppendValue appends a property value (string, bool, int64, float64, nil, lists and
// string-keyed maps of them) as JSON, with the keys of maps sorted. A whole float64
// keeps its ".0", so that [Plain] reads it back as what it was; NaN and the
// infinities become null. Other types go through encoding/json.
func AppendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		return AppendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case float64:
		return appendFloat(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendValue(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendString(dst, k), ':')
			dst = AppendValue(dst, v[k])
		}
		return append(dst, '}')
	}
	data, err := json.Marshal(v)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, data...)
}

func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.AppendFloat(dst, f, 'f', 1, 64)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// object writes the fields of a JSON object one after the other.
type object struct {
	dst  []byte
	open bool
}

func (o *object) name(name string) {
	if o.open {
		o.dst = append(o.dst, ',', '"')
	} else {
		o.dst = append(o.dst, '{', '"')
		o.open = true
	}
	o.dst = append(append(o.dst, name...), '"', ':')
}

func (o *object) int(name string, n int64) {
	o.name(name)
	o.dst = strconv.AppendInt(o.dst, n, 10)
}

// id writes null for 0.
func (o *object) id(name string, n int64) { o.nullable(name, n, n != 0) }

func (o *object) nullable(name string, n int64, ok bool) {
	if ok {
		o.int(name, n)
		return
	}
	o.null(name)
}

func (o *object) null(name string) {
	o.name(name)
	o.dst = append(o.dst, "null"...)
}

func (o *object) bool(name string, b bool) {
	o.name(name)
	o.dst = strconv.AppendBool(o.dst, b)
}

func (o *object) time(name string, t Time) {
	o.name(name)
	o.dst = t.AppendJSON(o.dst)
}

func (o *object) string(name, s string) {
	o.name(name)
	o.dst = AppendString(o.dst, s)
}

// text writes null for "".
func (o *object) text(name, s string) {
	if s == "" {
		o.null(name)
		return
	}
	o.string(name, s)
}

func (o *object) optional(name string, s *string) {
	if s == nil {
		o.null(name)
		return
	}
	o.string(name, *s)
}

func (o *object) end() []byte { return append(o.dst, '}') }
