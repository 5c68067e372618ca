package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/git"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// Git is steps.Git (docs/requirements.md C4).
var Git = class("Git", func() any {
	return &gitStep{
		Source: source("Git", "git"), Port: prop.Of(int64(22)), Branch: prop.Of("HEAD"), Mode: prop.Of("incremental"), Progress: true,
	}
})

// gitStep gets the source of a build with git. It sets the property got_revision.
type gitStep struct {
	Source `star:",kw"`
	// RepoURL is the address of the repository. A password in it is taken out and given
	// to git as auth_credentials is.
	RepoURL prop.Template[string] `star:"repourl"`
	// Port is the port of the ssh server.
	Port prop.Template[int64] `star:"port,optional" min:"1" max:"65535"`
	// Branch is the branch, tag or other ref to get if the build names none. The default
	// HEAD is the repository's own.
	Branch prop.Template[string] `star:"branch,optional"`
	// Mode is "incremental", which keeps what earlier builds left, or "full", which does
	// not.
	Mode prop.Template[string] `star:"mode,optional" oneof:"incremental|full"`
	// Method is how mode full gets rid of what is left: "fresh" removes all that git does not
	// track, "clean" leaves ignored files, "clobber" removes everything and clones,
	// "copy" updates a clone in the directory source and copies it to workdir. The
	// default is "fresh". Mode incremental ignores it.
	Method prop.Template[*string] `star:"method,optional" oneof:"clean|fresh|clobber|copy"`
	// Reference is a repository on the worker from which to borrow objects.
	Reference prop.Template[*string] `star:"reference,optional"`
	// Submodules gets submodules too, and theirs.
	Submodules bool `star:"submodules,optional"`
	// RemoteSubmodules gets the newest commits of the submodules' branches.
	RemoteSubmodules bool `star:"remoteSubmodules,optional"`
	// Tags fetches all tags, with each update.
	Tags bool `star:"tags,optional"`
	// Shallow gets no history: True is one commit, a number is so many. It is for mode
	// incremental, and for full with method clobber.
	Shallow Depth `star:"shallow,optional"`
	// Filters leave objects out until they are needed: ["blob:none"].
	Filters prop.Template[[]string] `star:"filters,optional"`
	// Progress has git tell how far it is, so that a long clone is not taken for silent.
	Progress bool `star:"progress,optional"`
	// RetryFetch tries a fetch that failed once more.
	RetryFetch bool `star:"retryFetch,optional"`
	// ClobberOnFailure removes everything and clones if an update or a clone failed.
	ClobberOnFailure bool `star:"clobberOnFailure,optional"`
	// GetDescription sets the property commit-description to what git describe prints.
	// A dict has its options: {"tags": True, "match": "v*"}.
	GetDescription Describe `star:"getDescription,optional"`
	// Config is given to each git command with -c, where everybody who may read the log
	// sees it: {"protocol.file.allow": "always"}.
	Config prop.Template[map[string]string] `star:"config,optional"`
	// Origin is the name that the clone has for the repository.
	Origin   prop.Template[*string] `star:"origin,optional"`
	git.Auth `star:",kw"`
}

// Depth is what the shallow argument says; 0 is all of the history.
type Depth int64

// TypeName is what messages call it.
func (*Depth) TypeName() string { return "bool or number of commits" }

// FromValue reads a bool or a number.
func (d *Depth) FromValue(v any) error {
	switch v := v.(type) {
	case nil:
		*d = 0
		return nil
	case bool:
		*d = 0
		if v {
			*d = 1
		}
		return nil
	case int64:
		if v >= 0 {
			*d = Depth(v)
			return nil
		}
	}
	return fmt.Errorf("want True, False or the number of commits, got %s", prop.Describe(v))
}

// Make makes the step.
func (s *gitStep) Make(c *spec.Call) any {
	s.Source.check(c)
	if v, plain := s.RepoURL.Plain(); plain {
		if err := git.CheckURL(v); err != nil {
			c.Problem("bad-value", "repourl", err.Error(), "")
		}
	}
	if v, plain := s.Branch.Plain(); plain {
		if err := git.CheckRef(v); err != nil {
			c.Problem("bad-value", "branch", err.Error(), "")
		}
	}
	if v, plain := s.Config.Plain(); plain {
		if err := checkConfig(v); err != nil {
			c.Problem("bad-value", "config", err.Error(), "")
		}
	}
	mode, plain := s.Mode.Plain()
	method, methodPlain := s.Method.Plain()
	if s.Shallow > 0 && plain && mode == "full" && methodPlain && (method == nil || *method != "clobber") {
		c.Problem("bad-value", "shallow", `mode full is shallow with method "clobber" only`, `add method="clobber", or use mode="incremental"`)
	}
	s.Auth.Check(c.Problem)
	return s
}

