package util

import (
	"strings"
	"testing"

	"buildstar/config/prop"
	"buildstar/engine/git"
	"buildstar/starlark/spec"
)

func TestGitCredentialOptions(t *testing.T) {
	g, ps := eval(t, `x = util.GitCredentialOptions(credentials = [
    util.GitCredentialInputRenderer(username = "me", password = util.Property("pw"), url = "https://example.org"),
    "host=b.example.org\nprotocol=https\nusername=you\npassword=x"], use_http_path = True)`)
	if ps != nil {
		t.Fatal(ps)
	}
	o := g["x"].(*spec.Object).Value.(*git.CredentialOptions)
	auth := git.Auth{GitCredentials: o}
	access, err := auth.Render(t.Context(), &prop.Map{Values: map[string]any{"pw": "hunter2"}}, "https://example.org/r.git", 22)
	if err != nil {
		t.Fatal(err)
	}
	files, options := access.Files(), strings.Join(access.Options("/d"), " ")
	if len(files) != 1 || !strings.Contains(files[0].Content, "me:hunter2@example.org") || !strings.Contains(files[0].Content, "you:x@b.example.org") {
		t.Errorf("files %+v", files)
	}
	if !strings.Contains(options, "credential.useHttpPath=true") {
		t.Errorf("options %s", options)
	}
}

func TestGitCredentialInputRenderer(t *testing.T) {
	g, ps := eval(t, `x = util.GitCredentialInputRenderer(password = util.Property("pw"), protocol = "https", host = "h")`)
	if ps != nil {
		t.Fatal(ps)
	}
	in := g["x"].(*spec.Object).Value.(prop.Renderable)
	got, err := in.Render(t.Context(), &prop.Map{Values: map[string]any{"pw": "hunter2"}})
	if err != nil || got != "protocol=https\nhost=h\npassword=hunter2\n" {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []any{nil, int64(3), "hunter2\nhost=evil"} {
		if got, err := in.Render(t.Context(), &prop.Map{Values: map[string]any{"pw": bad}}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: got %q, %v", bad, got, err)
		}
	}
	if _, ps := eval(t, `x = util.GitCredentialInputRenderer(passwd = "hunter2")`); len(ps) != 1 || !strings.Contains(ps.Error(), "passwd") || strings.Contains(ps.Error(), "hunter2") {
		t.Errorf("problems %v", ps)
	}
}
