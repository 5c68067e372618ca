// Package script is the backend made of functions in master.star: worker.LatentWorker.
package script

import (
	"context"

	star "go.starlark.net/starlark"

	"buildstar/builtins/worker"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// Worker is worker.LatentWorker (docs/requirements.md A9).
var Worker = &spec.Class{
	Module: "worker", Name: "LatentWorker",
	New:         func() any { return &latentWorker{Latent: worker.LatentDefaults()} },
	Unsupported: worker.LatentUnsupported(), Renamed: worker.Renamed(), Partial: true,
}

// latentWorker is a worker whose instances functions of this configuration start and stop.
// They are plain, blocking functions that run while the master works; all they can do is on
// their first argument: ctx.worker, ctx.password and ctx.master (the URL to dial) say what
// is to be started, ctx.props has the properties of the build, and ctx.exec(argv, env = {},
// stdin = "", timeout = 60), ctx.http.get(url, headers = {}, timeout = 60) and its siblings,
// ctx.log(text), ctx.secret(name), ctx.sleep(seconds) and ctx.binary (the path of buildstar)
// are there to do it. A function that must give up calls fail_to_substantiate(text) if the
// infrastructure is at fault, or cannot_substantiate(text) if the build is.
type latentWorker struct {
	// Name identifies the worker, as worker.Worker's does.
	Name string `star:"name"`
	// Password is what instances log in with, a string or util.Secret; None makes a random
	// one for each.
	Password *prop.Credential `star:"password"`
	// StartInstance gets ctx and starts an instance. It returns its handle, a string that is
	// all stop_instance needs, or {"handle": ..., "info": [short strings to show]}. It need
	// not wait for the worker to connect (A9.4, A9.7).
	StartInstance star.Callable `star:"start_instance"`
	// StopInstance gets ctx, the handle and whether to be fast, and destroys the instance. It
	// succeeds if there is none. The handle is None if no start returned one: then it removes
	// what a start of this ctx.instance may have left (A9.10, A9.11).
	StopInstance star.Callable `star:"stop_instance"`
	// CheckInstance gets ctx and the handle, and returns (is_good, message). It is asked until
	// the worker connects; if it is not good the worker will never connect (A9.18).
	CheckInstance star.Callable `star:"check_instance,optional"`
	// IsCompatibleWithBuild gets ctx, the handle and a dict of the properties of a build, and
	// says whether the running instance serves it (A9.15).
	IsCompatibleWithBuild star.Callable `star:"is_compatible_with_build,optional"`
	// ListInstances gets ctx and returns the handles of all instances that this master
	// started, ctx.tag tells them from others'. Those that the master does not know, say after
	// a crash, are stopped.
	ListInstances star.Callable `star:"list_instances,optional"`
	// BuildsMayBeIncompatible says whether is_compatible_with_build is asked; the default is
	// that it is if it is given (A9.14).
	BuildsMayBeIncompatible *bool `star:"builds_may_be_incompatible,optional"`
	worker.Latent           `star:",kw"`
}

// Make makes the node.
func (w *latentWorker) Make(c *spec.Call) any {
	p := &Params{
		Start: function(c, "start_instance", w.StartInstance, 1),
		Stop:  function(c, "stop_instance", w.StopInstance, 3),
		Check: function(c, "check_instance", w.CheckInstance, 2),
		Match: function(c, "is_compatible_with_build", w.IsCompatibleWithBuild, 3),
		List:  function(c, "list_instances", w.ListInstances, 1),
	}
	p.Incompatible = p.Match != nil
	if b := w.BuildsMayBeIncompatible; b != nil {
		if *b && p.Match == nil {
			c.Problem("missing-parameter", "is_compatible_with_build", "builds may be incompatible, and nothing says which", "give is_compatible_with_build")
		}
		p.Incompatible = *b
	}
	return w.LatentNode(c, "LatentWorker", w.Name, w.Password, p, p.Incompatible)
}

// function makes a Renderable that calls f with n arguments.
func function(c *spec.Call, param string, f star.Callable, n int) prop.Renderable {
	if f == nil {
		return nil
	}
	fn := spec.Function{Callable: f, First: spec.FirstNothing}
	for i := range n {
		fn.Args = append(fn.Args, prop.Argument(i))
	}
	if why := fn.Misfit(); why != "" {
		c.Problem("bad-callback", param, why, "")
		return nil
	}
	return c.Function(fn)
}

// Params are the functions of a worker.
type Params struct {
	Start, Stop, Check, Match, List prop.Renderable // nil: not given
	Incompatible                    bool
}

var _ latent.Params = (*Params)(nil)

// Kind implements config.Backend.
func (*Params) Kind() string { return "script" }

// Render implements latent.Params: the functions get all properties themselves.
func (*Params) Render(context.Context, prop.Props) (latent.Arguments, error) { return nil, nil }

// Varies implements latent.Params.
func (p *Params) Varies() bool { return p.Incompatible }

// Open implements latent.Params.
func (p *Params) Open(e latent.Env) (latent.Backend, error) { return &backend{p, e}, nil }