// checkConfig checks for what git would read as something else.
func checkConfig(values map[string]string) error {
	for name := range values {
		if section, rest, ok := strings.Cut(name, "."); !ok || section == "" || rest == "" || strings.ContainsAny(name, "=\n\x00") {
			return fmt.Errorf("%q is no name of git's configuration, such as core.autocrlf", name)
		}
	}
	return nil
}

var _ run.Step = (*gitStep)(nil)

// Run implements run.Step.
func (s *gitStep) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	g, err := s.render(ctx, r)
	if errors.Is(err, errNoCodebase) {
		r.Describe("updating", "update")
		r.Because(err.Error())
		return config.Failure, nil
	}
	if err != nil {
		return config.Exception, err
	}
	r.Describe("updating", "update")
	if g.log, err = r.AddLog("stdio", "s"); err != nil {
		return config.Exception, err
	}
	err = g.run(ctx)
	if f := failure(""); errors.As(err, &f) {
		r.Because(string(f))
		return config.Failure, nil
	}
	if err != nil {
		return config.Exception, err
	}
	return config.Success, nil
}

// render renders the arguments.
func (s *gitStep) render(ctx context.Context, r *run.Running) (*checkout, error) {
	x := &renderer{ctx: ctx, r: r}
	g := &checkout{gitStep: s, r: r}
	var err error
	if g.stamp, err = s.stamp(x); err != nil {
		return nil, err
	}
	g.mode, g.branch = renderName(x, "mode", s.Mode), renderName(x, "branch", s.Branch)
	g.timeout = number(render(x, "timeout", s.Timeout))
	g.logEnviron = render(x, "logEnviron", s.LogEnviron)
	g.filters, g.options = render(x, "filters", s.Filters), render(x, "config", s.Config)
	for _, o := range []struct {
		name string
		from prop.Template[*string]
		to   *string
	}{{"method", s.Method, &g.method}, {"reference", s.Reference, &g.reference}, {"origin", s.Origin, &g.origin}} {
		if v := render(x, o.name, o.from); v != nil {
			*o.to = *v
		}
	}
	repourl, port, env := render(x, "repourl", s.RepoURL), render(x, "port", s.Port), render(x, "env", s.Env)
	if x.err != nil {
		return nil, x.err
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	if g.access, err = s.Auth.Render(ctx, r, repourl, port); err != nil {
		return nil, err
	}
	if g.workdir, err = r.Workdir(ctx); err != nil {
		return nil, err
	}
	g.dir, g.private = g.workdir, r.Builddir()+".git-auth"
	return g, g.environment(ctx, env)
}

// check checks what was rendered, and completes it.
func (g *checkout) check() error {
	if err := g.stamp.check(); err != nil {
		return err
	}
	if g.stamp.branch != "" {
		g.branch = g.stamp.branch
	}
	if err := git.CheckRef(g.branch); err != nil {
		return fmt.Errorf("render branch: %w", err)
	}
	if err := checkConfig(g.options); err != nil {
		return fmt.Errorf("render config: %w", err)
	}
	switch g.mode {
	case "incremental":
		return nil
	case "full":
	default:
		return fmt.Errorf(`render mode: want "incremental" or "full", got %q`, g.mode)
	}
	switch g.method {
	case "":
		g.method = "fresh"
	case "clean", "fresh", "clobber", "copy":
	default:
		return fmt.Errorf(`render method: want "clean", "fresh", "clobber" or "copy", got %q`, g.method)
	}
	return nil
}

// environment returns the environment of git: the builder's, the step's and what the
// access needs.
func (g *checkout) environment(ctx context.Context, own map[string]any) error {
	var err error
	if g.env, err = environment(ctx, g.r, own); err != nil {
		return err
	}
	needed, err := g.access.Env(g.private)
	for name, v := range needed {
		if _, set := g.env[name]; !set || name != "GIT_TERMINAL_PROMPT" {
			g.env[name] = v
		}
	}
	return err
}
