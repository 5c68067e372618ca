package changes

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/change"
	"buildstar/engine/git"
	"buildstar/starlark/spec"
)

// GitPoller is changes.GitPoller (docs/requirements.md C7).
var GitPoller = &spec.Class{
	Module: "changes", Name: "GitPoller",
	New: func() any {
		return &gitPoller{
			Workdir: "gitpoller-work", GitBin: "git", UseTimestamps: true, Encoding: "utf-8",
			Polling: Polling{PollInterval: 10 * time.Minute},
		}
	},
	Partial: true,
	Renamed: map[string]string{"pollinterval": "pollInterval"},
	Unsupported: map[string]string{
		"fetch_refspec": "remove it, as for Buildbot: what is fetched are the branches, say which with branches",
	},
}

// gitPoller looks for new commits in a git repository, and makes each a change. The
// first look only notes where the branches are.
type gitPoller struct {
	config.At
	// RepoURL is the address of the repository, as git takes it: https, ssh, a path. A
	// password in it is taken out of changes, logs and command lines.
	RepoURL string `star:"repourl"`
	// Branches says which branches to look at: a list of names, those that the repository
	// lacks being ignored; True for all; or a function that gets a full name, such as
	// "refs/heads/main" or "refs/tags/v1", and says True or False. The default is the
	// repository's default branch.
	Branches prop.Template[any] `star:"branches,optional"`
	// Branch is one name, as branches=[name].
	Branch string `star:"branch,optional"`
	// Workdir is the directory, below the master's basedir unless it is absolute, in which
	// each poller keeps a repository of its own.
	Workdir string `star:"workdir,optional"`
	Polling
	// GitBin is the git program.
	GitBin string `star:"gitbin,optional"`
	// UseTimestamps gives changes the times of their commits; otherwise it is the time at
	// which they are found.
	UseTimestamps bool `star:"usetimestamps,optional"`
	// Category of the changes: a text, or a function that gets the change as a dict.
	Category prop.Template[*string] `star:"category,optional"`
	// Codebase of the changes; by default c['codebaseGenerator'] says it.
	Codebase *string `star:"codebase,optional"`
	// Project of the changes.
	Project string `star:"project,optional"`
	// Encoding of names, messages and files that are not UTF-8.
	Encoding string `star:"encoding,optional"`
	// Name identifies the poller. What it has seen is remembered by it. The default is
	// repourl.
	Name string `star:"name,optional"`
	// BuildPushesWithNoCommits makes a change of the newest commit of a branch that is
	// new, or was moved, without a commit that is new.
	BuildPushesWithNoCommits bool `star:"buildPushesWithNoCommits,optional"`
	// OnlyTags looks at the tags instead of branches.
	OnlyTags bool `star:"only_tags,optional"`
	git.Auth `star:",kw"`
}

var _ change.Watcher = (*gitPoller)(nil)

// Make checks the arguments.
func (g *gitPoller) Make(c *spec.Call) any {
	bare, err := (&git.Auth{}).Render(context.Background(), &prop.Map{}, g.RepoURL, sshPort)
	if err != nil {
		c.Problem("bad-value", "repourl", strings.TrimPrefix(err.Error(), "render repourl: "), "")
	} else if g.Name == "" {
		g.Name = bare.URL
	}
	if g.Name == "" { // no other's, so that nobody complains about it
		g.Name = c.Pos().String()
	}
	g.checkBranches(c)
	g.Polling.check(c)
	g.Auth.Check(c.Problem)
	if _, err := decoding(g.Encoding); err != nil {
		c.Problem("bad-value", "encoding", err.Error(), `"utf-8" and "latin-1" are two of them`)
	}
	if g.GitBin == "" {
		c.Problem("bad-value", "gitbin", "it is empty", "")
	}
	if !filepath.IsAbs(g.Workdir) && !filepath.IsLocal(g.Workdir) {
		c.Problem("bad-value", "workdir", fmt.Sprintf("%q is not below the master's basedir", g.Workdir), "an absolute path may be anywhere")
	}
	return g
}

