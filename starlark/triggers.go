package starlark

import (
	"fmt"
	"slices"
	"strings"

	"buildstar/config"
)

// checkTriggers reports schedulers that steps trigger and that do not exist, or cannot
// be triggered.
func (g *graph) checkTriggers() {
	for _, o := range g.e.triggers {
		for _, name := range o.Value.(config.Triggering).Triggers() {
			found := g.schedulers.byName[name]
			if found == nil {
				undefined(g, o, "undefined-scheduler", "schedulerNames", config.Key{Kind: config.KindScheduler, Name: name}, &g.schedulers)
				continue
			}
			s := found.Value.(config.Scheduler)
			if _, ok := s.(config.Triggerable); ok {
				continue
			}
			p := about(o, "not-triggerable", "schedulerNames")
			p.Text = fmt.Sprintf("the scheduler %q is a %s, which no step can trigger", name, s.Type())
			p.Hint = "trigger a schedulers.Triggerable"
			g.e.report(p)
		}
	}
}

// checkCircles warns of builders whose builds wait for builds of the same builder: they
// only end if, on the way, a step is not run.
func (g *graph) checkCircles() {
	builders := make(map[string]*config.Builder, len(g.builders.list))
	for _, b := range g.builders.list {
		builders[b.Name] = b
	}
	done := make(map[string]bool, len(builders))
	var way []string
	var visit func(name string)
	visit = func(name string) {
		if i := slices.Index(way, name); i >= 0 {
			p := about(g.builders.byName[name], "waits-for-itself", "factory")
			p.Text = "its builds wait for builds of itself: " + strings.Join(append(slices.Clone(way[i:]), name), " triggers ")
			p.Hint = "trigger without waitForFinish, or see that doStepIf ends the circle"
			g.e.warn(p)
			return
		}
		if done[name] || builders[name] == nil {
			return
		}
		way = append(way, name)
		for _, next := range g.waitsFor(builders[name]) {
			visit(next)
		}
		way = way[:len(way)-1]
		done[name] = true
	}
	for _, b := range g.builders.list {
		visit(b.Name)
	}
}

// waitsFor returns the builders that the steps of a builder trigger and wait for.
func (g *graph) waitsFor(b *config.Builder) (names []string) {
	if b.Factory == nil {
		return nil
	}
	for _, step := range b.Factory.Steps {
		t, ok := step.(config.Triggering)
		if !ok || !t.WaitsForTriggered() {
			continue
		}
		for _, name := range t.Triggers() {
			if found := g.schedulers.byName[name]; found != nil {
				names = append(names, found.Value.(config.Scheduler).Builders()...)
			}
		}
	}
	return names
}
