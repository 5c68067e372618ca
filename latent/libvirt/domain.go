package libvirt

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// An element is one of a definition, with its place in the text: definitions are changed by
// replacing parts of their text, since writing them anew would lose the prefixes of
// namespaces (<qemu:commandline>).
type element struct {
	name     string // as it is written: qemu:commandline
	attrs    []xml.Attr
	children []*element
	text     string // directly in it, without blanks around
	start    int    // of <name
	inner    int    // behind >
	end      int    // of </name; of what follows if it is <name/>
	after    int    // behind </name>
}

// maxDepth is how deep elements may be nested.
const maxDepth = 100

// parseDomain reads the definition of a domain.
func parseDomain(text string) (*element, error) { return parse(text, "domain") }

// parse reads a text of one element.
func parse(text, name string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	d.CharsetReader = func(charset string, r io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("the encoding is %s, want UTF-8", charset)
	}
	top := &element{}
	open := []*element{top}
	for {
		at := int(d.InputOffset())
		token, err := d.RawToken()
		behind := int(d.InputOffset())
		last := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: rawName(token.Name), attrs: slices.Clone(token.Attr), start: at, inner: behind}
			last.children = append(last.children, e)
			if open = append(open, e); len(open) > maxDepth {
				return nil, errors.New("its elements are nested too deep")
			}
		case xml.EndElement:
			if name := rawName(token.Name); len(open) == 1 || name != last.name {
				line, _ := d.InputPos()
				return nil, fmt.Errorf("line %d: </%s> ends nothing", line, name)
			}
			last.end, last.after = at, behind
			open = open[:len(open)-1]
		case xml.CharData:
			last.text += string(bytes.TrimSpace(token))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case len(open) > 1:
		return nil, fmt.Errorf("<%s> has no end", open[len(open)-1].name)
	case len(top.children) != 1 || top.children[0].name != name:
		return nil, fmt.Errorf("want one <%s> element", name)
	}
	return top.children[0], nil
}

func rawName(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// all returns the descendants at a path of names: "devices", "disk".
func (e *element) all(path ...string) []*element {
	found := []*element{e}
	for _, name := range path {
		var next []*element
		for _, e := range found {
			for _, c := range e.children {
				if c.name == name {
					next = append(next, c)
				}
			}
		}
		found = next
	}
	return found
}

// first returns the first of all, or an element without anything.
func (e *element) first(path ...string) *element {
	if found := e.all(path...); len(found) > 0 {
		return found[0]
	}
	return &element{}
}

// has reports whether the element is one of the text.
func (e *element) has() bool { return e.name != "" }

// attr returns the value of an attribute, "" if there is none.
func (e *element) attr(name string) string {
	for _, a := range e.attrs {
		if rawName(a.Name) == name {
			return a.Value
		}
	}
	return ""
}

// An edit replaces a part of a text.
type edit struct {
	from, to int
	by       string
}

// edits are those of one definition. They do not overlap.
type edits struct {
	text string
	list []edit
}

// replace replaces an element.
func (s *edits) replace(e *element, by string) { s.list = append(s.list, edit{e.start, e.after, by}) }

// add puts text at the end of an element.
func (s *edits) add(e *element, text string) {
	if e.end > e.inner || s.text[e.inner-2] != '/' {
		s.list = append(s.list, edit{e.end, e.end, text})
		return
	}
	behind := "</" + e.name + ">" // it is <name/>
	for i := range s.list {
		if o := &s.list[i]; o.from == e.inner-2 {
			o.by = strings.TrimSuffix(o.by, behind) + text + behind
			return
		}
	}
	s.list = append(s.list, edit{e.inner - 2, e.inner, ">" + text + behind})
}

// addTo puts text at the end of the child of an element, which is made if it is not there.
func (s *edits) addTo(parent *element, name, text string) {
	if c := parent.first(name); c.has() {
		s.add(c, text)
		return
	}
	s.add(parent, "<"+name+">"+text+"</"+name+">")
}

// done returns the text with all edits.
func (s *edits) done() string {
	slices.SortStableFunc(s.list, func(a, b edit) int { return a.from - b.from })
	var out strings.Builder
	at := 0
	for _, e := range s.list {
		out.WriteString(s.text[at:e.from])
		out.WriteString(e.by)
		at = e.to
	}
	out.WriteString(s.text[at:])
	return out.String()
}

// escape makes text of an element or a value of an attribute in quotes.
func escape(s string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(s)) // a Builder takes everything
	return out.String()
}
