package secrets

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/config/prop"
	"buildstar/engine/secret"
	"buildstar/starlark/spec"
)

// provider evaluates a call.
func provider(t *testing.T, src string) (secret.Provider, prop.Problems) {
	t.Helper()
	env := &spec.Env{Collect: true}
	thread := &star.Thread{}
	env.Attach(thread)
	g, err := star.ExecFileOptions(&syntax.FileOptions{}, thread, "master.star", "x = "+src, star.StringDict{"secrets": Module.Value(env)})
	if err != nil {
		t.Fatal(err)
	}
	if ps := env.Problems(); ps != nil {
		return nil, ps
	}
	return g["x"].(*spec.Object).Value.(secret.Provider), nil
}

func put(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
		t.Fatal(err)
	}
}

func TestSecretInAFile(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "kept")
	put(t, dir, "token", " t0k \n", 0o600)
	put(t, dir, "token.txt", "text\n", 0o400)
	put(t, filepath.Join(dir, "folder"), "inner", "x", 0o600)
	for _, tt := range []struct {
		src  string
		want map[string]string
		none string
	}{
		{`secrets.SecretInAFile("kept")`, map[string]string{"token": "t0k", "token.txt": "text"}, "folder"},
		{`secrets.SecretInAFile(dirname = "` + dir + `", strip = False)`, map[string]string{"token": " t0k \n", "token.txt": "text\n"}, "inner"},
		{`secrets.SecretInAFile("kept", suffixes = [".txt", ".key"])`, map[string]string{"token": "text"}, "token.txt"},
		{`secrets.SecretInAFile("kept", suffixes = [".txt", ""])`, map[string]string{"token.txt": "text"}, "none"},
	} {
		p, ps := provider(t, tt.src)
		if ps != nil {
			t.Fatal(ps)
		}
		source, err := p.Open(base)
		if err != nil {
			t.Errorf("%s: %v", tt.src, err)
			continue
		}
		for name, want := range tt.want {
			if got, ok, err := source.Secret(context.Background(), name); got != want || !ok || err != nil {
				t.Errorf("%s: %s: got %q, %v, %v", tt.src, name, got, ok, err)
			}
		}
		if _, ok, err := source.Secret(context.Background(), tt.none); ok || err != nil {
			t.Errorf("%s: there is a secret %q (%v)", tt.src, tt.none, err)
		}
	}
}

func TestSecretInAFileRefuses(t *testing.T) {
	base := t.TempDir()
	open := func(dir string) error {
		p, ps := provider(t, `secrets.SecretInAFile("`+dir+`")`)
		if ps != nil {
			t.Fatal(ps)
		}
		_, err := p.Open(base)
		return err
	}
	put(t, filepath.Join(base, "group"), "s", "x", 0o640)
	put(t, filepath.Join(base, "all"), "s", "x", 0o604)
	put(t, filepath.Join(base, "bytes"), "s", "\xff", 0o600)
	put(t, filepath.Join(base, "big"), "s", strings.Repeat("x", maxSecret+1), 0o600)
	for dir, want := range map[string]string{
		"none":  "no such file or directory",
		"group": "(mode 0640): run chmod go= " + filepath.Join(base, "group", "s"),
		"all":   "(mode 0604): run chmod go= ",
		"bytes": "is not UTF-8",
		"big":   "at most 1048576 are possible",
	} {
		if err := open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}

func TestSecretsProblems(t *testing.T) {
	for src, want := range map[string]string{
		`secrets.SecretInAFile("")`:                  "dirname: it is empty",
		`secrets.SecretInAFile("d", suffixes = "x")`: "want list of strings",
		`secrets.SecretInPass()`:                     "not supported yet",
		`secrets.HashiCorpVaultKvSecretProvider()`:   "not supported yet",
	} {
		_, ps := provider(t, src)
		if len(ps) != 1 || !strings.Contains(ps.Error(), want) {
			t.Errorf("%s: got %v, want %q", src, ps, want)
		}
	}
}
