package sched

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"buildstar/config/prop"
)

// The types of parameters, as forms name them.
const (
	TypeText     = "text"
	TypeTextArea = "textarea"
	TypeInt      = "int"
	TypeBool     = "bool"
	TypeFixed    = "fixed"
	TypeUser     = "username"
	TypeList     = "list"
	TypeNested   = "nested"
)

// Parameter is one field of a force form, or a group of fields (docs/requirements.md C6).
// It is part of the configuration: it never changes, and all of it is content.
type Parameter struct {
	Type             string
	Name             string // "": a group whose fields have no prefix
	Label, TabLabel  string
	Tooltip          string
	Hide             bool
	Default          any    // a property value; a list if Multiple
	Regex            string // the value must begin with a match; "": anything
	Required         bool
	Multiple         bool
	MaxSize          int64 // in characters; 0: no limit
	AutoPopulate     any   // what choosing a value fills into other fields
	Size, Rows, Cols int64
	NeedEmail        bool     // of TypeUser
	Choices          []string // of TypeList
	Strict           bool     // only Choices are possible

	Fields   []*Parameter // of TypeNested
	Layout   string
	Columns  int64
	Codebase *string // the fields make the source stamp of this codebase
	Attr     string  // of a field of such a group: branch, revision, repository or project
}

// FullName returns the name that is unique within the form: parent_name.
func (p *Parameter) FullName(parent string) string {
	if parent != "" && p.Name != "" {
		return parent + "_" + p.Name
	}
	return parent + p.Name
}

// Field returns how a form shows the parameter.
func (p *Parameter) Field(parent string) Field {
	f := Field{
		Name: p.Name, Label: p.Label, TabLabel: &p.TabLabel, Type: p.Type, Default: p.Default,
		Multiple: p.Multiple, Hide: p.Hide, Required: p.Required, AutoPopulate: p.AutoPopulate, Tooltip: p.Tooltip,
	}
	if full := p.FullName(parent); full != "" {
		f.FullName = &full
	}
	if p.Regex != "" {
		f.Regex = &p.Regex
	}
	if p.MaxSize > 0 {
		f.MaxSize = &p.MaxSize
	}
	switch p.Type {
	case TypeText, TypeInt:
		f.Size = &p.Size
	case TypeTextArea:
		f.Size, f.Rows, f.Cols = &p.Size, &p.Rows, &p.Cols
	case TypeUser:
		f.Size, f.NeedEmail = &p.Size, &p.NeedEmail
	case TypeList:
		f.Choices, f.Strict = p.Choices, &p.Strict
	case TypeNested:
		f.Layout, f.Columns = p.Layout, &p.Columns
		for _, child := range p.Fields {
			f.Fields = append(f.Fields, child.Field(p.FullName(parent)))
		}
	}
	return f
}

// Compile returns the pattern that values must begin with, or nil.
func (p *Parameter) Compile() (*regexp.Regexp, error) {
	if p.Regex == "" {
		return nil, nil
	}
	return regexp.Compile(`\A(?:` + p.Regex + `)`)
}

// Read returns the value of a parameter that is no group, from the property values
// that a person filled in, by full name. Blank text counts as not filled in; the
// default then stands for it, and must pass the same checks.
func (p *Parameter) Read(fields map[string]any, parent string) (any, error) {
	if p.Type == TypeFixed {
		return p.Default, nil
	}
	given := filledIn(fields[p.FullName(parent)])
	if len(given) == 0 {
		if p.Required {
			return nil, fmt.Errorf("%q is needed", p.Label)
		}
		if p.Multiple {
			given, _ = p.Default.([]any)
		} else {
			given = []any{p.Default}
		}
	}
	if !p.Multiple {
		given = given[:1]
	}
	pattern, err := p.Compile()
	if err != nil {
		return nil, err // cannot happen: the configuration was checked
	}
	values := make([]any, len(given))
	for i, raw := range given {
		text := prop.Str(raw)
		if pattern != nil && !pattern.MatchString(text) {
			return nil, fmt.Errorf("%q does not match the pattern %s", text, p.Regex)
		}
		if n := int64(utf8.RuneCountInString(text)); p.MaxSize > 0 && n > p.MaxSize {
			return nil, fmt.Errorf("%d characters are too many, at most %d are possible", n, p.MaxSize)
		}
		if values[i], err = p.parse(raw); err != nil {
			return nil, err
		}
	}
	if p.Multiple {
		return values, nil
	}
	return values[0], nil
}

// filledIn returns the values of a field without blank ones.
func filledIn(raw any) []any {
	list, ok := raw.([]any)
	if !ok {
		list = []any{raw}
	}
	return slices.DeleteFunc(slices.Clone(list), func(v any) bool {
		s, ok := v.(string)
		return v == nil || ok && strings.TrimSpace(s) == ""
	})
}

// email is part of what counts as an address: somebody at a host with a domain.
var email = regexp.MustCompile(`[^\s@<>]+@[^\s@<>.]+(\.[^\s@<>.]+)+`)

func (p *Parameter) parse(raw any) (any, error) {
	switch p.Type {
	case TypeInt:
		return wholeNumber(raw)
	case TypeBool:
		return truth(raw)
	}
	text, err := asText(raw)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Type == TypeUser && p.NeedEmail && text != "" && !email.MatchString(text):
		return nil, fmt.Errorf("want an email address, as in User <user@example.org>, got %q", text)
	case p.Type == TypeList && p.Strict && !slices.Contains(p.Choices, text):
		return nil, fmt.Errorf("%q is not one of %s", text, strings.Join(p.Choices, ", "))
	}
	return text, nil
}

func asText(raw any) (string, error) {
	switch raw.(type) {
	case string, bool, int64, float64:
		return prop.Str(raw), nil
	}
	return "", fmt.Errorf("want text, got %s", prop.Describe(raw))
}

func wholeNumber(raw any) (int64, error) {
	switch v := raw.(type) {
	case int64:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<63 {
			return int64(v), nil
		}
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("want a whole number, got %s", prop.Describe(raw))
}

// truth reads what forms and scripts send for a checkbox.
func truth(raw any) (bool, error) {
	text, ok := raw.(string)
	if !ok {
		return prop.Truthy(raw), nil
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "on", "true", "yes", "1", "checked":
		return true, nil
	case "off", "false", "no", "0":
		return false, nil
	}
	return false, fmt.Errorf("want true or false, got %q", text)
}
