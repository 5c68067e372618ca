package util

import (
	"context"
	"fmt"
	"strings"

	"buildstar/config/prop"
	"buildstar/engine/git"
	"buildstar/starlark/spec"
)

// GitCredentialOptions is util.GitCredentialOptions (docs/requirements.md C4).
var GitCredentialOptions = &spec.Class{
	Module: "util", Name: "GitCredentialOptions",
	New: func() any { return &git.CredentialOptions{} },
}

// GitCredentialInputRenderer is util.GitCredentialInputRenderer (docs/requirements.md
// C4).
var GitCredentialInputRenderer = &spec.Class{
	Module: "util", Name: "GitCredentialInputRenderer",
	New: func() any { return &gitCredentialInput{} },
}

// gitCredentialInput is one of the credentials of util.GitCredentialOptions:
// util.GitCredentialInputRenderer(url = "https://example.org", username = "me", password = util.Secret("git")).
type gitCredentialInput struct {
	// URL is the address it is for, or a part of it; it stands for the other parts too.
	URL prop.Renderable `star:"url,optional,kw"`
	// Protocol is http or https.
	Protocol prop.Renderable `star:"protocol,optional,kw"`
	// Host is the host, with its port if there is one.
	Host prop.Renderable `star:"host,optional,kw"`
	// Path is that of the repository on the host.
	Path prop.Renderable `star:"path,optional,kw"`
	// Username is who asks.
	Username prop.Renderable `star:"username,optional,kw"`
	// Password is the password, or a token.
	Password prop.Renderable `star:"password,optional,kw,secret"`
}

// Make makes the renderable.
func (g *gitCredentialInput) Make(*spec.Call) any {
	in := credentialInput{}
	add := func(name string, r prop.Renderable) {
		if r != nil {
			in.names, in.values = append(in.names, name), append(in.values, r)
		}
	}
	add("url", g.URL) // git forgets what comes before it
	add("protocol", g.Protocol)
	add("host", g.Host)
	add("path", g.Path)
	add("username", g.Username)
	add("password", g.Password)
	return in
}

// credentialInput renders to what `git credential` reads.
type credentialInput struct {
	names  []string
	values []prop.Renderable
}

// Render returns a line NAME=VALUE for each part.
func (in credentialInput) Render(ctx context.Context, p prop.Props) (any, error) {
	var text strings.Builder
	for i, r := range in.values {
		v, err := r.Render(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", in.names[i], err)
		}
		s, ok := v.(string)
		if !ok || strings.ContainsAny(s, "\n\r\x00") {
			return nil, fmt.Errorf("render %s: want a string of one line", in.names[i]) // which may be secret
		}
		fmt.Fprintf(&text, "%s=%s\n", in.names[i], s)
	}
	return text.String(), nil
}

// AppendCanonical appends the parts.
func (in credentialInput) AppendCanonical(dst []byte) []byte {
	dst = append(dst, "GitCredentialInput"...)
	for i, r := range in.values {
		dst = r.AppendCanonical(prop.AppendValue(dst, in.names[i]))
	}
	return dst
}
