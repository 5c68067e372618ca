package util

import (
	"buildstar/config"
	"buildstar/starlark/spec"
)

// Project is util.Project (docs/requirements.md C11).
var Project = &spec.Class{
	Module: "util", Name: "Project",
	New:     func() any { return &project{} },
	Partial: true,
}

// project groups builders on the page.
type project struct {
	// Name identifies the project; builders name it.
	Name string `star:"name"`
	// Slug is the name in addresses; the default is the name.
	Slug string `star:"slug,optional"`
	// Description says what it is.
	Description string `star:"description,optional"`
	// DescriptionFormat is "markdown" or None, the default, for plain text.
	DescriptionFormat string `star:"description_format,optional" oneof:"markdown"`
}

// Make makes the node.
func (p *project) Make(c *spec.Call) any {
	if p.Name == "" {
		c.Problem("bad-name", "name", "the name is empty", "")
	}
	slug := p.Slug
	if slug == "" {
		slug = p.Name
	}
	return &config.Project{
		At: config.At{Where: c.Pos()}, Name: p.Name, Slug: slug,
		Description: p.Description, DescriptionFormat: p.DescriptionFormat,
	}
}
