package schedulers

import (
	"time"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// Following are the arguments of schedulers that follow changes (docs/requirements.md
// C6).
type Following struct {
	// ChangeFilter says which changes are followed. Without it, all are.
	ChangeFilter *sched.Filter `star:"change_filter,optional" hint:"write util.ChangeFilter(...)"`
	// FileIsImportant is a function of a change: it says whether the change is worth a
	// build by itself. Without it, every change is.
	FileIsImportant prop.Template[bool] `star:"fileIsImportant,optional" hint:"write a function of the change"`
	// OnlyImportant ignores changes that are not important: they are in no build.
	OnlyImportant bool `star:"onlyImportant,optional"`
}

func (a *Following) follow(c *spec.Call) sched.Follow {
	if _, plain := a.FileIsImportant.Plain(); plain && a.FileIsImportant.IsSet() {
		c.Problem("wrong-type", "fileIsImportant", "want a function of the change", "write lambda change: ...")
	}
	return sched.Follow{Filter: a.ChangeFilter, FileIsImportant: a.FileIsImportant, OnlyImportant: a.OnlyImportant}
}

// Basic are the arguments of SingleBranchScheduler and AnyBranchScheduler.
type Basic struct {
	Common
	Following
	// BuilderNames are the builders, or a renderable of their names; it sees the
	// attributes changes, files and sourcestamps of the properties.
	BuilderNames prop.Template[[]string] `star:"builderNames"`
	// TreeStableTimer is for how long nothing may have come before what came is built
	// together, counted from when this master heard of a change; it goes on over
	// restarts and reloads. With None, the default, or 0, each important change is
	// built by itself.
	TreeStableTimer *time.Duration `star:"treeStableTimer,optional"`
	// Categories is short for ChangeFilter(category=...).
	Categories []string `star:"categories,optional"`
	// Reason is given to the builds; %(classname)s and %(name)s are filled in. The
	// default names both.
	Reason string `star:"reason,optional"`
}

// stable returns the scheduler. branches, if not nil, are the values of the branch
// argument named param.
func (a *Basic) stable(c *spec.Call, class, name, param string, branches []any) *sched.Stable {
	s := &sched.Stable{Base: a.base(c, class, name, a.BuilderNames, a.Reason), Follow: a.follow(c)}
	if a.TreeStableTimer != nil {
		if s.Timer = *a.TreeStableTimer; s.Timer < 0 {
			c.Problem("bad-value", "treeStableTimer", "want at least 0 seconds", "")
		}
	}
	legacy := &sched.Filter{}
	for _, f := range []struct {
		param, field string
		values       []any
	}{{"categories", "category", plain(a.Categories)}, {param, "branch", branches}} {
		switch {
		case f.values == nil:
		case a.ChangeFilter != nil:
			c.Problem("bad-value", f.param, "change_filter is given too", "put "+f.field+" into the util.ChangeFilter")
		default:
			legacy.Tests = append(legacy.Tests, sched.Test{Field: f.field, How: sched.Is, Values: f.values})
		}
	}
	if len(legacy.Tests) > 0 {
		s.Filter = legacy
	}
	return s
}

func plain(texts []string) []any {
	if texts == nil {
		return nil
	}
	values := make([]any, len(texts))
	for i, t := range texts {
		values[i] = t
	}
	return values
}
