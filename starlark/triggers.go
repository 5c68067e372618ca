package starlark

import (
	"fmt"

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
