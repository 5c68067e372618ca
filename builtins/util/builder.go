package util

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// BuilderConfig is util.BuilderConfig (docs/requirements.md C2).
var BuilderConfig = &spec.Class{
	Module: "util", Name: "BuilderConfig",
	New:     func() any { return &builderConfig{} },
	Partial: true,
	Unsupported: map[string]string{
		"nextWorker":    "a random free worker is taken",
		"nextBuild":     "the request with the highest priority is taken, then the oldest",
		"canStartBuild": "",
		"do_build_if":   "give the steps doStepIf",

		"nextSlave": "since Buildbot 0.9 it is nextWorker, which is not supported yet either",
		"category":  "since Buildbot 0.9 it is tags=[...]",
	},
	Old: map[string]string{
		"slavename": "workername", "slavenames": "workernames", "slavebuilddir": "workerbuilddir", "mergeRequests": "collapseRequests",
	},
}

// builderConfig is a way to build something, and the workers it may be built on.
type builderConfig struct {
	// Name identifies the builder. It is any text that does not begin with "_".
	Name string `star:"name"`
	// Workername is the name of the worker, or a list of names.
	Workername names `star:"workername,optional"`
	// Workernames are the names of the workers, or one name; with Workername, both count.
	Workernames names `star:"workernames,optional"`
	// Builddir is the default of Workerbuilddir. Its own default is the name, with "_"
	// for every character that is not safe in a file name.
	Builddir string `star:"builddir,optional"`
	// Workerbuilddir is the builder's directory on the worker, below the worker's
	// basedir. The default is Builddir.
	Workerbuilddir string `star:"workerbuilddir,optional"`
	// Factory is the list of steps.
	Factory *factory `star:"factory"`
	// Tags group builders on the page.
	Tags []string `star:"tags,optional"`
	// Description is shown on the builder's page.
	Description string `star:"description,optional,kw"`
	// DescriptionFormat is "markdown" or None, the default, for plain text.
	DescriptionFormat string `star:"description_format,optional,kw" oneof:"markdown"`
	// Project is the name of the builder's project, one of c['projects'].
	Project string `star:"project,optional,kw"`
	// CollapseRequests says whether a new request absorbs older ones that wait for the
	// same source. The default is c['collapseRequests'].
	CollapseRequests *bool `star:"collapseRequests,optional,kw" nofunc:"1"`
	// Locks are lock accesses that a build holds from start to end, or a renderable of
	// such a list (C5).
	Locks prop.Template[config.LockAccesses] `star:"locks,optional,kw"`
	// Env are environment variables for every command of a build. Those of a step
	// win.
	Env map[string]prop.Template[any] `star:"env,optional,kw"`
	// Properties are set for every build, with the source "Builder"; they win over
	// those of schedulers (C3).
	Properties map[string]prop.Template[any] `star:"properties,optional,kw"`
	// DefaultProperties are set for every build if nothing else set them before.
	DefaultProperties map[string]prop.Template[any] `star:"defaultProperties,optional,kw"`
}

// Make makes the node.
func (b *builderConfig) Make(c *spec.Call) any {
	switch {
	case b.Name == "":
		c.Problem("bad-name", "name", "the name is empty", "")
	case b.Name == "." || b.Name == "..":
		c.Problem("bad-name", "name", fmt.Sprintf("%q cannot be in an address", b.Name), "choose another name")
	case strings.ContainsFunc(b.Name, unicode.IsControl):
		c.Problem("bad-name", "name", "the name has a control character in it", "")
	case strings.HasPrefix(b.Name, "_"):
		c.Problem("bad-name", "name", `the name begins with "_"`, "such names are for builders that the master makes itself")
	}
	workers := make([]string, 0, len(b.Workernames)+len(b.Workername))
	for _, w := range slices.Concat(b.Workernames, b.Workername) {
		if !slices.Contains(workers, w) {
			workers = append(workers, w)
		}
	}
	if len(workers) == 0 && !c.Bad("workername") {
		c.Problem("missing-parameter", "workernames", "at least one worker is required", `write workernames=["bot1"]`)
	}
	seen := make(map[string]bool, len(b.Tags))
	for _, tag := range b.Tags {
		if seen[tag] {
			c.Problem("bad-value", "tags", fmt.Sprintf("%q stands there twice", tag), "")
		}
		seen[tag] = true
	}
	checkDirectory(c, "builddir", b.Builddir)
	checkDirectory(c, "workerbuilddir", b.Workerbuilddir)
	builddir := b.Builddir
	if builddir == "" {
		builddir = safeName(b.Name)
	}
	workerBuilddir := b.Workerbuilddir
	if workerBuilddir == "" {
		workerBuilddir = builddir
	}
	var steps *config.Factory
	if b.Factory != nil {
		steps = &b.Factory.node
	}
	return &config.Builder{
		At: config.At{Where: c.Pos()}, Name: b.Name, Workers: workers, Factory: steps,
		Builddir: builddir, WorkerBuilddir: workerBuilddir, Tags: b.Tags, Description: b.Description,
		DescriptionFormat: b.DescriptionFormat, Project: b.Project, CollapseRequests: b.CollapseRequests,
		Locks: b.Locks, Env: b.Env, Properties: b.Properties, DefaultProperties: b.DefaultProperties,
	}
}

// checkDirectory refuses a directory that leaves the basedir.
func checkDirectory(c *spec.Call, param, dir string) {
	if clean := path.Clean(dir); clean == ".." || strings.HasPrefix(clean, "../") {
		c.Problem("bad-value", param, fmt.Sprintf("%q leaves the basedir", dir), "write a directory below it")
	}
}

// safeName returns name with "_" for every ASCII character that is not a letter,
// a digit, _ or -. It is never a path: "." and "/" are replaced.
func safeName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '-', r >= 0x80, '0' <= r && r <= '9', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
			return r
		}
		return '_'
	}, name)
}

// names is a name or a list of names.
type names []string

// TypeName is what messages call it.
func (names) TypeName() string { return "string or list of strings" }

// FromValue reads a string or a list of strings.
func (n *names) FromValue(v any) error {
	if v == nil {
		return nil
	}
	if s, ok := v.(string); ok {
		*n = names{s}
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("want string or list of strings, got %s", describe(v))
	}
	var wrong error
	for i, e := range list {
		if s, ok := e.(string); ok {
			*n = append(*n, s)
		} else if wrong == nil {
			wrong = fmt.Errorf("item %d: want string, got %s", i+1, describe(e))
		}
	}
	return wrong
}

// describe also knows workers, which Buildbot names too.
func describe(v any) string {
	if w, ok := v.(*config.Worker); ok {
		return fmt.Sprintf("the worker itself: write its name, %q", w.Name)
	}
	return prop.Describe(v)
}
