package sched

import "strings"

// Codebase returns the group of fields that ask for the source of a codebase: its
// label names the codebase, and it has two columns if four fields are to be seen.
func Codebase(codebase string, fields []*Parameter) *Parameter {
	group := &Parameter{
		Type: TypeNested, Name: codebase, Default: "", Codebase: &codebase,
		Fields: fields, Layout: "vertical", Columns: 1,
	}
	if codebase != "" {
		group.Label = "Codebase: " + codebase
	}
	group.TabLabel = group.Label
	visible := 0
	for _, f := range fields {
		if !f.Hide {
			visible++
		}
	}
	if visible >= 4 {
		group.Columns = 2
	}
	return group
}

// CodebaseAttrs are the attributes of a source stamp that a form asks for, in
// the order of the fields.
var CodebaseAttrs = [...]string{"branch", "project", "repository", "revision"}

// CodebaseField returns the field that asks for an attribute where the user named
// no other.
func CodebaseField(attr string) *Parameter {
	label := strings.ToUpper(attr[:1]) + attr[1:] + ":"
	return &Parameter{Type: TypeText, Name: attr, Attr: attr, Label: label, TabLabel: label, Default: "", Size: 10}
}
