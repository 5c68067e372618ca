package ec2test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// form is the parameters of a request: lists are Name.1, Name.2; structures Name.Field.
type form map[string][]string

func (f form) get(name string) string {
	if v := f[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (f form) flag(name string) bool { return f.get(name) == "true" }

func (f form) number(name string, otherwise int) (int, error) {
	v := f.get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, refuse("InvalidParameterValue", "Value (%s) for parameter %s is invalid.", v, name)
	}
	return n, nil
}

// list returns Name.1, Name.2 and so on.
func (f form) list(name string) (values []string) {
	for i := 1; ; i++ {
		v, ok := f[fmt.Sprintf("%s.%d", name, i)]
		if !ok {
			return values
		}
		values = append(values, v[0])
	}
}

// part returns the fields of a structure.
func (f form) part(name string) form {
	part := form{}
	for k, v := range f {
		if rest, ok := strings.CutPrefix(k, name+"."); ok {
			part[rest] = v
		}
	}
	return part
}

// parts returns the structures of a list.
func (f form) parts(name string) (all []form) {
	for i := 1; ; i++ {
		p := f.part(fmt.Sprintf("%s.%d", name, i))
		if len(p) == 0 {
			return all
		}
		all = append(all, p)
	}
}

// asked is the form in an order, for who compares requests.
func (f form) asked() string {
	var l []string
	for k, v := range f {
		l = append(l, k+"="+v[0])
	}
	slices.Sort(l)
	return strings.Join(l, "&")
}

// attributes are what filters can ask of an object, by the names that filters have.
type attributes map[string][]string

// of adds the tags of an object.
func (a attributes) of(tags map[string]string) attributes {
	for k, v := range tags {
		a["tag:"+k] = []string{v}
		a["tag-key"] = append(a["tag-key"], k)
	}
	return a
}

// match reports whether an object passes the filters of a request. A filter that the object
// does not know is refused, as there.
func (f form) match(a attributes) (bool, error) {
	for _, filter := range f.parts("Filter") {
		name := filter.get("Name")
		have, known := a[name]
		if !known && !strings.HasPrefix(name, "tag:") && name != "tag-key" {
			return false, refuse("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		if !slices.ContainsFunc(filter.list("Value"), func(pattern string) bool {
			return slices.ContainsFunc(have, func(v string) bool { return like(pattern, v) })
		}) {
			return false, nil
		}
	}
	return true, nil
}

// like reports whether v matches a pattern with * and ?.
func like(pattern, v string) bool {
	const slash = "\x00" // * passes over slashes too
	pattern = strings.NewReplacer("[", `\[`, "/", slash).Replace(pattern)
	ok, err := path.Match(pattern, strings.ReplaceAll(v, "/", slash))
	return ok && err == nil
}

// page returns a page of a list, and its token of the next.
func page[T any](f form, l []T, least int) ([]T, []node, error) {
	size, err := f.number("MaxResults", 1000)
	if err != nil || size < least || size > 1000 {
		return nil, nil, refuse("InvalidParameterValue", "Value ( %s ) for parameter maxResults is invalid. Expecting a value between %d and 1000.", f.get("MaxResults"), least)
	}
	from, err := f.number("NextToken", 0)
	if err != nil || from > len(l) {
		return nil, nil, refuse("InvalidNextToken", "The token is invalid")
	}
	if l = l[from:]; len(l) <= size {
		return l, nil, nil
	}
	return l[:size], []node{leaf("nextToken", strconv.Itoa(from+size))}, nil
}

// node is an element of an answer.
type node struct {
	name, text string
	kids       []node
	isLeaf     bool
}

func leaf(name, text string) node         { return node{name: name, text: text, isLeaf: true} }
func tree(name string, kids ...node) node { return node{name: name, kids: kids} }

// items is a list: <name><item>...</item></name>.
func items[T any](name string, l []T, item func(T) []node) node {
	n := tree(name)
	for _, v := range l {
		n.kids = append(n.kids, tree("item", item(v)...))
	}
	return n
}

// write writes a node; an empty text is an element that is not there.
func (n node) write(b *bytes.Buffer, space string) {
	if n.isLeaf && n.text == "" {
		return
	}
	b.WriteString("<" + n.name)
	if space != "" {
		b.WriteString(` xmlns="` + space + `"`)
	}
	b.WriteString(">")
	_ = xml.EscapeText(b, []byte(n.text)) // a buffer takes everything
	for _, k := range n.kids {
		k.write(b, "")
	}
	b.WriteString("</" + n.name + ">")
}

func tagSet(tags map[string]string) node {
	var names []string
	for k := range tags {
		names = append(names, k)
	}
	slices.Sort(names)
	return items("tagSet", names, func(k string) []node { return []node{leaf("key", k), {name: "value", text: tags[k]}} })
}

func yesNo(b bool) string { return strconv.FormatBool(b) }

func whole(n int) string { return strconv.Itoa(n) }

// since is when something that takes a time is over.
func since(t time.Time, d time.Duration) bool { return !time.Now().Before(t.Add(d)) }
