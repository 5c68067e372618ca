package util

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// ChangeFilter is util.ChangeFilter (docs/requirements.md C7).
var ChangeFilter = &spec.Class{
	Module: "util", Name: "ChangeFilter",
	New:     func() any { return &changeFilter{} },
	Renamed: renamedFilters(),
}

// renamedFilters are the names that SourceStampFilter has for the same.
func renamedFilters() map[string]string {
	renamed := map[string]string{}
	for _, field := range []string{"project", "repository", "branch", "category", "codebase"} {
		renamed[field+"_eq"] = field
	}
	return renamed
}

// changeFilter says which changes a scheduler follows: those for which everything that
// is given holds. Patterns are regular expressions that a text must begin with;
// look-around and back-references are not possible in them.
type changeFilter struct {
	// FilterFn is a function of the change, which it may look at as change.branch,
	// change.files and so on.
	FilterFn prop.Template[bool] `star:"filter_fn,optional" hint:"write a function, or lambda x: ..."`

	// Project is a value, or a list of them, one of which the project must be.
	Project oneOf `star:"project,optional"`
	// ProjectNotEq is a value, or a list of them, none of which the project may be.
	ProjectNotEq oneOf `star:"project_not_eq,optional"`
	// ProjectRe is a pattern, or a list of them, one of which must match the project.
	ProjectRe patterns `star:"project_re,optional"`
	// ProjectNotRe is a pattern, or a list of them, none of which may match the project.
	ProjectNotRe patterns `star:"project_not_re,optional"`
	// ProjectFn is a function of the project, which is None if there is none.
	ProjectFn prop.Template[bool] `star:"project_fn,optional" hint:"write a function, or lambda x: ..."`

	// Repository is a value, or a list of them, one of which the repository must be.
	Repository oneOf `star:"repository,optional"`
	// RepositoryNotEq is a value, or a list of them, none of which the repository may be.
	RepositoryNotEq oneOf `star:"repository_not_eq,optional"`
	// RepositoryRe is a pattern, or a list of them, one of which must match the repository.
	RepositoryRe patterns `star:"repository_re,optional"`
	// RepositoryNotRe is a pattern, or a list of them, none of which may match the repository.
	RepositoryNotRe patterns `star:"repository_not_re,optional"`
	// RepositoryFn is a function of the repository, which is None if there is none.
	RepositoryFn prop.Template[bool] `star:"repository_fn,optional" hint:"write a function, or lambda x: ..."`

	// Branch is a branch, or a list of them, one of which it must be. None is the default
	// branch.
	Branch branchNames `star:"branch,optional"`
	// BranchNotEq is a value, or a list of them, none of which the branch may be.
	BranchNotEq branchNames `star:"branch_not_eq,optional"`
	// BranchRe is a pattern, or a list of them, one of which must match the branch.
	BranchRe patterns `star:"branch_re,optional"`
	// BranchNotRe is a pattern, or a list of them, none of which may match the branch.
	BranchNotRe patterns `star:"branch_not_re,optional"`
	// BranchFn is a function of the branch, which is None if there is none.
	BranchFn prop.Template[bool] `star:"branch_fn,optional" hint:"write a function, or lambda x: ..."`

	// Category is a value, or a list of them, one of which the category must be.
	Category oneOf `star:"category,optional"`
	// CategoryNotEq is a value, or a list of them, none of which the category may be.
	CategoryNotEq oneOf `star:"category_not_eq,optional"`
	// CategoryRe is a pattern, or a list of them, one of which must match the category.
	CategoryRe patterns `star:"category_re,optional"`
	// CategoryNotRe is a pattern, or a list of them, none of which may match the category.
	CategoryNotRe patterns `star:"category_not_re,optional"`
	// CategoryFn is a function of the category, which is None if there is none.
	CategoryFn prop.Template[bool] `star:"category_fn,optional" hint:"write a function, or lambda x: ..."`

	// Codebase is a value, or a list of them, one of which the codebase must be.
	Codebase oneOf `star:"codebase,optional"`
	// CodebaseNotEq is a value, or a list of them, none of which the codebase may be.
	CodebaseNotEq oneOf `star:"codebase_not_eq,optional"`
	// CodebaseRe is a pattern, or a list of them, one of which must match the codebase.
	CodebaseRe patterns `star:"codebase_re,optional"`
	// CodebaseNotRe is a pattern, or a list of them, none of which may match the codebase.
	CodebaseNotRe patterns `star:"codebase_not_re,optional"`
	// CodebaseFn is a function of the codebase, which is None if there is none.
	CodebaseFn prop.Template[bool] `star:"codebase_fn,optional" hint:"write a function, or lambda x: ..."`

	// PropertyEq says, by the name of a property of the change, of which value it must
	// be; a list is one of them. A property that is not set counts as "".
	PropertyEq map[string]oneOf `star:"property_eq,optional"`
	// PropertyNotEq says of which values they may not be.
	PropertyNotEq map[string]oneOf `star:"property_not_eq,optional"`
	// PropertyRe says which pattern must match them.
	PropertyRe map[string]patterns `star:"property_re,optional"`
	// PropertyNotRe says which patterns may not match them.
	PropertyNotRe map[string]patterns `star:"property_not_re,optional"`
}

