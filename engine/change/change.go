// Package change is what changes are made of on their way into the master: how a
// poller, a hook or a sender tells them, what of that is refused, and the links to
// their revisions. The sources themselves are in builtins/changes, cmd and web.
package change

import (
	"slices"
	"strconv"
	"strings"

	"buildstar/state"
)

// Input is a change as its source tells it (docs/requirements.md C7). What is empty
// was not told; only Author must be.
type Input struct {
	Author     string // who made it: NAME <ADDRESS>
	Committer  string
	Comments   string
	Branch     string // "": the default branch
	Revision   string // "": the newest
	Category   string
	RevLink    string     // "": what c['revlink'] makes of repository and revision
	When       state.Time // of the commit; 0: when it arrives
	Files      []string   // that changed, by their paths in the repository
	Properties map[string]any
	Repository string
	Project    string
	Codebase   *string // nil: what c['codebaseGenerator'] says
}

// Source is the label of the properties of changes.
const Source = "Change"

// Invalid is all that is wrong with a change.
type Invalid struct{ Problems []string }

// Error returns one line.
func (e *Invalid) Error() string { return strings.Join(e.Problems, "; ") }

func (e *Invalid) add(problem string) { e.Problems = append(e.Problems, problem) }

// orNil returns e if anything is wrong.
func (e *Invalid) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

// maxWhen is the end of the year 9999.
const maxWhen = 253402300799999

// Check returns what keeps a change from being added, an [*Invalid], or nil.
func (in Input) Check() error {
	e := &Invalid{}
	if strings.TrimSpace(in.Author) == "" {
		e.add("author is missing: say who made the change")
	}
	if in.When < 0 || in.When > maxWhen {
		e.add("when_timestamp: " + strconv.FormatInt(int64(in.When)/1000, 10) + " is not a number of seconds since 1970")
	}
	if _, ok := in.Properties[""]; ok {
		e.add("properties: a name is empty")
	}
	return e.orNil()
}

// Dict returns what functions of the configuration get of a change that is not added
// yet: c['codebaseGenerator'], and the category of a poller. What was not told is None
// or, for repository, project and revlink, "".
func (in Input) Dict() map[string]any {
	files := make([]any, len(in.Files))
	for i, f := range in.Files {
		files[i] = f
	}
	properties := in.Properties
	if properties == nil {
		properties = map[string]any{}
	}
	var when any
	if in.When != 0 {
		when = int64(in.When) / 1000
	}
	return map[string]any{
		"author": in.Author, "committer": orNone(in.Committer), "comments": in.Comments, "files": files,
		"revision": orNone(in.Revision), "when_timestamp": when, "branch": orNone(in.Branch), "category": orNone(in.Category),
		"revlink": in.RevLink, "properties": properties, "repository": in.Repository, "project": in.Project,
	}
}

func orNone(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// Row returns the change as a row: bytes that are not UTF-8 become U+FFFD.
func (in Input) Row() state.Change {
	c := state.Change{
		Author: text(in.Author), Committer: orNull(in.Committer), Comments: text(in.Comments), Branch: orNull(in.Branch),
		Revision: orNull(in.Revision), Category: orNull(in.Category), RevLink: orNull(in.RevLink), When: in.When,
		Project: text(in.Project), Repository: text(in.Repository), Files: slices.Clone(in.Files),
	}
	if in.Codebase != nil {
		c.Codebase = text(*in.Codebase)
	}
	for i, f := range c.Files {
		c.Files[i] = text(f)
	}
	if len(in.Properties) > 0 {
		c.Properties = make(state.Properties, len(in.Properties))
	}
	for name, v := range in.Properties {
		c.Properties[text(name)] = state.Property{Value: v, Source: Source}
	}
	return c
}

func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	s = text(s)
	return &s
}
