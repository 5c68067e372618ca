package main

import (
	"bytes"
	"fmt"
	"go/doc/comment"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// page is one page of Markdown while it is written.
type page struct {
	bytes.Buffer
	src *source
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

const generated = "<!-- Made by `go run ./internal/reference` from the comments in the source. -->\n\n"

// index lists the pages.
func (p *page) index(modules []*spec.Module) {
	p.printf(generated + "# Reference\n\nEverything that master.star can name.\n\n")
	p.printf("- [c](c.md): the keys of the configuration.\n")
	for _, m := range modules {
		names := make([]string, 0, len(m.Classes))
		for _, c := range m.Classes {
			names = append(names, fmt.Sprintf("[%s](%s.md#%s)", c.Name, m.Name, anchor(c.Full())))
		}
		p.printf("- [%s](%s.md): %s.\n", m.Name, m.Name, strings.Join(names, ", "))
	}
}

// anchor is the fragment that Markdown makes of a heading.
func anchor(heading string) string { return strings.ReplaceAll(strings.ToLower(heading), ".", "") }

// keys writes the page of c and of the dicts in it.
func (p *page) keys(classes []*spec.Class) {
	p.printf(generated + "# c\n\nmaster.star assigns a dict to `c` (or `BuildmasterConfig`). Its keys, and those of the dicts in it:\n\n")
	for _, c := range classes {
		p.printf("## %s\n\n", c.Name)
		p.params(spec.Describe(c).Params, c.New(), "Key")
		p.unsupported("Keys that Buildbot has and this master refuses", c.Unsupported)
	}
}

// module writes the page of a module.
func (p *page) module(m *spec.Module) {
	p.printf(generated+"# %s\n\n", m.Name)
	if m.Name == "steps" {
		p.common()
	}
	for _, c := range m.Classes {
		p.class(c)
	}
	if len(m.Values) > 0 {
		p.printf("## Constants and functions\n\n")
		for _, name := range slices.Sorted(maps.Keys(m.Values)) {
			p.printf("- `%s.%s`: %s\n", m.Name, name, m.Values[name].String())
		}
		p.printf("\n")
	}
	p.unsupported("Names that Buildbot has and this master does not yet", m.Unsupported)
}

// common writes the arguments that every step has, once.
func (p *page) common() {
	p.printf("## Arguments of every step\n\nAll by name.\n\n")
	params := func() any { return &struct{ run.Common }{} }
	p.params(spec.Describe(&spec.Class{Module: "steps", Name: "every", New: params}).Params, params(), "Argument")
}

func (p *page) class(c *spec.Class) {
	d := spec.Describe(c)
	p.printf("## %s\n\n", c.Full())
	p.text(p.src.class(c.Full(), c.New()))
	p.signature(c.Full(), own(d.Params, p, c.New()))
	p.params(own(d.Params, p, c.New()), c.New(), "Argument")
	if c.Module == "steps" && len(own(d.Params, p, c.New())) < len(d.Params) {
		p.printf("And the [arguments of every step](#arguments-of-every-step).\n\n")
	}
	p.methods(c, d)
	p.unsupported("Arguments that Buildbot has and this master refuses", c.Unsupported)
}

// own leaves out the arguments that every step has.
func own(params []spec.Param, p *page, of any) []spec.Param {
	return slices.DeleteFunc(slices.Clone(params), func(a spec.Param) bool {
		_, in := p.src.param(of, a)
		return in == reflect.TypeFor[run.Common]()
	})
}

func (p *page) methods(c *spec.Class, d spec.Description) {
	for i, m := range d.Methods {
		if m.Unsupported != "" {
			continue
		}
		p.printf("### %s.%s\n\n", c.Full(), m.Name)
		if c.Methods[i].New == nil {
			p.signature("."+m.Name, nil)
			continue
		}
		of := c.Methods[i].New()
		p.text(p.src.class("."+m.Name, of))
		p.signature("."+m.Name, m.Params)
		p.params(m.Params, of, "Argument")
	}
}

// signature writes the call on one line, or on several if it is long.
func (p *page) signature(full string, params []spec.Param) {
	module, name, ok := strings.Cut(full, ".")
	if !ok {
		module, name = "", full
	}
	line := spec.Description{Module: module, Name: name, Params: params}.Signature()
	if len(line) > 100 {
		open := strings.IndexByte(line, '(')
		args := make([]string, 0, len(params))
		for _, a := range splitArgs(line[open+1 : len(line)-1]) {
			args = append(args, "    "+a+",\n")
		}
		line = line[:open+1] + "\n" + strings.Join(args, "") + ")"
	}
	p.printf("```python\n%s\n```\n\n", line)
}

// splitArgs splits the arguments of a signature; defaults may contain commas.
func splitArgs(s string) (args []string) {
	depth, from := 0, 0
	for i, r := range s {
		switch r {
		case '[', '{', '(':
			depth++
		case ']', '}', ')':
			depth--
		case ',':
			if depth == 0 {
				args, from = append(args, strings.TrimSpace(s[from:i])), i+1
			}
		}
	}
	return append(args, strings.TrimSpace(s[from:]))
}

// params writes the table of parameters; of is the struct they are bound to.
func (p *page) params(params []spec.Param, of any, what string) {
	if len(params) == 0 {
		return
	}
	p.printf("| %s | Type | Default | |\n|---|---|---|---|\n", what)
	for _, a := range params {
		def := "**required**"
		if !a.Required {
			def = code(a.Default)
		}
		text, _ := p.src.param(of, a)
		p.printf("| `%s` | %s | %s | %s |\n", a.Name, cell(kind(a)), def, cell(inline(text)))
	}
	p.printf("\n")
}

// kind says what values a parameter takes.
func kind(a spec.Param) string {
	t := a.Type
	if len(a.OneOf) > 0 {
		t += ": " + strings.Join(a.OneOf, ", ")
	}
	switch {
	case a.Min != "" && a.Max != "":
		t += ", " + a.Min + " to " + a.Max
	case a.Min != "":
		t += ", at least " + a.Min
	case a.Max != "":
		t += ", at most " + a.Max
	}
	return t
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "|", "\\|") + "`"
}

func cell(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "|", "\\|") }

