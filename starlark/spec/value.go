package spec

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// mode says what may become a value.
type mode uint8

const (
	plainOnly mode = 0
	// anything also accepts renderables and functions.
	anything mode = 1 << 0
	// opaque also accepts the Go values of other classes.
	opaque mode = 1 << 1
)

// maxDepth is how deep lists and dicts may be nested; a list may hold itself.
const maxDepth = 100

// maxSize is how many values the arguments of one call may hold: a list may hold
// another one twice, and that one a third one twice, and so on.
const maxSize = 1_000_000

// renderable returns v as a Renderable, a [prop.Const] if it is plain. It is nil
// if v is a placeholder or at fault.
func (b *binding) renderable(v star.Value, m mode) (prop.Renderable, faults) {
	x, r, fs := b.value(v, m|anything)
	if fs != nil || b.poisoned {
		return nil, fs
	}
	return orConst(r, x), nil
}

// Value returns any Starlark value as a Renderable, a [prop.Const] if it is plain:
// what a callback returned. The Go values of classes are themselves.
func (e *Env) Value(v star.Value) (prop.Renderable, error) {
	b := &binding{}
	b.env = e
	r, fs := b.renderable(v, anything|opaque)
	switch {
	case fs != nil:
		return nil, errors.New(fs[0].text)
	case r == nil:
		return nil, errors.New("the value comes from a call that had problems")
	}
	return r, nil
}

// value returns v as a property value, or as a Renderable if it depends on
// properties.
func (b *binding) value(v star.Value, m mode) (any, prop.Renderable, faults) {
	return b.valueAt(v, m, 0)
}

func (b *binding) valueAt(v star.Value, m mode, depth int) (any, prop.Renderable, faults) {
	if depth > maxDepth {
		return nil, nil, badValue("lists and dicts are nested more than %d deep", maxDepth)
	}
	if b.size++; b.size > maxSize {
		return nil, nil, badValue("the value has more than %d parts", maxSize)
	}
	switch v := v.(type) {
	case star.String:
		b.checkPlain(string(v))
		return string(v), nil, nil
	case star.NoneType:
		return nil, nil, nil
	case star.Bool:
		return bool(v), nil, nil
	case star.Int:
		n, ok := v.Int64()
		if !ok {
			return nil, nil, tooBig(v)
		}
		return n, nil, nil
	case star.Float:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, nil, badValue("%s is no number that can be stored", v)
		}
		return float64(v), nil, nil
	case *star.List:
		return b.list(v, m, depth)
	case star.Tuple:
		return b.list(v, m, depth)
	case *star.Dict:
		return b.dict(v, m, depth)
	case *Object:
		if r, ok := v.Value.(prop.Renderable); ok {
			if m&anything == 0 {
				return nil, nil, faults{{code: "wrong-type", text: "want a plain value, got " + describe(v),
					hint: "this is needed before there is a build, so it cannot depend on properties"}}
			}
			return nil, r, nil
		}
		if m&opaque != 0 {
			return v.Value, nil, nil
		}
	case *Placeholder:
		b.poisoned = true
		return nil, nil, nil
	case star.Callable:
		return b.function(v, m)
	}
	fs := wrongType("a value", v)
	switch v.(type) {
	case *star.Set:
		fs[0].hint = "a set has no order; use sorted(...)"
	case star.Bytes:
		fs[0].hint = "use a string"
	}
	return nil, nil, fs
}

// forgotten matches what only Interpolate fills in.
var forgotten = regexp.MustCompile(`%\((?:prop|src|kw|worker|secret):[^)]*\)s`)

// checkPlain warns about a plain string that was surely meant to be filled in.
func (b *binding) checkPlain(s string) {
	if b.env == nil || b.env.Warn == nil || !strings.Contains(s, "%(") {
		return
	}
	if found := forgotten.FindString(s); found != "" {
		b.env.Warn(prop.Problem{Code: "not-interpolated", Pos: b.pos, Chain: b.chain, Subject: b.what,
			Text: short(found) + " stands in a plain string, where nothing fills it in", Hint: "write util.Interpolate(\"...\")"})
	}
}

func (b *binding) function(f star.Callable, m mode) (any, prop.Renderable, faults) {
	if c, ok := f.(*builtin); ok {
		return nil, nil, faults{{code: "wrong-type", text: "want a value, got the class " + c.class.Full(),
			hint: "call it: " + c.class.Full() + "(...)"}}
	}
	if m&anything == 0 || b.env == nil || b.env.Function == nil {
		return nil, nil, wrongType("a plain value", f)
	}
	fn := Function{Callable: f, Pos: b.pos, Env: b.env}
	if why := fn.Misfit(); why != "" {
		return nil, nil, faults{{code: "bad-callback", text: why}}
	}
	return nil, b.env.Function(fn), nil
}

