package change

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"buildstar/config/prop"
	"buildstar/state"
)

// Fields are the names of what can be told of a change; who and when are other names
// for author and when_timestamp.
var Fields = []string{
	"author", "branch", "category", "codebase", "comments", "committer", "files", "project", "properties",
	"repository", "revision", "revlink", "when_timestamp", "who", "when",
}

// Decode reads a change from fields as [state.Plain] makes them of JSON: strings,
// files a list of strings, properties an object, when_timestamp a number of seconds
// since 1970. null is not told. Of what is wrong it returns everything, as an
// [*Invalid].
func Decode(fields map[string]any) (Input, error) {
	d := decoder{fields: fields, e: &Invalid{}}
	d.names()
	in := Input{
		Author: d.text("author", "who"), Committer: d.text("committer", ""), Comments: d.text("comments", ""),
		Branch: d.text("branch", ""), Revision: d.text("revision", ""), Category: d.text("category", ""), RevLink: d.text("revlink", ""),
		Repository: d.text("repository", ""), Project: d.text("project", ""),
		Files: d.files(), Properties: d.properties(), When: d.when(),
	}
	if fields["codebase"] != nil {
		codebase := d.text("codebase", "")
		in.Codebase = &codebase
	}
	if err := d.e.orNil(); err != nil {
		return in, err
	}
	return in, in.Check()
}

// DecodeForm is Decode for a form: files and properties are JSON, when_timestamp is
// written as a number. An empty field is not told, but for codebase.
func DecodeForm(form url.Values) (Input, error) {
	e := &Invalid{}
	fields := make(map[string]any, len(form))
	for _, name := range slices.Sorted(maps.Keys(form)) {
		if len(form[name]) > 1 {
			e.add(fmt.Sprintf("%s: it is there %d times", clip(name), len(form[name])))
			continue
		}
		value := form.Get(name)
		if value == "" && name != "codebase" {
			fields[name] = nil
			continue
		}
		switch name {
		case "files", "properties":
			v, err := parseJSON(value)
			if err != nil {
				e.add(name + `: want JSON, such as ["a.c", "b.c"] for files and {"name": "value"} for properties`)
				continue
			}
			fields[name] = v
		case "when", "when_timestamp":
			fields[name] = value
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				fields[name] = f
			}
		default:
			fields[name] = value
		}
	}
	if err := e.orNil(); err != nil {
		return Input{}, err
	}
	return Decode(fields)
}

func parseJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("something follows the value")
	}
	return state.Plain(v), nil
}

// A decoder reads fields and gathers what is wrong with them.
type decoder struct {
	fields map[string]any
	e      *Invalid
}

// names refuses fields that do not exist.
func (d decoder) names() {
	for _, name := range slices.Sorted(maps.Keys(d.fields)) {
		if slices.Contains(Fields, name) {
			continue
		}
		hint := "there are " + strings.Join(Fields, ", ")
		if near := prop.Nearest(name, Fields); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		d.e.add(fmt.Sprintf("unknown field %q: %s", clip(name), hint))
	}
}

// value returns a field that may have another name; "" is none.
func (d decoder) value(name, other string) any {
	v, o := d.fields[name], d.fields[other]
	if v != nil && o != nil {
		d.e.add(name + " and " + other + " are the same: give one of them")
	}
	if v == nil {
		return o
	}
	return v
}

func (d decoder) text(name, other string) string {
	switch v := d.value(name, other).(type) {
	case nil:
	case string:
		return v
	default:
		d.e.add(fmt.Sprintf("%s: want a string, got %s", name, prop.Describe(v)))
	}
	return ""
}

func (d decoder) files() []string {
	v := d.fields["files"]
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		d.e.add("files: want a list of strings, got " + prop.Describe(v))
	}
	files := make([]string, 0, len(list))
	for i, f := range list {
		name, ok := f.(string)
		if !ok {
			d.e.add(fmt.Sprintf("files: item %d: want a string, got %s", i+1, prop.Describe(f)))
			break
		}
		files = append(files, name)
	}
	return files
}

func (d decoder) properties() map[string]any {
	v := d.fields["properties"]
	if v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		d.e.add("properties: want values by name, got " + prop.Describe(v))
	}
	return m
}

func (d decoder) when() state.Time {
	switch v := d.value("when_timestamp", "when").(type) {
	case nil:
	case int64:
		if v >= 0 && v <= maxWhen/1000 {
			return state.Time(v * 1000)
		}
		d.badWhen(v)
	case float64:
		if ms := math.Floor(v * 1000); ms >= 0 && ms <= maxWhen { // not of NaN
			return state.Time(ms)
		}
		d.badWhen(v)
	default:
		d.badWhen(v)
	}
	return 0
}

func (d decoder) badWhen(v any) {
	d.e.add("when_timestamp: want the seconds since 1970 as a number, got " + prop.Describe(v))
}

// clip shortens what a stranger wrote.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}