var (
	requirement = regexp.MustCompile(`\s*\((?:docs/requirements\.md )?[A-D][0-9]+[^()]*\)|\s*\(docs/[^()]*\)`)
	blank       = regexp.MustCompile(`\s+`)
)

// inline is a comment as one paragraph, without what it cites.
func inline(text string) string {
	return blank.ReplaceAllString(requirement.ReplaceAllString(strings.TrimSpace(text), ""), " ")
}

// text writes a comment: paragraphs, lists and code.
func (p *page) text(text string) {
	var c comment.Parser
	printer := comment.Printer{HeadingLevel: 4}
	doc := c.Parse(requirement.ReplaceAllString(text, ""))
	for _, b := range doc.Content {
		if block, ok := b.(*comment.Code); ok {
			p.printf("```python\n%s```\n\n", block.Text)
			continue
		}
		p.printf("%s\n", unescape.Replace(string(printer.Markdown(&comment.Doc{Content: []comment.Block{b}}))))
	}
}

// unescape gives back the marks of code that comments use as Markdown does.
var unescape = strings.NewReplacer("\\`", "`", `\_`, "_")

// unsupported lists what is refused, with what to do instead.
func (p *page) unsupported(heading string, names map[string]string) {
	if len(names) == 0 {
		return
	}
	p.printf("%s:\n\n", heading)
	var bare []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if names[name] == "" {
			bare = append(bare, "`"+name+"`")
			continue
		}
		p.printf("- `%s`: %s\n", name, names[name])
	}
	if len(bare) > 0 {
		p.printf("- %s\n", strings.Join(bare, ", "))
	}
	p.printf("\n")
}