func (b *binding) list(l star.Indexable, m mode, depth int) (any, prop.Renderable, faults) {
	n := l.Len()
	out := make([]any, n)
	var rs []prop.Renderable // once one item depends on properties
	var fs faults
	for i := range n {
		x, r, f := b.valueAt(l.Index(i), m, depth+1)
		fs = append(fs, f.within("item %d", i+1)...)
		out[i] = x
		if r != nil && rs == nil {
			rs = make([]prop.Renderable, n)
			for j := range i {
				rs[j] = prop.Const{V: out[j]}
			}
		}
		if rs != nil {
			rs[i] = orConst(r, x)
		}
	}
	if fs != nil {
		return nil, nil, fs
	}
	if rs != nil {
		return nil, prop.List(rs), nil
	}
	return out, nil, nil
}

// dict returns a map, or a [prop.Dict] if a key or value depends on properties.
func (b *binding) dict(d *star.Dict, m mode, depth int) (any, prop.Renderable, faults) {
	out := make(map[string]any, d.Len())
	items := d.Items()
	var rs prop.Dict
	var fs faults
	for i, item := range items {
		key, keyR, f := b.key(item[0], m)
		if f != nil {
			fs = append(fs, f...)
			continue
		}
		x, r, f := b.valueAt(item[1], m, depth+1)
		fs = append(fs, f.within("%q", key)...)
		if (r != nil || keyR != nil) && rs == nil {
			rs = make(prop.Dict, 0, len(items))
			for _, before := range items[:i] {
				k, _ := star.AsString(before[0])
				rs = append(rs, prop.DictItem{Key: prop.Const{V: k}, Value: prop.Const{V: out[k]}})
			}
		}
		if rs == nil {
			out[key] = x
			continue
		}
		rs = append(rs, prop.DictItem{Key: orConst(keyR, key), Value: orConst(r, x)})
	}
	switch {
	case fs != nil:
		return nil, nil, fs
	case rs != nil:
		return nil, rs, nil
	}
	return out, nil, nil
}

// key returns a key of a dict: a string, or what renders to one.
func (b *binding) key(v star.Value, m mode) (string, prop.Renderable, faults) {
	if s, ok := star.AsString(v); ok {
		return s, nil, nil
	}
	if b.isPlaceholder(v) {
		return "", nil, nil
	}
	if o, ok := v.(*Object); ok && m&anything != 0 {
		if r, ok := o.Value.(prop.Renderable); ok {
			return o.text(), r, nil
		}
	}
	return "", nil, wrongType("string keys", v)
}

func orConst(r prop.Renderable, x any) prop.Renderable {
	if r == nil {
		return prop.Const{V: x}
	}
	return r
}

// Star returns a property value as a Starlark value, not frozen.
func Star(v any) star.Value {
	switch v := v.(type) {
	case nil:
		return star.None
	case bool:
		return star.Bool(v)
	case int64:
		return star.MakeInt64(v)
	case float64:
		return star.Float(v)
	case string:
		return star.String(v)
	case []any:
		items := make([]star.Value, len(v))
		for i, e := range v {
			items[i] = Star(e)
		}
		return star.NewList(items)
	case map[string]any:
		d := star.NewDict(len(v))
		for _, k := range sortedKeys(v) {
			d.SetKey(star.String(k), Star(v[k])) // cannot fail: strings hash, d is ours
		}
		return d
	}
	panic(fmt.Sprintf("spec: %T is no property value", v))
}

// describe returns the type of v and, if it is short, the value.
func describe(v star.Value) string {
	switch v := v.(type) {
	case star.NoneType:
		return "None"
	case *Object:
		return v.text()
	case *builtin:
		return "the class " + v.class.Full()
	case star.String, star.Int, star.Float, star.Bool:
		return v.Type() + " " + short(v.String())
	case *star.Function:
		return "function " + v.Name()
	}
	return v.Type()
}

// Got returns what v is, for messages: want a step, got int 4.
func Got(v star.Value) string { return describe(v) }

// typeName is describe without the value.
func typeName(v star.Value) string {
	if v == star.None {
		return "None"
	}
	return v.Type()
}

// Short cuts a long text for a message.
func Short(s string) string { return short(s) }

// short cuts a long text for a message.
func short(s string) string {
	const limit = 60
	if len(s) <= limit {
		return s
	}
	cut := limit - 3
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
