package starlark

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// A graph is the nodes of a configuration while they are checked.
type graph struct {
	root
	workers    nodes[*config.Worker]
	builders   nodes[*config.Builder]
	schedulers nodes[config.Scheduler]
	sources    nodes[config.ChangeSource]
	projects   nodes[*config.Project]
	machines   nodes[*config.Machine]
	locks      []*config.Lock
}

// nodes are the nodes of one list, with their objects.
type nodes[N config.Node] struct {
	kind, key string
	list      []N // those without problems
	all       []listed[N]
	byName    map[string]*spec.Object
	// placeheld are names that calls with problems declared; unknown is true if one
	// of them declared a name that is not known.
	placeheld map[string]bool
	unknown   bool
	vague     bool // of one of them nothing but its name is known
}

// listed is what an item of a list made: of a node, or of the good arguments of a
// call that had problems.
type listed[N config.Node] struct {
	node N
	*spec.Object
	placeheld, dup bool
}

// collect reads the list at key. Duplicate names are reported.
func collect[N config.Node](r root, kind, key string, v star.Value) nodes[N] {
	ns := nodes[N]{kind: kind, key: key, byName: make(map[string]*spec.Object), placeheld: make(map[string]bool)}
	var list star.Indexable
	switch v := v.(type) {
	case nil, star.NoneType:
		ns.unknown = r.misspelled(key)
		return ns
	case *spec.Placeholder:
		ns.unknown = true
		return ns
	case *star.List:
		list = v
	case star.Tuple:
		list = v
	default:
		ns.unknown = true
		hint := ""
		if o, ok := v.(*spec.Object); ok {
			if _, ok := o.Value.(N); ok {
				hint = "put [ ] around it"
			}
		}
		r.problem("wrong-type", key, fmt.Sprintf("want list of %ss, got %s", kind, spec.Got(v)), hint)
		return ns
	}
	for i := range list.Len() {
		ns.add(r, i, list.Index(i))
	}
	return ns
}

func (ns *nodes[N]) add(r root, i int, v star.Value) {
	switch v := v.(type) {
	case *spec.Placeholder:
		if v.Declared == "" {
			ns.unknown = true
		}
		ns.placeheld[v.Declared] = true
		if o := v.Partial(); o != nil {
			if n, ok := o.Value.(N); ok {
				ns.put(r, n, o, true)
				return
			}
		}
		ns.vague = true
		return
	case *spec.Object:
		if n, ok := v.Value.(N); ok {
			ns.put(r, n, v, false)
			return
		}
	}
	ns.unknown = true
	hint := ""
	switch v := v.(type) {
	case star.Callable:
		hint = "call it: " + v.Name() + "(...)"
	case star.NoneType:
		hint = "a function without return gives None"
	case star.Indexable:
		if _, isString := v.(star.String); !isString {
			hint = "lists do not nest: use list + list"
		}
	}
	r.problem("wrong-type", ns.key, fmt.Sprintf("item %d: want a %s, got %s", i+1, ns.kind, spec.Got(v)), hint)
}

func (ns *nodes[N]) put(r root, n N, o *spec.Object, placeheld bool) {
	name := n.Key().Name
	l := listed[N]{node: n, Object: o, placeheld: placeheld}
	other, dup := ns.byName[name]
	if l.dup = dup && !o.Bad("name"); l.dup {
		p := about(o, "duplicate-name", "name")
		if other == o {
			p.Pos, p.Subject, p.Chain, p.Param = r.place(ns.key), r.subject(ns.key), nil, ""
			p.Text = fmt.Sprintf("the %s %q is in the list twice", ns.kind, name)
		} else {
			p.Text = fmt.Sprintf("the name %q is used twice", name)
			p.Hint = fmt.Sprintf("the other one is at %v", other.Pos())
		}
		r.e.report(p)
	} else if !o.Bad("name") {
		ns.byName[name] = o
		if !placeheld {
			ns.list = append(ns.list, n)
		}
	}
	ns.all = append(ns.all, l)
}

// has reports whether a name exists, or may exist once all problems are solved.
func (ns *nodes[N]) has(e *evaluation, name string) bool {
	_, ok := ns.byName[name]
	return ok || ns.placeheld[name] || ns.unknown || e.env.Leaked()
}

// complete reports whether the list surely holds all that is meant.
func (ns *nodes[N]) complete(e *evaluation) bool {
	return len(ns.placeheld) == 0 && !ns.unknown && !e.env.Leaked()
}

func (ns *nodes[N]) names() []string {
	names := make([]string, len(ns.list), len(ns.list)+len(ns.placeheld))
	for i, n := range ns.list {
		names[i] = n.Key().Name
	}
	return append(names, slices.Sorted(maps.Keys(ns.placeheld))...)
}

// about begins a problem of a node: at its call.
func about(o *spec.Object, code, param string) prop.Problem {
	subject := o.Subject()
	if subject != "" {
		return prop.Problem{Code: code, Pos: o.Pos(), Chain: o.Chain(), Subject: subject, Param: param}
	}
	subject = o.Class().Full()
	if n, ok := o.Value.(config.Node); ok {
		subject += " " + strconv.Quote(n.Key().Name)
	}
	return prop.Problem{Code: code, Pos: o.Pos(), Chain: o.Chain(), Subject: subject, Param: param}
}

// snapshot runs the graph phase. It returns nil if nothing can be made of the
// globals.
func (e *evaluation) snapshot(globals star.StringDict, complete bool) *config.Snapshot {
	if !complete {
		return nil
	}
	r, d := e.root(globals)
	if d == nil {
		return nil
	}
	top, master := r.read(d)
	g := &graph{
		root:       r,
		workers:    collect[*config.Worker](r, "worker", "workers", top.Workers),
		builders:   collect[*config.Builder](r, "builder", "builders", top.Builders),
		schedulers: collect[config.Scheduler](r, "scheduler", "schedulers", top.Schedulers),
		sources:    collect[config.ChangeSource](r, config.KindChangeSource, "change_source", inList(top.ChangeSource)),
		projects:   collect[*config.Project](r, "project", "projects", top.Projects),
		machines:   collect[*config.Machine](r, "machine", "machines", top.Machines),
	}
	g.locks = g.allLocks()
	g.check(master)
	if len(e.env.Problems()) > 0 {
		return nil
	}
	e.env.Seal()
	return config.New(config.Snapshot{
		Master: master, Workers: g.workers.list, Builders: g.builders.list, Schedulers: g.schedulers.list,
		ChangeSources: g.sources.list, Projects: g.projects.list, Machines: g.machines.list, Locks: g.locks, Inputs: e.inputs, Env: e.environ,
	})
}

// inList returns a list of what may stand alone: c['change_source'].
func inList(v star.Value) star.Value {
	if o, ok := v.(*spec.Object); ok {
		return star.Tuple{o}
	}
	return v
}

// allLocks returns every lock that was made; two of one name clash.
func (g *graph) allLocks() (locks []*config.Lock) {
	byName := make(map[string]*spec.Object)
	for _, o := range g.e.kept {
		l, ok := o.Value.(*config.Lock)
		if !ok {
			continue
		}
		if first, dup := byName[l.Name]; dup {
			p := about(o, "lock-clash", "name")
			p.Text = fmt.Sprintf("there are two locks %q", l.Name)
			p.Hint = fmt.Sprintf("the other one is at %v; make it once and share it", first.Pos())
			g.e.report(p)
			continue
		}
		byName[l.Name] = o
		locks = append(locks, l)
	}
	return locks
}
