package sched

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParameterRead(t *testing.T) {
	text := Parameter{Type: TypeText, Name: "p", Label: "P", Default: "d"}
	with := func(p Parameter, change func(*Parameter)) *Parameter { change(&p); return &p }
	number := Parameter{Type: TypeInt, Name: "p", Label: "P", Default: int64(3)}
	check := Parameter{Type: TypeBool, Name: "p", Label: "P", Default: false}
	choice := Parameter{Type: TypeList, Name: "p", Label: "P", Default: "a", Choices: []string{"a", "b"}, Strict: true}
	user := Parameter{Type: TypeUser, Name: "p", Label: "P", Default: "", NeedEmail: true}
	tests := []struct {
		name string
		p    *Parameter
		raw  any // absent if it is the string "absent"
		want any // error text if it begins with "!"
	}{
		{"text", &text, "x", "x"},
		{"text keeps its blanks", &text, " x ", " x "},
		{"text from JSON", &text, int64(5), "5"},
		{"text is no list", &text, []any{[]any{}}, "!want text, got list"},
		{"text, absent", &text, "absent", "d"},
		{"text, blank", &text, " \t", "d"},
		{"text, null", &text, nil, "d"},
		{"text of a form", &text, []any{"x", "y"}, "x"},
		{"required", with(text, func(p *Parameter) { p.Required = true }), "", `!"P" is needed`},
		{"required and given", with(text, func(p *Parameter) { p.Required = true }), "x", "x"},
		{"regex", with(text, func(p *Parameter) { p.Regex = "[0-9]+" }), "12x", "12x"},
		{"regex that must match at the start", with(text, func(p *Parameter) { p.Regex = "[0-9]+|y" }), "x12", "!does not match the pattern [0-9]+|y"},
		{"regex that the default fails", with(text, func(p *Parameter) { p.Regex = "x" }), "absent", "!does not match"},
		{"maxsize", with(text, func(p *Parameter) { p.MaxSize = 3 }), "日本語", "日本語"},
		{"too long", with(text, func(p *Parameter) { p.MaxSize = 3 }), "abcd", "!4 characters are too many, at most 3"},
		{"several", with(text, func(p *Parameter) { p.Multiple, p.Default = true, []any{"d"} }), []any{"x", "", "y"}, []any{"x", "y"}},
		{"several, one given", with(text, func(p *Parameter) { p.Multiple = true }), "x", []any{"x"}},
		{"several, none given", with(text, func(p *Parameter) { p.Multiple, p.Default = true, []any{"d", "e"} }), "absent", []any{"d", "e"}},
		{"several, none given, no default", with(text, func(p *Parameter) { p.Multiple, p.Default = true, []any{} }), "absent", []any{}},
		{"text area", with(text, func(p *Parameter) { p.Type = TypeTextArea }), "a\nb", "a\nb"},

		{"int", &number, int64(7), int64(7)},
		{"int as text", &number, " -7 ", int64(-7)},
		{"int as JSON float", &number, 7.0, int64(7)},
		{"int, absent", &number, "absent", int64(3)},
		{"int, blank", &number, "", int64(3)},
		{"int, fraction", &number, 7.5, "!want a whole number, got float 7.5"},
		{"int, word", &number, "seven", `!want a whole number, got string "seven"`},
		{"int, huge", &number, 1e30, "!want a whole number"},
		{"int, bool", &number, true, "!want a whole number"},

		{"bool", &check, true, true},
		{"bool of a browser", &check, "on", true},
		{"bool in words", &check, "True", true},
		{"bool off", &check, "0", false},
		{"bool as int", &check, int64(1), true},
		{"bool, absent", &check, "absent", false},
		{"bool, absent, default true", with(check, func(p *Parameter) { p.Default = true }), "absent", true},
		{"bool false over default true", with(check, func(p *Parameter) { p.Default = true }), false, false},
		{"bool, nonsense", &check, "maybe", "!want true or false"},

		{"fixed", &Parameter{Type: TypeFixed, Name: "p", Default: int64(9)}, "other", int64(9)},

		{"choice", &choice, "b", "b"},
		{"choice, absent", &choice, "absent", "a"},
		{"choice, wrong", &choice, "c", `!"c" is not one of a, b`},
		{"choice, free", with(choice, func(p *Parameter) { p.Strict = false }), "c", "c"},
		{"choices", with(choice, func(p *Parameter) { p.Multiple, p.Default = true, []any{} }), []any{"a", "b"}, []any{"a", "b"}},
		{"choices, one wrong", with(choice, func(p *Parameter) { p.Multiple = true }), []any{"a", "c"}, "!not one of"},

		{"user", &user, "Ann <ann@example.org>", "Ann <ann@example.org>"},
		{"user, bare", &user, "ann@ci.example.org", "ann@ci.example.org"},
		{"user, absent", &user, "", ""},
		{"user, no address", &user, "ann", "!want an email address"},
		{"user, no domain", &user, "ann@host", "!want an email address"},
		{"user without address", with(user, func(p *Parameter) { p.NeedEmail = false }), "ann", "ann"},
	}
	for _, tt := range tests {
		fields := map[string]any{"p": tt.raw, "other": "x"}
		if tt.raw == "absent" {
			delete(fields, "p")
		}
		got, err := tt.p.Read(fields, "")
		if text, ok := tt.want.(string); ok && strings.HasPrefix(text, "!") {
			if err == nil || !strings.Contains(err.Error(), text[1:]) {
				t.Errorf("%s: got %#v, %v; want %s", tt.name, got, err, text[1:])
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, %v; want %#v", tt.name, got, err, tt.want)
		}
	}
}

func TestParameterReadsByFullName(t *testing.T) {
	p := &Parameter{Type: TypeText, Name: "branch", Default: ""}
	if v, err := p.Read(map[string]any{"branch": "no", "lib_branch": "yes"}, "lib"); v != "yes" || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
	for _, tt := range []struct{ parent, name, want string }{{"", "a", "a"}, {"p", "a", "p_a"}, {"p", "", "p"}, {"", "", ""}} {
		if got := (&Parameter{Name: tt.name}).FullName(tt.parent); got != tt.want {
			t.Errorf("%q in %q: %q", tt.name, tt.parent, got)
		}
	}
}

func TestParameterField(t *testing.T) {
	child := func(p Parameter) *Parameter { p.Name, p.Label, p.TabLabel = "c", "C", "T"; return &p }
	group := &Parameter{Type: TypeNested, Name: "g", Label: "G", TabLabel: "G", Default: "", Layout: "tabs", Columns: 2, Fields: []*Parameter{
		child(Parameter{Type: TypeText, Default: "d", Size: 10, Regex: "x", MaxSize: 7, Required: true, Multiple: true, Hide: true, Tooltip: "tip"}),
		child(Parameter{Type: TypeTextArea, Default: "", Size: 10, Rows: 3, Cols: 4}),
		child(Parameter{Type: TypeInt, Default: int64(0), Size: 5}),
		child(Parameter{Type: TypeBool, Default: false}),
		child(Parameter{Type: TypeUser, Default: "", Size: 30, NeedEmail: true}),
		child(Parameter{Type: TypeList, Default: "a", Choices: []string{"a"}, Strict: true, AutoPopulate: map[string]any{"a": map[string]any{"x": "y"}}}),
		child(Parameter{Type: TypeFixed, Default: "f", Hide: true}),
	}}
	got, err := json.MarshalIndent(group.Field(""), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const common = `"name":"c","fullName":"g_c","label":"C","tablabel":"T",`
	const plain = `"multiple":false,"regex":null,"hide":false,"required":false,"maxsize":null,"autopopulate":null,"tooltip":""`
	want := `{"name":"g","fullName":"g","label":"G","tablabel":"G","type":"nested","default":"",` + plain + `,"layout":"tabs","columns":2,"fields":[
		{` + common + `"type":"text","default":"d","multiple":true,"regex":"x","hide":true,"required":true,"maxsize":7,"autopopulate":null,"tooltip":"tip","size":10},
		{` + common + `"type":"textarea","default":"",` + plain + `,"size":10,"rows":3,"cols":4},
		{` + common + `"type":"int","default":0,` + plain + `,"size":5},
		{` + common + `"type":"bool","default":false,` + plain + `},
		{` + common + `"type":"username","default":"",` + plain + `,"size":30,"need_email":true},
		{` + common + `"type":"list","default":"a","multiple":false,"regex":null,"hide":false,"required":false,"maxsize":null,"autopopulate":{"a":{"x":"y"}},"tooltip":"","choices":["a"],"strict":true},
		{` + common + `"type":"fixed","default":"f","multiple":false,"regex":null,"hide":true,"required":false,"maxsize":null,"autopopulate":null,"tooltip":""}]}`
	if !equalJSON(t, got, []byte(want)) {
		t.Errorf("got %s", got)
	}
	if f := (&Parameter{Type: TypeNested}).Field(""); f.FullName != nil {
		t.Errorf("a group without name has the full name %q", *f.FullName)
	}
}

func equalJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestFieldErrorsAreSorted(t *testing.T) {
	err := &FieldErrors{Fields: map[string]string{"b": "2", "a": "1", "c": "3"}}
	if err.Error() != "a: 1; b: 2; c: 3" {
		t.Errorf("got %s", err)
	}
}

// Whatever is posted, reading it ends in a value or an error.
func FuzzParameterRead(f *testing.F) {
	f.Add(`"x"`)
	f.Add(`[1, null, {"a": []}]`)
	f.Add(`1e400`)
	f.Fuzz(func(t *testing.T, raw string) {
		var v any
		if json.Unmarshal([]byte(raw), &v) != nil {
			return
		}
		for _, typ := range []string{TypeText, TypeTextArea, TypeInt, TypeBool, TypeFixed, TypeUser, TypeList} {
			for _, multiple := range []bool{false, true} {
				p := &Parameter{Type: typ, Name: "p", Multiple: multiple, Default: "", Choices: []string{"x"}, Strict: true, NeedEmail: true, MaxSize: 9}
				got, err := p.Read(map[string]any{"p": v}, "")
				if _, isList := got.([]any); err == nil && isList != (multiple && typ != TypeFixed) {
					t.Fatalf("%s of %s: %#v", typ, raw, got)
				}
			}
		}
	})
}
