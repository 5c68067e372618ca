package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// A binding is one call while its arguments become a struct.
type binding struct {
	Call
	what     string // worker.Worker, for messages
	plan     *plan
	renamed  map[string]string // other names of parameters
	old      map[string]string // their names in Buildbot 0.8
	args     star.Tuple
	kwargs   []star.Tuple
	given    fieldSet
	named    fieldSet // given, rightly or by a near name
	poisoned bool
	size     int
	bad      fieldSet // did not become what was meant: wrong, poisoned or perhaps misspelled
	loose    bool     // an argument went to no parameter
	held     bool     // a list that is kept as it is holds a placeholder
	partial  bool     // Make runs in spite of bad parameters
}

// isPlaceholder reports whether v is a placeholder, and poisons b if so.
func (b *binding) isPlaceholder(v star.Value) bool {
	if _, ok := v.(*Placeholder); ok {
		b.poisoned = true
		return true
	}
	return false
}

// wrong says that v is of a wrong type, unless it is a placeholder.
func (b *binding) wrong(want string, v star.Value) faults {
	if b.isPlaceholder(v) {
		return nil
	}
	return wrongType(want, v)
}

// bind fills the struct at dst from the arguments of the call.
func (b *binding) bind(dst reflect.Value, unsupported map[string]string) {
	p := b.plan
	for i, v := range b.args {
		if i < len(p.positional) {
			n := p.positional[i]
			b.given.add(n)
			b.named.add(n)
			b.set(dst, n, v)
			continue
		}
		if p.rest >= 0 {
			b.setRest(dst, b.args[i:])
		} else {
			b.tooMany()
		}
		break
	}
	var extra []star.Tuple
	for _, kv := range b.kwargs {
		name := string(kv[0].(star.String))
		n, ok := p.byName[name]
		switch {
		case !ok && p.kwrest >= 0:
			extra = append(extra, kv)
		case !ok:
			b.unknown(name, kv[1], unsupported)
		case b.given.has(n):
			b.fault(name, fault{code: "duplicate-parameter", text: "given twice, by position and by name"})
		default:
			b.given.add(n)
			b.named.add(n)
			b.set(dst, n, kv[1])
		}
	}
	if extra != nil {
		b.setKwrest(dst, extra)
	}
	b.missing()
}

func (b *binding) fault(name string, f fault) {
	if n, ok := b.plan.byName[name]; ok {
		b.bad.add(n)
	}
	b.Problem(f.code, name, f.text, f.hint)
}

// set binds one argument. A placeholder in it poisons the call, but hides nothing
// of the other arguments.
func (b *binding) set(dst reflect.Value, n int, v star.Value) {
	before := b.poisoned
	b.poisoned = false
	b.setField(dst, n, v)
	if b.poisoned {
		b.bad.add(n)
	}
	b.poisoned = b.poisoned || before
}

func (b *binding) setField(dst reflect.Value, n int, v star.Value) {
	a := &b.plan.params[n]
	if a.secret {
		b.secret(v)
	}
	if v == star.None && !a.noneOK {
		if !a.optional {
			b.fault(a.name, wrongType(a.want, v)[0])
		}
		return
	}
	if a.noFunc {
		if f, ok := v.(star.Callable); ok && !b.isPlaceholder(v) {
			b.fault(a.name, fault{code: "not-supported", text: "a function (" + f.Name() + ") is not supported yet here"})
			return
		}
	}
	field := dst.FieldByIndex(a.index)
	fs := a.set(b, field, v)
	if fs == nil && a.check != nil {
		fs = a.check.faults(v)
	}
	if fs == nil || v == star.None && a.optional {
		return
	}
	for _, f := range fs {
		if a.secret && f.code == "wrong-type" {
			f.text = "want " + a.want + ", got " + typeName(v)
		}
		if f.hint == "" && f.code == "wrong-type" {
			f.hint = a.hint
		}
		b.fault(a.name, f)
	}
}

