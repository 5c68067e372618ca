package util

import (
	"errors"
	"fmt"

	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// CodebaseParameter is util.CodebaseParameter (docs/requirements.md C6).
var CodebaseParameter = &spec.Class{
	Module: "util", Name: "CodebaseParameter",
	New: func() any { return &codebaseParameter{Layout: "vertical"} },
	Unsupported: map[string]string{
		"debug": "", "patch": "a force request cannot carry a patch",
		"regex": perField, "required": perField, "multiple": perField, "maxsize": perField, "default": perField, "autopopulate": perField,
	},
}

const perField = "give it to the fields: branch=util.StringParameter(...)"

// codebaseParameter asks which source to build, for one codebase. Its fields are
// branch, project, repository and revision; a blank one is the default branch or
// the newest revision.
type codebaseParameter struct {
	// Codebase is the codebase, which may be "".
	Codebase string `star:"codebase"`
	// Name begins the full names of the fields: lib_branch. The default is the
	// codebase.
	Name *string `star:"name,optional"`
	// Label is the title of the group; the default is "Codebase: " and the codebase,
	// or nothing for "".
	Label *string `star:"label,optional"`
	// Branch is a parameter, a string that is the fixed value, or None for no such
	// field. The default asks for text.
	Branch codebaseField `star:"branch,optional"`
	// Revision is like Branch.
	Revision codebaseField `star:"revision,optional"`
	// Repository is like Branch.
	Repository codebaseField `star:"repository,optional"`
	// Project is like Branch.
	Project codebaseField `star:"project,optional"`
	// TabLabel is shown on the group's tab; the default is the label.
	TabLabel *string `star:"tablabel,optional,kw"`
	look
	// Layout is how the group shows its fields.
	Layout string `star:"layout,optional,kw" oneof:"simple|vertical|tabs"`
	// Columns is in how many columns; the default is 2 if four fields are to be seen,
	// and 1 if fewer.
	Columns int64 `star:"columns,optional,kw" min:"1" max:"4"`
}

// Make makes the parameter.
func (p *codebaseParameter) Make(*spec.Call) any {
	var fields []*sched.Parameter
	given := map[string]codebaseField{"branch": p.Branch, "revision": p.Revision, "repository": p.Repository, "project": p.Project}
	for _, attr := range sched.CodebaseAttrs {
		if field := given[attr].parameter(attr); field != nil {
			fields = append(fields, field)
		}
	}
	group := sched.Codebase(p.Codebase, fields)
	group.Hide, group.Tooltip, group.Layout = p.Hide, p.Tooltip, p.Layout
	if p.Name != nil {
		group.Name = *p.Name
	}
	if p.Label != nil {
		group.Label, group.TabLabel = *p.Label, *p.Label
	}
	if p.TabLabel != nil {
		group.TabLabel = *p.TabLabel
	}
	if p.Columns > 0 {
		group.Columns = p.Columns
	}
	return group
}

// codebaseField is one field of a codebase.
type codebaseField struct {
	given bool
	param *sched.Parameter // nil if given: no such field
}

// TypeName is what messages call it.
func (codebaseField) TypeName() string { return "string, parameter or None" }

// FromValue reads a parameter, a string or None.
func (f *codebaseField) FromValue(v any) error {
	f.given = true
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		f.param = &sched.Parameter{Type: sched.TypeFixed, Default: v, Hide: true}
		return nil
	case *sched.Parameter:
		if v.Type != sched.TypeNested && !v.Multiple {
			f.param = v
			return nil
		}
		return errors.New("want a parameter with one value, such as util.StringParameter(...)")
	}
	return fmt.Errorf("want string, parameter or None, got %s", describe(v))
}

// parameter returns the field as a parameter of its own, or nil.
func (f codebaseField) parameter(attr string) *sched.Parameter {
	if !f.given {
		return sched.CodebaseField(attr)
	}
	if f.param == nil {
		return nil
	}
	p := *f.param
	if p.Name == "" { // a plain string
		p.Name, p.Label, p.TabLabel = attr, attr, attr
	}
	p.Attr = attr
	return &p
}
