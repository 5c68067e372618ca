package spec

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Description is what documents, stubs and completion know of a class: the same
// plan that binds its calls.
type Description struct {
	Module, Name string
	GoType       string // "buildstar/builtins/worker.localWorker": where the comments are
	Params       []Param
	Unsupported  []string // arguments that are not supported yet, sorted
	Methods      []MethodDescription
}

// Param describes one parameter.
type Param struct {
	Name     string // "*args" and "**kwargs" for the rest
	GoField  string // the field that has the comment
	Type     string // in words: "list of strings"
	Default  string // as Starlark writes it; "" for required ones
	Required bool
	Keyword  bool // only by name
	OneOf    []string
	Min, Max string // "" for none
}

// MethodDescription describes a method.
type MethodDescription struct {
	Name        string
	Params      []Param
	Unsupported string
}

// Describe returns the description of a class.
func Describe(c *Class) Description {
	c.init()
	d := Description{
		Module: c.Module, Name: c.Name, GoType: goName(c.plan.typ),
		Params:      c.plan.describe(c.New),
		Unsupported: slices.Sorted(maps.Keys(c.Unsupported)),
	}
	for _, m := range c.Methods {
		md := MethodDescription{Name: m.Name, Unsupported: m.Unsupported}
		if m.New != nil {
			md.Params = c.methods[m.Name].plan.describe(m.New)
		}
		d.Methods = append(d.Methods, md)
	}
	return d
}

func goName(t reflect.Type) string { return t.PkgPath() + "." + t.Name() }

func (p *plan) describe(newStruct func() any) []Param {
	defaults := reflect.ValueOf(newStruct()).Elem()
	params := make([]Param, 0, len(p.params))
	for _, a := range p.params {
		d := Param{
			Name: a.name, GoField: a.field.Name, Type: a.typeName, Keyword: a.keyword,
			Required: !a.optional,
		}
		switch {
		case a.name == "*":
			d.Name = "*args"
		case a.name == "**":
			d.Name = "**kwargs"
		case a.optional:
			d.Default = "None"
			if v, ok := starOf(defaults.FieldByIndex(a.index)); ok {
				d.Default = v.String()
			}
		}
		if c := a.check; c != nil {
			d.OneOf = c.oneOf
			if c.hasMin {
				d.Min = fmt.Sprint(c.min)
			}
			if c.hasMax {
				d.Max = fmt.Sprint(c.max)
			}
		}
		params = append(params, d)
	}
	return params
}

// Signature returns one line: worker.Worker(name, password, max_builds = None).
// Parameters after the star can only be given by name.
func (d Description) Signature() string {
	words := make([]string, 0, len(d.Params)+1)
	star := false
	for _, keyword := range []bool{false, true} {
		for _, p := range d.Params {
			if p.Keyword != keyword || p.Name == "**kwargs" {
				continue
			}
			if keyword && !star {
				star = true
				words = append(words, "*")
			}
			star = star || p.Name == "*args"
			if p.Default != "" {
				words = append(words, p.Name+" = "+p.Default)
			} else {
				words = append(words, p.Name)
			}
		}
	}
	for _, p := range d.Params {
		if p.Name == "**kwargs" {
			words = append(words, p.Name)
		}
	}
	name := d.Name
	if d.Module != "" {
		name = d.Module + "." + name
	}
	return name + "(" + strings.Join(words, ", ") + ")"
}
