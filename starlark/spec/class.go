package spec

import (
	"maps"
	"slices"
	"sync"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// A Class declares one callable of a module. Classes are package variables; they
// never change after the first use.
type Class struct {
	Module, Name string // "worker", "LocalWorker"
	// New returns a pointer to a struct whose fields are the defaults.
	New func() any
	// Unsupported are arguments that Buildbot knows and this master does not yet,
	// with what to do instead, or "".
	Unsupported map[string]string
	// Renamed are other names of parameters, with those that there are.
	Renamed map[string]string
	// Old are names of parameters in Buildbot 0.8, with those that they have now.
	Old map[string]string
	// Former is another order of the arguments by position, or nil.
	Former *Former
	// Methods are what can be called on the value: factory.addStep(s).
	Methods []Method
	// Attrs are attributes that are computed, by name. They win over the parameters,
	// which are all readable as the user gave them.
	Attrs map[string]func(*Object) (star.Value, error)
	// Binary is set for classes whose values are renderables with operators. op is
	// one of + - * / // %; x and y are the operands in the order of the source. The
	// result is a value of the same class.
	Binary func(op string, x, y prop.Renderable) (prop.Renderable, error)

	// Partial says that Make copes with parameters that kept their defaults because
	// their arguments were wrong: it runs then too, for its checks of the others. What
	// it returns stands in the graph for its name and references only.
	Partial bool

	once    sync.Once
	full    string // what Full returns
	plan    *plan
	builtin *builtin
	methods map[string]*method
}

// Former is the order that the arguments of a class had in an older Buildbot. It is meant
// where one of them is a value of a class that the order of today has no place for.
type Former struct {
	Names []string // of the parameters, in that order
	Mark  string   // the name of the one that tells
	Class string   // what its value is of: util.Connection
}

// byName gives arguments that are in the former order their names.
func (f *Former) byName(args star.Tuple, kwargs []star.Tuple) (star.Tuple, []star.Tuple) {
	if f == nil {
		return args, kwargs
	}
	at := slices.Index(f.Names, f.Mark)
	if len(args) <= at || len(args) > len(f.Names) {
		return args, kwargs
	}
	if v, ok := args[at].(interface{ Class() *Class }); !ok || v.Class() == nil || v.Class().Full() != f.Class {
		return args, kwargs
	}
	var named []star.Tuple
	for i, v := range args[at:] {
		named = append(named, star.Tuple{star.String(f.Names[at+i]), v})
	}
	return args[:at], append(named, kwargs...)
}

// Full returns the name as users write it: worker.LocalWorker.
func (c *Class) Full() string {
	if c.Module == "" {
		return c.Name
	}
	return c.Module + "." + c.Name
}

// init makes the plan once. It panics if the struct is declared wrongly, which
// every test that touches the class finds.
func (c *Class) init() {
	c.once.Do(func() {
		c.full = c.Full()
		c.plan = planFor(c.Full(), c.New)
		c.builtin = &builtin{c}
		c.methods = make(map[string]*method, len(c.Methods))
		for i := range c.Methods {
			m := &method{Method: &c.Methods[i], full: c.Full() + "." + c.Methods[i].Name}
			if m.plan = noParams; m.New != nil {
				m.plan = planFor(m.full, m.New)
			}
			c.methods[m.Name] = m
		}
	})
}

// Value returns the callable itself, for predeclared names that are in no module.
func (c *Class) Value() star.Callable {
	c.init()
	return c.builtin
}

// Method declares a method of the values of a class.
type Method struct {
	Name string
	// New returns a pointer to the struct of the parameters, as in [Class].
	New func() any
	// Call does the work; params is what New made, with the arguments bound. The
	// result becomes a Starlark value as an attribute would: nil is None, a
	// star.Value is itself, Go nodes need [Call.Object].
	Call func(c *Call, self *Object, params any) (any, error)
	// Unsupported is not "" for a method of Buildbot that does not exist yet; New and
	// Call are nil then.
	Unsupported string
	// Partial says that Call skips placeholders among its arguments.
	Partial bool
	// Unknown are arguments that Buildbot knows and this master does not yet.
	Unknown map[string]string
}

// Module is a predeclared namespace: worker, steps, util.
type Module struct {
	Name    string
	Classes []*Class
	// Values are constants: util.SUCCESS.
	Values map[string]star.Value
	// Unsupported are the names that Buildbot has there and this master not yet,
	// with what to do instead, or "".
	Unsupported map[string]string
	// Old are names of Buildbot 0.8, with what to write now: "worker.Worker(name, password)".
	Old map[string]string
	// NotYet says that nothing of the module exists yet: every name of it is known
	// and unsupported.
	NotYet bool
}

// With returns a module that also has these classes, whose names are supported then.
func (m *Module) With(classes ...*Class) *Module {
	more := *m
	more.Classes = slices.Concat(m.Classes, classes)
	more.Unsupported = maps.Clone(m.Unsupported)
	for _, c := range classes {
		delete(more.Unsupported, c.Name)
	}
	return &more
}
