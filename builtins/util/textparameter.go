package util

import (
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// StringParameter is util.StringParameter (docs/requirements.md C6).
var StringParameter = &spec.Class{
	Module: "util", Name: "StringParameter",
	New:         func() any { return &stringParameter{Size: 10} },
	Unsupported: noDebug,
}

// stringParameter asks for a line of text.
type stringParameter struct {
	// Name is the property that gets the value.
	Name string `star:"name"`
	shown
	asked
	// Default stands for a blank field: a string, or a list if Multiple. The default
	// is "".
	Default any `star:"default,optional,kw"`
	// Size is the width of the field in characters; the default is 10.
	Size int64 `star:"size,optional,kw" min:"1"`
}

// Make makes the parameter.
func (s *stringParameter) Make(c *spec.Call) any {
	p := s.parameter(c, sched.TypeText, s.Name)
	s.apply(c, p, s.Default, "")
	checkDefault[string](c, p, "string")
	p.Size = s.Size
	return p
}

// TextParameter is util.TextParameter (docs/requirements.md C6).
var TextParameter = &spec.Class{
	Module: "util", Name: "TextParameter",
	New:         func() any { return &textParameter{Size: 10, Cols: 80, Rows: 20} },
	Unsupported: noDebug,
}

// textParameter asks for several lines of text.
type textParameter struct {
	// Name is the property that gets the value.
	Name string `star:"name"`
	shown
	asked
	// Default stands for a blank field: a string, or a list if Multiple. The default
	// is "".
	Default any `star:"default,optional,kw"`
	// Size is what the field's row says of its width; the default is 10.
	Size int64 `star:"size,optional,kw" min:"1"`
	// Cols is the width of the field in characters; the default is 80.
	Cols int64 `star:"cols,optional,kw" min:"1"`
	// Rows is its height in lines; the default is 20.
	Rows int64 `star:"rows,optional,kw" min:"1"`
}

// Make makes the parameter.
func (t *textParameter) Make(c *spec.Call) any {
	p := t.parameter(c, sched.TypeTextArea, t.Name)
	t.apply(c, p, t.Default, "")
	checkDefault[string](c, p, "string")
	p.Size, p.Cols, p.Rows = t.Size, t.Cols, t.Rows
	return p
}

// IntParameter is util.IntParameter (docs/requirements.md C6).
var IntParameter = &spec.Class{
	Module: "util", Name: "IntParameter",
	New:         func() any { return &intParameter{Size: 10} },
	Unsupported: noDebug,
}

// intParameter asks for a whole number.
type intParameter struct {
	// Name is the property that gets the value.
	Name string `star:"name"`
	shown
	asked
	// Default stands for a blank field: an int, or a list if Multiple. The default
	// is 0.
	Default any `star:"default,optional,kw"`
	// Size is the width of the field in characters; the default is 10.
	Size int64 `star:"size,optional,kw" min:"1"`
}

// Make makes the parameter.
func (i *intParameter) Make(c *spec.Call) any {
	p := i.parameter(c, sched.TypeInt, i.Name)
	i.apply(c, p, i.Default, int64(0))
	checkDefault[int64](c, p, "int")
	p.Size = i.Size
	return p
}

// UserNameParameter is util.UserNameParameter (docs/requirements.md C6).
var UserNameParameter = &spec.Class{
	Module: "util", Name: "UserNameParameter",
	New: func() any {
		label := "Your name:"
		return &userNameParameter{Name: "username", shown: shown{Label: &label}, Size: 30, NeedEmail: true}
	},
	Unsupported: noDebug,
}

// userNameParameter asks who forces the build. Who is logged in is not asked.
type userNameParameter struct {
	// Name is the name of the field; the default is "username".
	Name string `star:"name,optional"`
	shown
	asked
	// Default stands for a blank field; the default is "", for somebody anonymous.
	Default any `star:"default,optional,kw"`
	// Size is the width of the field in characters; the default is 30.
	Size int64 `star:"size,optional,kw" min:"1"`
	// NeedEmail refuses what has no email address in it, as in User <user@example.org>;
	// the default is True. A blank field is accepted unless Required.
	NeedEmail bool `star:"need_email,optional,kw"`
}

// Make makes the parameter.
func (u *userNameParameter) Make(c *spec.Call) any {
	p := u.parameter(c, sched.TypeUser, u.Name)
	u.apply(c, p, u.Default, "")
	checkDefault[string](c, p, "string")
	p.Size, p.NeedEmail = u.Size, u.NeedEmail
	return p
}