// Make makes the filter.
func (a *changeFilter) Make(c *spec.Call) any {
	f := &sched.Filter{Fn: a.FilterFn}
	isFunction(c, "filter_fn", a.FilterFn)
	for _, t := range []struct {
		field     string
		eq, notEq []any
		re, notRe patterns
		fn        prop.Template[bool]
	}{
		{"project", a.Project, a.ProjectNotEq, a.ProjectRe, a.ProjectNotRe, a.ProjectFn},
		{"repository", a.Repository, a.RepositoryNotEq, a.RepositoryRe, a.RepositoryNotRe, a.RepositoryFn},
		{"branch", a.Branch, a.BranchNotEq, a.BranchRe, a.BranchNotRe, a.BranchFn},
		{"category", a.Category, a.CategoryNotEq, a.CategoryRe, a.CategoryNotRe, a.CategoryFn},
		{"codebase", a.Codebase, a.CodebaseNotEq, a.CodebaseRe, a.CodebaseNotRe, a.CodebaseFn},
	} {
		add(f, sched.Test{Field: t.field}, t.eq, t.notEq, t.re, t.notRe)
		if isFunction(c, t.field+"_fn", t.fn); t.fn.IsSet() {
			f.Tests = append(f.Tests, sched.Test{Field: t.field, How: sched.Function, Fn: t.fn})
		}
	}
	names := slices.Concat(keys(a.PropertyEq), keys(a.PropertyNotEq), keys(a.PropertyRe), keys(a.PropertyNotRe))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		add(f, sched.Test{Property: name}, a.PropertyEq[name], a.PropertyNotEq[name], a.PropertyRe[name], a.PropertyNotRe[name])
	}
	return f
}

func keys[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }

// add adds the tests that are given.
func add(f *sched.Filter, of sched.Test, eq, notEq []any, re, notRe patterns) {
	for _, t := range []struct {
		how      string
		values   []any
		patterns patterns
	}{{sched.Is, eq, nil}, {sched.IsNot, notEq, nil}, {sched.Matches, nil, re}, {sched.MatchesNot, nil, notRe}} {
		if t.values != nil || t.patterns != nil {
			of.How, of.Values, of.Patterns = t.how, t.values, t.patterns
			f.Tests = append(f.Tests, of)
		}
	}
}

// isFunction reports what is no function.
func isFunction(c *spec.Call, param string, t prop.Template[bool]) {
	if _, plain := t.Plain(); plain && t.IsSet() {
		c.Problem("wrong-type", param, "want a function", "write lambda x: ...")
	}
}

// oneOf is a value or a list of them; nil is not given.
type oneOf []any

// TypeName is what messages call it.
func (oneOf) TypeName() string { return "value or list of values" }

// FromValue reads it; None is not given.
func (vs *oneOf) FromValue(v any) error {
	if v == nil {
		return nil
	}
	return (*branchNames)(vs).FromValue(v)
}

// branchNames are values among which None is one.
type branchNames []any

// TypeName is what messages call it.
func (branchNames) TypeName() string { return "string, None, or list of these" }

// FromValue reads it.
func (vs *branchNames) FromValue(v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, e := range list {
		switch e.(type) {
		case nil, string, bool, int64, float64:
		default:
			return fmt.Errorf("want plain values, got %s", prop.Describe(e))
		}
	}
	*vs = append(branchNames{}, list...)
	return nil
}

// patterns is a regular expression or a list of them; nil is not given.
type patterns []sched.Pattern

// TypeName is what messages call it.
func (patterns) TypeName() string { return "regular expression or list of them" }

// FromValue reads it; None is not given.
func (ps *patterns) FromValue(v any) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	*ps = patterns{}
	for _, e := range list {
		text, ok := e.(string)
		if !ok {
			return fmt.Errorf("want a regular expression as a string, got %s", prop.Describe(e))
		}
		p, err := sched.NewPattern(text)
		if err != nil {
			return fmt.Errorf("%q: %s", text, whyNot(text, err))
		}
		*ps = append(*ps, p)
	}
	return nil
}

// pythonOnly are parts of Python's regular expressions that are not possible here.
var pythonOnly = []struct{ part, why string }{
	{"(?!", "(?!...) is not possible: give the contrary as ..._not_re, or use a function"},
	{"(?=", "(?=...) is not possible: use a function"},
	{"(?<!", "(?<!...) is not possible: use a function"},
	{"(?<=", "(?<=...) is not possible: use a function"},
	{"(?P=", "(?P=name), a back-reference, is not possible: use a function"},
	{"(?(", "(?(group)...) is not possible: use a function"},
	{"(?#", "(?#...), a comment, is not possible: leave it out"},
	{`\Z`, `\Z is written \z here`},
}

// whyNot explains an error of a pattern that Python may take.
func whyNot(text string, err error) string {
	for _, p := range pythonOnly {
		if strings.Contains(text, p.part) {
			return p.why
		}
	}
	for d := '1'; d <= '9'; d++ {
		if ref := `\` + string(d); strings.Contains(text, ref) {
			return ref + ", a back-reference, is not possible: use a function"
		}
	}
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}
