package steps

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"buildstar/config/prop"
	"buildstar/engine/git"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// Source holds the arguments of every step that gets the source of a build
// (docs/requirements.md C4).
type Source struct {
	Base
	// AlwaysUseLatest gets the newest revision of the branch argument, whatever the build is
	// for.
	AlwaysUseLatest prop.Template[bool] `star:"alwaysUseLatest,optional"`
	// Codebase is the codebase to get. Its name is appended to that of the step, and the
	// properties that the step sets become dicts by codebase.
	Codebase prop.Template[string] `star:"codebase,optional"`
	// Timeout kills a command after so many seconds without output; None is never. The
	// default is 1200.
	Timeout prop.Template[*float64] `star:"timeout,optional" hint:"write seconds as a number"`
	// Retry is (delay, repeats): how often a clone that failed is tried again, and how many
	// seconds to wait before that.
	Retry *Retry `star:"retry,optional"`
	// Env is added to the builder's env and that of the worker, as for ShellCommand.
	Env prop.Template[map[string]any] `star:"env,optional"`
	// LogEnviron logs the environment of the first command.
	LogEnviron prop.Template[bool] `star:"logEnviron,optional"`
}

func source(class, name string) Source {
	silence := 1200.0
	return Source{Base: halting(class, name), Timeout: prop.Of(&silence), LogEnviron: prop.Of(true)}
}

// Retry is what the retry argument says.
type Retry struct {
	Delay   float64 // seconds
	Repeats int64
}

// TypeName is what messages call it.
func (*Retry) TypeName() string { return "(delay, repeats)" }

// FromValue reads a delay in seconds and a number, or None.
func (r *Retry) FromValue(v any) error {
	if v == nil {
		return nil
	}
	pair, _ := v.([]any)
	if len(pair) == 2 {
		delay, err := prop.Convert[float64](pair[0])
		repeats, ok := pair[1].(int64)
		if err == nil && ok && delay >= 0 && delay < 1e6 && repeats >= 0 {
			*r = Retry{delay, repeats}
			return nil
		}
	}
	return fmt.Errorf("want (delay, repeats), got %s", prop.Describe(v))
}

// check checks the arguments and appends the codebase to the step's name.
func (s *Source) check(c *spec.Call) {
	s.Base.check(c)
	notNegative(c, "timeout", s.Timeout)
	if v, plain := s.Env.Plain(); plain && len(v) > 0 {
		if err := checkEnv(v); err != nil {
			c.Problem("wrong-type", "env", err.Error(), "")
		}
	}
	if codebase, plain := s.Codebase.Plain(); plain && codebase == "" {
		return
	}
	name, err := prop.Interpolate("%(kw:name)s-%(kw:codebase)s", nil, map[string]prop.Renderable{
		"name": s.Name.Renderable(), "codebase": s.Codebase.Renderable(),
	})
	if err == nil {
		err = s.Name.Set(name)
	}
	if err != nil {
		panic(fmt.Sprintf("steps: the name of a source step: %v", err)) // it is ours
	}
}

// stamp is what a build wants of a codebase.
type stamp struct {
	codebase         string
	branch, revision string // "": the default, the newest
}

// errNoCodebase ends a step for a codebase that the build does not have.
var errNoCodebase = errors.New("codebase not in build")

func (s *Source) stamp(x *renderer) (stamp, error) {
	out := stamp{codebase: render(x, "codebase", s.Codebase)}
	latest := render(x, "alwaysUseLatest", s.AlwaysUseLatest)
	if x.err != nil || latest {
		return out, x.err
	}
	of, ok := x.r.SourceStamp(out.codebase)
	if !ok {
		return out, errNoCodebase
	}
	if of.Branch != nil {
		out.branch = *of.Branch
	}
	if of.Revision != nil {
		out.revision = *of.Revision
	}
	return out, nil
}

// set sets a property to what holds for the codebase: the value itself, or a dict that
// has those of the other codebases too (docs/requirements.md C3).
func (s stamp) set(r *run.Running, source, name, value string) {
	if s.codebase == "" {
		r.SetProperty(name, value, source)
		return
	}
	all := map[string]any{}
	if v, ok := r.Property(name); ok {
		if before, ok := v.(map[string]any); ok {
			all = maps.Clone(before)
		}
	}
	all[s.codebase] = value
	r.SetProperty(name, all, source)
}

// check checks what came with the build, perhaps from outside.
func (s stamp) check() error {
	if s.branch != "" {
		if err := git.CheckRef(s.branch); err != nil {
			return fmt.Errorf("branch of the build: %w", err)
		}
	}
	if s.revision != "" {
		if err := git.CheckRevision(s.revision); err != nil {
			return fmt.Errorf("revision of the build: %w", err)
		}
	}
	return nil
}

// failure ends a step with FAILURE and says why in a few words.
type failure string

func (f failure) Error() string { return string(f) }

// failed reports whether err is a failure: a command that did not succeed, while nobody
// stopped the step.
func failed(ctx context.Context, err error) bool {
	var f failure
	return ctx.Err() == nil && errors.As(err, &f)
}
