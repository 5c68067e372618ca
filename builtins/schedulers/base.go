package schedulers

import (
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// Common are the arguments that every scheduler but ForceScheduler has besides its
// name and builders (docs/requirements.md C6).
type Common struct {
	// Properties are set for every build, with the source "Scheduler". Renderables see
	// the other properties, and as attributes changes, files and sourcestamps.
	Properties map[string]prop.Template[any] `star:"properties,optional"`
	// Codebases are the names of those that are built together, or a dict that gives,
	// by name, the repository, branch and revision that are built if no change says
	// so. Changes of other codebases are not followed. The default is the one named "".
	Codebases sched.Codebases `star:"codebases,optional"`
	// Priority is that of the requests; the highest is built first. The default is 0, and
	// for a Triggerable that of the request whose build triggers it. A function gets the builder names, and lists of changes by codebase.
	Priority prop.Template[int64] `star:"priority,optional"`
}

// base returns what the arguments make, and reports what is wrong with them. In the
// reason, %(classname)s and %(name)s are filled in.
func (a *Common) base(c *spec.Call, class, name string, builders prop.Template[[]string], reason string) sched.Base {
	checkName(c, name)
	if names, plain := builders.Plain(); plain && len(names) == 0 && !c.Bad("builderNames") {
		c.Problem("bad-value", "builderNames", "no builder is named", "")
	}
	if a.Codebases == nil {
		a.Codebases = sched.Codebases{{}}
	}
	reason = strings.NewReplacer("%%", "%", "%(classname)s", class, "%(name)r", prop.Repr(name), "%(name)s", name).Replace(reason)
	return sched.Base{
		At: config.At{Where: c.Pos()}, Class: class, Name: name, BuilderNames: builders,
		Properties: a.Properties, Codebases: a.Codebases, Priority: a.Priority, Reason: reason,
	}
}

func checkName(c *spec.Call, name string) {
	switch {
	case c.Bad("name"):
	case name == "":
		c.Problem("bad-name", "name", "the name is empty", "")
	case strings.HasPrefix(name, "__"):
		c.Problem("bad-name", "name", `the name begins with "__"`, "such names are for schedulers that the master makes itself")
	}
}

// triggered is the reason that is given unless there is another.
const triggered = "The %(classname)s scheduler named %(name)r triggered this build"
