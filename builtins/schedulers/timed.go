package schedulers

import (
	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// Timed are the arguments of schedulers that build at times (docs/requirements.md C6).
type Timed struct {
	Common
	Following
	// OnlyIfChanged builds only if there was an important change since the last time.
	// The first time counts as if there was one.
	OnlyIfChanged bool `star:"onlyIfChanged,optional"`
	// Branch is the branch to build, None the default one, and the one whose changes
	// count for OnlyIfChanged. Without it, changes of all branches count, and the
	// branch of the newest one is built.
	Branch branch `star:"branch,optional"`
	// CreateAbsoluteSourceStamps builds the newest source that was seen instead of
	// the default one.
	CreateAbsoluteSourceStamps bool `star:"createAbsoluteSourceStamps,optional"`
	// Reason is given to the builds; %(classname)s and %(name)s are filled in. The
	// default names both.
	Reason string `star:"reason,optional"`
}

func (a *Timed) timed(c *spec.Call, class, name string, builders prop.Template[[]string]) *sched.Timed {
	s := &sched.Timed{Base: a.base(c, class, name, builders, a.Reason), Follow: a.follow(c), OnlyIfChanged: a.OnlyIfChanged, AnyBranch: true}
	s.Absolute = a.CreateAbsoluteSourceStamps
	if a.Branch.Values != nil {
		one, ok := a.Branch.one()
		if !ok {
			c.Problem("wrong-type", "branch", "want one branch, got a list", "write a scheduler for each, or use change_filter")
		}
		s.Branch, s.AnyBranch = one, false
	}
	return s
}