// secret notes that v may be shown nowhere, nor what lists and the values of dicts
// hold.
func (b *binding) secret(v star.Value) { b.secretAt(v, 0) }

func (b *binding) secretAt(v star.Value, depth int) {
	const deep = 3 // a list may hold itself
	if b.env == nil || depth > deep {
		return
	}
	switch v := v.(type) {
	case star.String:
		b.env.addSecret(string(v))
	case *star.Dict:
		for _, item := range v.Items() {
			b.secretAt(item[1], depth+1)
		}
	case star.Indexable: // a list or tuple
		for i := range v.Len() {
			b.secretAt(v.Index(i), depth+1)
		}
	}
}

func (b *binding) setRest(dst reflect.Value, rest star.Tuple) {
	a := &b.plan.params[b.plan.rest]
	for _, f := range a.set(b, dst.FieldByIndex(a.index), rest) {
		b.fault("", f)
	}
}

func (b *binding) setKwrest(dst reflect.Value, extra []star.Tuple) {
	a := &b.plan.params[b.plan.kwrest]
	d := star.NewDict(len(extra))
	for _, kv := range extra {
		d.SetKey(kv[0], kv[1]) // cannot fail: strings hash, d is ours
	}
	for _, f := range a.set(b, dst.FieldByIndex(a.index), d) {
		b.fault("", f)
	}
}

func (b *binding) tooMany() {
	b.loose = true
	n := len(b.plan.positional)
	hint := ""
	if len(b.plan.params) > n {
		hint = "give the others by name"
	}
	for i := range b.plan.params {
		if a := &b.plan.params[i]; !a.optional && a.keyword {
			hint = "write " + a.name + " = ..."
			b.named.add(i) // it surely is among them
			break
		}
	}
	b.Problem("too-many-arguments", "",
		fmt.Sprintf("%s by position, at most %d are possible", count(len(b.args)), n), hint)
}

// shown is a value as it can be written again, or "..." if it is long or secret.
func (b *binding) shown(n int, v star.Value) string {
	const long = 40
	if b.plan.params[n].secret {
		b.secret(v)
		return "..."
	}
	switch v.(type) {
	case star.String, star.Int, star.Float, star.Bool, *star.List, star.NoneType:
		if text := v.String(); len(text) <= long {
			return text
		}
	}
	return "..."
}

// unknown reports an argument that is no parameter: not supported yet, or with
// the nearest name. The nearest one then does not count as missing.
func (b *binding) unknown(name string, v star.Value, unsupported map[string]string) {
	b.isPlaceholder(v)
	b.loose = true
	if why, ok := unsupported[name]; ok {
		b.fault(name, fault{code: "not-supported", text: "not supported yet", hint: why})
		return
	}
	if now, ok := b.old[name]; ok {
		n := b.plan.byName[now]
		b.named.add(n)
		b.fault(name, fault{code: "old-name", text: oldName, hint: "write " + now + " = " + b.shown(n, v)})
		return
	}
	near := b.renamed[name]
	if near == "" {
		near = prop.Nearest(name, b.plan.names())
	}
	if n, ok := b.plan.byName[near]; ok {
		b.named.add(n)
		if b.plan.params[n].secret {
			b.secret(v)
		}
	}
	b.fault(name, fault{code: "unknown-parameter", text: "no such parameter", hint: didYouMean(near)})
}

func (b *binding) missing() {
	for i := range b.plan.params {
		if a := &b.plan.params[i]; !a.optional && !b.named.has(i) {
			b.fault(a.name, fault{code: "missing-parameter", text: "required"})
		}
	}
}

