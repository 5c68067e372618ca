package state

import (
	"strconv"

	"buildstar/config/prop"
)

// AppendString is [prop.AppendJSONString].
func AppendString(dst []byte, s string) []byte { return prop.AppendJSONString(dst, s) }

// AppendValue is [prop.AppendJSON].
func AppendValue(dst []byte, v any) []byte { return prop.AppendJSON(dst, v) }

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
