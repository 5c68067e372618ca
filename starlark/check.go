package starlark

import (
	"fmt"
	"path"
	"slices"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// check reports what is wrong with the graph as a whole.
func (g *graph) check(m config.Master) {
	g.empty()
	g.listening(m)
	g.checkHooks(m)
	for _, w := range g.workers.all {
		for param, k := range w.node.Refs() {
			undefined(g, w.Object, "undefined-machine", param, k, &g.machines)
		}
	}
	g.checkCaps()
	used := g.checkBuilders()
	scheduled, sure := g.checkSchedulers()
	for _, b := range g.builders.all {
		if sure && !b.placeheld && !b.dup && !scheduled[b.node.Name] {
			p := about(b.Object, "unscheduled-builder", "")
			p.Text = "no scheduler builds it"
			p.Hint = "add it to the builderNames of a scheduler, such as schedulers.ForceScheduler"
			g.e.report(p)
		}
	}
	for _, w := range g.workers.all {
		if !w.placeheld && !w.dup && !used[w.node.Name] && g.builders.complete(g.e) && !g.misnamed("undefined-worker") {
			p := about(w.Object, "unused-worker", "")
			p.Text = "no builder uses it"
			g.e.warn(p)
		}
	}
	g.checkTriggers()
	g.checkCircles()
	g.unlisted()
}

// misnamed reports whether a name meant nothing: it may have meant any node.
func (g *graph) misnamed(code string) bool {
	return slices.ContainsFunc(g.e.env.Problems(), func(p prop.Problem) bool { return p.Code == code })
}

// empty reports lists that need something (docs/requirements.md C1).
func (g *graph) empty() {
	report := func(n int, complete bool, key, code, hint string) {
		if n == 0 && complete {
			g.problem(code, key, "there are no "+key, hint)
		}
	}
	report(len(g.workers.list), g.workers.complete(g.e), "workers", "no-workers",
		"write c['workers'] = [worker.LocalWorker(\"local\")]")
	report(len(g.builders.list), g.builders.complete(g.e), "builders", "no-builders",
		"write c['builders'] = [util.BuilderConfig(name = ..., workernames = [...], factory = ...)]")
	report(len(g.schedulers.list), g.schedulers.complete(g.e), "schedulers", "no-schedulers",
		"write c['schedulers'] = [schedulers.ForceScheduler(name = \"force\", builderNames = [...])]")
}

// listening reports workers that nothing lets in.
func (g *graph) listening(m config.Master) {
	if len(m.WorkerListen) > 0 || g.hasProblem("protocols") || g.misspelled("protocols") {
		return
	}
	for _, w := range g.workers.all {
		if !w.node.Local {
			p := about(w.Object, "no-protocols", "")
			p.Text = "it cannot connect: c['protocols'] names no port"
			p.Hint = "write c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}"
			g.e.report(p)
			return
		}
	}
}

// hasProblem reports whether a problem of a key of c, or below it, is known.
func (g *graph) hasProblem(key string) bool {
	subject := g.subject(key)
	return slices.ContainsFunc(g.e.env.Problems(), func(p prop.Problem) bool {
		return len(p.Subject) >= len(subject) && p.Subject[:len(subject)] == subject
	})
}

// checkCaps reports caps of one name that limit differently.
func (g *graph) checkCaps() {
	caps := map[string]config.InstanceCap{}
	for _, l := range g.workers.all {
		if l.node.Latent == nil {
			continue
		}
		for _, c := range l.node.Latent.Caps {
			if was, ok := caps[c.Name]; ok && was != c {
				p := about(l.Object, "bad-value", "caps")
				p.Text = fmt.Sprintf("the cap %q has other limits than with a worker before", c.Name)
				p.Hint = "put util.InstanceCap(...) into a variable and give that to each worker"
				g.e.report(p)
			}
			caps[c.Name] = c
		}
	}
}

// checkBuilders reports what builders name and does not exist, and returns the
// workers that are used.
func (g *graph) checkBuilders() (used map[string]bool) {
	used = make(map[string]bool)
	dirs := make(map[string]listed[*config.Builder])
	for _, l := range g.builders.all {
		b, o := l.node, l.Object
		for param, k := range b.Refs() {
			switch k.Kind {
			case config.KindWorker:
				used[k.Name] = true
				undefined(g, o, "undefined-worker", param, k, &g.workers)
			case config.KindProject:
				undefined(g, o, "undefined-project", param, k, &g.projects)
			}
		}
		if l.dup || o.Bad("builddir") || o.Bad("name") {
			continue
		}
		if path.IsAbs(b.Builddir) {
			p := about(o, "absolute-builddir", "builddir")
			p.Text = "the directory is absolute; it is used below the basedir"
			g.e.warn(p)
		}
		if first, dup := dirs[b.Builddir]; dup {
			p := about(o, "duplicate-builddir", "builddir")
			p.Text = fmt.Sprintf("the directory %q is used twice", b.Builddir)
			p.Hint = fmt.Sprintf("the builder %q has it too, at %v", first.node.Name, first.Pos())
			g.e.report(p)
		} else {
			dirs[b.Builddir] = l
		}
	}
	return used
}

// undefined reports a name that means nothing.
func undefined[N config.Node](g *graph, o *spec.Object, code, param string, k config.Key, in *nodes[N]) {
	if in.has(g.e, k.Name) {
		return
	}
	p := about(o, code, param)
	p.Text = fmt.Sprintf("there is no %s %q in c['%s']", k.Kind, k.Name, in.key)
	if near := prop.Nearest(k.Name, in.names()); near != "" {
		p.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	g.e.report(p)
}

// checkSchedulers reports builders and schedulers that schedulers name and do not
// exist, and returns the builders that are scheduled; sure is false if there may be
// more.
func (g *graph) checkSchedulers() (scheduled map[string]bool, sure bool) {
	scheduled = make(map[string]bool)
	sure = len(g.schedulers.all) > 0 && !g.schedulers.vague && !g.schedulers.unknown && !g.e.env.Leaked()
	for _, s := range g.schedulers.all {
		sure = sure && !s.Bad("builderNames")
		if c, ok := s.node.(config.Chooser); ok && c.ChoosesBuilders() {
			sure = false
		}
		for _, b := range s.node.Builders() {
			scheduled[b] = true
			undefined(g, s.Object, "undefined-builder", "builderNames", config.Key{Kind: config.KindBuilder, Name: b}, &g.builders)
		}
		for param, k := range s.node.Refs() {
			if k.Kind == config.KindScheduler {
				undefined(g, s.Object, "undefined-scheduler", param, k, &g.schedulers)
			}
		}
	}
	return scheduled, sure && !g.misnamed("undefined-builder")
}

// unlisted warns about nodes that were made and are in no list of c.
func (g *graph) unlisted() {
	listed := make(map[*spec.Object]bool)
	if !g.workers.complete(g.e) || !g.builders.complete(g.e) || !g.schedulers.complete(g.e) || !g.sources.complete(g.e) || !g.projects.complete(g.e) ||
		!g.machines.complete(g.e) {
		return
	}
	note(listed, &g.workers)
	note(listed, &g.builders)
	note(listed, &g.schedulers)
	note(listed, &g.sources)
	note(listed, &g.projects)
	note(listed, &g.machines)
	for _, o := range g.e.kept {
		k := o.Value.(config.Node).Key()
		if listed[o] || k.Kind == config.KindLock {
			continue
		}
		p := about(o, "unlisted", "")
		key := k.Kind + "s"
		if k.Kind == config.KindChangeSource {
			key = g.sources.key
		}
		p.Text = fmt.Sprintf("the %s is not in c['%s'], so it does nothing", k.Kind, key)
		g.e.warn(p)
	}
}

// note adds the objects of a list.
func note[N config.Node](listed map[*spec.Object]bool, ns *nodes[N]) {
	for _, l := range ns.all {
		listed[l.Object] = true
	}
}