// faults checks a plain value against the tags.
func (c *check) faults(v star.Value) faults {
	if c.oneOf != nil {
		s, ok := star.AsString(v)
		if ok && !slices.Contains(c.oneOf, s) {
			return faults{{code: "bad-value", text: fmt.Sprintf("want %s, got %s", alternatives(c.oneOf), short(strconv.Quote(s))),
				hint: didYouMean(prop.Nearest(s, c.oneOf))}}
		}
		return nil
	}
	f, ok := number(v)
	if s, isString := star.AsString(v); isString { // of a duration
		d, err := time.ParseDuration(s)
		f, ok = d.Seconds(), err == nil
	}
	switch {
	case !ok:
		return nil
	case c.hasMin && f < c.min:
		return badValue("want at least %v, got %v", c.min, v)
	case c.hasMax && f > c.max:
		return badValue("want at most %v, got %v", c.max, v)
	}
	return nil
}

// alternatives writes a, b or c.
func alternatives(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = w
		if w == "" {
			q[i] = `""`
		}
	}
	if len(q) == 1 {
		return q[0]
	}
	return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
}

// subject returns what is being declared: worker.Worker "bot1".
func (b *binding) subject() string {
	if n, ok := b.plan.byName["name"]; ok {
		if s, ok := star.AsString(b.arg(n)); ok {
			return b.what + " " + strconv.Quote(short(s))
		}
	}
	return b.what
}

// arg returns the argument for a parameter, or nil.
func (b *binding) arg(n int) star.Value { return argument(b.plan, b.args, b.kwargs, n) }

func argument(p *plan, args star.Tuple, kwargs []star.Tuple, n int) star.Value {
	for i, v := range args {
		if i < len(p.positional) && p.positional[i] == n {
			return v
		}
	}
	for _, kv := range kwargs {
		if string(kv[0].(star.String)) == p.params[n].name {
			return kv[1]
		}
	}
	return nil
}

// A Call is one call of a class or method, while it is made.
type Call struct {
	thread   *star.Thread
	env      *Env
	pos      prop.Pos
	chain    []prop.Pos
	problems prop.Problems
	b        *binding
}

// Pos returns the place of the call.
func (c *Call) Pos() prop.Pos { return c.pos }

// Thread returns the Starlark thread.
func (c *Call) Thread() *star.Thread { return c.thread }

// Problem reports something wrong with the call; param, hint or both may be "".
// The call then returns a placeholder. Calls with no parameter at fault describe
// the whole call.
func (c *Call) Problem(code, param, text, hint string) {
	if c.b.partial && (param == "" || c.Bad(param)) {
		return // the consequence of what is reported already
	}
	c.problems = append(c.problems, prop.Problem{
		Code: code, Pos: c.pos, Param: param, Text: text, Hint: hint,
	})
}

// Given reports whether a parameter was given.
func (c *Call) Given(param string) bool {
	n, ok := c.b.plan.byName[param]
	return ok && c.b.given.has(n)
}

// Bad reports whether the argument of a parameter was wrong, so that the parameter
// kept its default; only Make of a class that is Partial has to ask.
func (c *Call) Bad(param string) bool {
	n, ok := c.b.plan.byName[param]
	return ok && c.b.bad.has(n)
}

// Function makes a Renderable of a user's function.
func (c *Call) Function(f Function) prop.Renderable {
	if f.Pos == (prop.Pos{}) {
		f.Pos = c.pos
	}
	if c.env == nil || c.env.Function == nil {
		panic("spec: no Function hook in this environment")
	}
	f.Env = c.env
	if why := f.Misfit(); why != "" {
		c.Problem("bad-callback", "", why, "")
	}
	return c.env.Function(f)
}

// Renderable returns any Starlark value as a Renderable. It is nil, and the
// problem is reported for param, if v cannot be one.
func (c *Call) Renderable(param string, v star.Value) prop.Renderable {
	r, fs := c.b.renderable(v, anything)
	for _, f := range fs {
		c.Problem(f.code, param, f.text, f.hint)
	}
	return r
}

// Object returns a value of class for a Go value that a method or Make made. The
// place is the call's.
func (c *Call) Object(class *Class, value any) *Object {
	class.init()
	return &Object{class: class, env: c.env, Value: value, pos: c.pos, chain: c.chain}
}