func (g *gitPoller) checkBranches(c *spec.Call) {
	v, plain := g.Branches.Plain()
	several := !plain || v != nil
	switch {
	case g.Branch != "" && several:
		c.Problem("bad-value", "branch", "give branch or branches, not both", "")
	case g.OnlyTags && g.Branch != "":
		c.Problem("bad-value", "only_tags", "tags are looked at instead of a branch: leave branch out", "")
	case g.OnlyTags && several:
		c.Problem("bad-value", "only_tags", "tags are looked at instead of branches: leave branches out",
			`or choose with branches=lambda ref: ref.startswith("refs/tags/v")`)
	}
	if err := git.CheckRef(g.Branch); g.Branch != "" && err != nil {
		c.Problem("bad-value", "branch", err.Error(), "")
	}
	if !plain || v == nil || v == true {
		return
	}
	list, ok := v.([]any)
	if !ok {
		c.Problem("wrong-type", "branches", "want list of strings, True or a function, got "+prop.Describe(v), "")
		return
	}
	if len(list) == 0 {
		c.Problem("bad-value", "branches", "the list is empty", "leave it out for the default branch, or write True for all")
	}
	for i, item := range list {
		name, ok := item.(string)
		if !ok {
			c.Problem("wrong-type", "branches", fmt.Sprintf("item %d: want string, got %s", i+1, prop.Describe(item)), "")
		} else if err := git.CheckRef(name); err != nil {
			c.Problem("bad-value", "branches", fmt.Sprintf("item %d: %v", i+1, err), "")
		}
	}
}

// Key returns the poller's key.
func (g *gitPoller) Key() config.Key {
	return config.Key{Kind: config.KindChangeSource, Name: g.Name}
}

// Refs yields nothing.
func (g *gitPoller) Refs() iter.Seq2[string, config.Key] {
	return func(func(string, config.Key) bool) {}
}

// Type returns GitPoller.
func (g *gitPoller) Type() string { return "GitPoller" }

// Run polls until ctx ends.
func (g *gitPoller) Run(ctx context.Context, h change.Host) error {
	p := &gitPoll{gitPoller: g, host: h, dirty: true}
	g.loop(ctx, h, p.poll)
	return nil
}

// wants reports whether the poller looks at a ref, by its full name. def is that of the
// repository's default branch, or "".
func (g *gitPoller) wants(ctx context.Context, p prop.Props, ref, def string) (bool, error) {
	switch v, plain := g.Branches.Plain(); {
	case g.OnlyTags:
		return strings.HasPrefix(ref, tags), nil
	case g.Branch != "":
		return ref == fullRef(g.Branch), nil
	case !plain:
		v, err := g.Branches.Render(ctx, asked{p, []any{ref}})
		if err != nil {
			return false, fmt.Errorf("ask branches about %q: %w", ref, err)
		}
		return prop.Truthy(v), nil
	case v == true:
		return strings.HasPrefix(ref, heads), nil
	case v != nil:
		return slices.ContainsFunc(v.([]any), func(name any) bool { return fullRef(name.(string)) == ref }), nil
	}
	return ref == def, nil
}

// patterns limits what the repository lists of its refs; nil is everything.
func (g *gitPoller) patterns() []string {
	switch v, plain := g.Branches.Plain(); {
	case g.OnlyTags:
		return []string{tags + "*"}
	case g.Branch != "":
		return []string{fullRef(g.Branch)}
	case !plain:
		return nil
	case v == true:
		return []string{heads + "*"}
	case v != nil:
		var list []string
		for _, name := range v.([]any) {
			list = append(list, fullRef(name.(string)))
		}
		return list
	}
	return []string{"HEAD"}
}

// category asks for the category of a change.
func (g *gitPoller) category(ctx context.Context, p prop.Props, in change.Input) (string, error) {
	v, err := g.Category.Render(ctx, asked{p, []any{in.Dict()}})
	if err != nil {
		return "", fmt.Errorf("ask for the category of %s: %w", in.Revision, err)
	}
	if v == nil {
		return "", nil
	}
	return *v, nil
}

// asked is what a function of a change source is called with.
type asked struct {
	prop.Props
	arguments []any
}

func (a asked) Arguments() []any { return a.arguments }

// sshPort is where git finds ssh by itself; an address says another one.
const sshPort = 22

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
)

// fullRef returns the full name of what may be a branch.
func fullRef(name string) string {
	if strings.HasPrefix(name, "refs/") {
		return name
	}
	return heads + name
}
