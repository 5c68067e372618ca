package util

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// RevlinkMatch is util.RevlinkMatch (docs/requirements.md C1).
var RevlinkMatch = &spec.Class{
	Module: "util", Name: "RevlinkMatch",
	New: func() any { return &revlinkMatch{} },
}

// revlinkMatch makes the links of revisions, as c['revlink'], from the addresses of
// their repositories.
type revlinkMatch struct {
	// RepoURLs are regular expressions that match the beginning of the address of a
	// repository; the first that does counts. A repository that none matches has no
	// links.
	RepoURLs names `star:"repo_urls"`
	// Revlink is the link: %s is the revision, \1 or \g<1> what the first group of the
	// expression matched, \g<name> what a group of that name did, %% a percent sign.
	Revlink string `star:"revlink"`

	urls []*regexp.Regexp
	link []linkPart
}

// linkPart is a literal text, a group of the expression, or the revision.
type linkPart struct {
	text     string
	group    string // by number or name; "": none
	revision bool
}

// Make makes the renderable.
func (m *revlinkMatch) Make(c *spec.Call) any {
	var err error
	if m.link, err = parseLink(m.Revlink); err != nil {
		c.Problem("bad-value", "revlink", err.Error(), "")
	}
	if len(m.RepoURLs) == 0 {
		c.Problem("bad-value", "repo_urls", "it is empty", "")
	}
	for _, pattern := range m.RepoURLs {
		if _, err := regexp.Compile(pattern); err != nil {
			c.Problem("bad-regex", "repo_urls", strings.TrimPrefix(err.Error(), "error parsing regexp: "), "look-around and back-references are not possible here")
			continue
		}
		re := regexp.MustCompile("^(?:" + pattern + ")")
		m.urls = append(m.urls, re)
		for _, p := range m.link {
			if p.group != "" && groupIndex(re, p.group) < 0 {
				c.Problem("bad-value", "revlink", fmt.Sprintf("%q has no group %s", pattern, p.group), "")
			}
		}
	}
	return m
}

// groupIndex returns the index of a group, or -1.
func groupIndex(re *regexp.Regexp, group string) int {
	n := 0
	if _, err := fmt.Sscanf(group, "%d", &n); err != nil {
		return re.SubexpIndex(group)
	}
	if n > re.NumSubexp() {
		return -1
	}
	return n
}

var linkToken = regexp.MustCompile(`%[s%]?|\\(?:[0-9]{1,2}|g<\w+>|\\)?`)

// parseLink reads the template of a link.
func parseLink(link string) (parts []linkPart, err error) {
	at, revisions := 0, 0
	for _, t := range linkToken.FindAllStringIndex(link, -1) {
		parts = append(parts, linkPart{text: link[at:t[0]]})
		token := link[t[0]:t[1]]
		at = t[1]
		switch {
		case token == "%s":
			revisions++
			parts = append(parts, linkPart{revision: true})
		case token == "%%" || token == `\\`:
			parts = append(parts, linkPart{text: token[1:]})
		case len(token) > 1:
			parts = append(parts, linkPart{group: strings.Trim(token, `\g<>`)})
		case token == "%":
			return nil, fmt.Errorf("%% stands for nothing: write %%s for the revision, %%%% for a percent sign")
		default:
			return nil, fmt.Errorf(`\ stands for nothing: write \1 for the first group, \\ for a backslash`)
		}
	}
	if revisions != 1 {
		return nil, fmt.Errorf("want %%s once, where the revision belongs; it is there %d times", revisions)
	}
	return append(parts, linkPart{text: link[at:]}), nil
}

// Render implements prop.Renderable for c['revlink']: it gets a revision and a
// repository, and returns a link or nil.
func (m *revlinkMatch) Render(_ context.Context, p prop.Props) (any, error) {
	asked, ok := p.(prop.Arguments)
	if !ok || len(asked.Arguments()) != 2 {
		return nil, fmt.Errorf("util.RevlinkMatch is the value of c['revlink'], and nothing else")
	}
	revision, _ := asked.Arguments()[0].(string)
	repository, _ := asked.Arguments()[1].(string)
	for _, re := range m.urls {
		if found := re.FindStringSubmatch(repository); found != nil {
			return m.expand(re, found, revision), nil
		}
	}
	return nil, nil
}

func (m *revlinkMatch) expand(re *regexp.Regexp, found []string, revision string) string {
	var b strings.Builder
	for _, p := range m.link {
		switch {
		case p.revision:
			b.WriteString(revision)
		case p.group != "":
			b.WriteString(found[groupIndex(re, p.group)])
		default:
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// AppendCanonical implements prop.Renderable.
func (m *revlinkMatch) AppendCanonical(dst []byte) []byte {
	dst = append(dst, "revlinkMatch:"...)
	for _, pattern := range m.RepoURLs {
		dst = prop.AppendValue(dst, pattern)
	}
	return prop.AppendValue(append(dst, ':'), m.Revlink)
}
