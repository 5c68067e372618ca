package spec

import (
	"reflect"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// Keys binds the items of a dict to the struct of c, as keyword arguments are
// bound: c['www'] = {'port': 8010}. An item that is wrong is reported at place(key)
// with subject(key), and its field keeps the default. Env must collect.
func (c *Class) Keys(env *Env, d *star.Dict, subject func(key string) string, place func(key string) prop.Pos) any {
	c.init()
	params := c.New()
	b := &binding{what: c.Full(), plan: c.plan}
	b.env, b.b, b.old = env, b, c.Old
	for _, item := range d.Items() {
		if b.isPlaceholder(item[0]) {
			continue
		}
		name, ok := star.AsString(item[0])
		if !ok {
			b.Problem("wrong-type", "", "want string keys, got "+describe(item[0]), "")
			continue
		}
		b.kwargs = append(b.kwargs, star.Tuple{star.String(name), item[1]})
	}
	b.bind(reflect.ValueOf(params).Elem(), c.Unsupported)
	for _, p := range b.problems {
		switch p.Code {
		case "unknown-parameter":
			p.Code, p.Text = "unknown-key", "no such key"
		case "missing-parameter":
			p.Code = "missing-key"
		case "old-name":
			p.Hint = "write " + subject(c.Old[p.Param]) + " = ..."
		}
		p.Pos, p.Subject, p.Param = place(p.Param), subject(p.Param), ""
		env.Report(p)
	}
	return params
}
