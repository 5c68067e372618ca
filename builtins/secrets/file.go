package secrets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"buildstar/config"
	"buildstar/engine/secret"
	"buildstar/starlark/spec"
)

// SecretInAFile is secrets.SecretInAFile (docs/requirements.md C11).
var SecretInAFile = &spec.Class{
	Module: "secrets", Name: "SecretInAFile",
	New: func() any { return &secretInAFile{Strip: true} },
}

// secretInAFile keeps each secret in a file of its own. The files are read when the
// configuration is put in force, so a reload reads them anew. Nobody but their owner may
// have access to them.
type secretInAFile struct {
	config.At
	// Dirname is the directory of the files; a relative one is below the master's basedir.
	Dirname string `star:"dirname"`
	// Suffixes are endings of file names: only such files count, and the secret's name is
	// what stands before. By default every file counts, and its name is the secret's.
	Suffixes []string `star:"suffixes,optional"`
	// Strip cuts white space off both ends; editors leave a newline. The default is True.
	Strip bool `star:"strip,optional"`
}

// Make makes the provider.
func (s *secretInAFile) Make(c *spec.Call) any {
	if s.Dirname == "" {
		c.Problem("bad-value", "dirname", "it is empty", "")
	}
	return s
}

// Type implements config.SecretsProvider.
func (*secretInAFile) Type() string { return "SecretInAFile" }

// maxSecret is how long a secret can be, in bytes.
const maxSecret = 1 << 20

// Open implements secret.Provider.
func (s *secretInAFile) Open(basedir string) (secret.Source, error) {
	dir := s.Dirname
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(basedir, dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	found := files{}
	for _, e := range entries {
		for _, name := range s.names(e.Name()) {
			text, ok, err := read(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, fmt.Errorf("read secret %q: %w", name, err)
			}
			if s.Strip {
				text = strings.TrimSpace(text)
			}
			if ok {
				found[name] = text
			}
		}
	}
	return found, nil
}

// names returns the secrets that a file is, none or one for each suffix that fits.
func (s *secretInAFile) names(file string) (names []string) {
	if s.Suffixes == nil {
		return []string{file}
	}
	for _, suffix := range s.Suffixes {
		if name, ok := strings.CutSuffix(file, suffix); ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// read reads a file; ok is false for what is none, such as a directory.
func read(path string) (text string, ok bool, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", false, err
	case !info.Mode().IsRegular():
		return "", false, nil
	case info.Mode().Perm()&0o077 != 0:
		return "", false, fmt.Errorf("others have access to %s (mode %04o): run chmod go= %s", path, info.Mode().Perm(), path)
	case info.Size() > maxSecret:
		return "", false, fmt.Errorf("%s has %d bytes, at most %d are possible", path, info.Size(), maxSecret)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", false, err
	}
	if !utf8.Valid(data) {
		return "", false, fmt.Errorf("%s is not UTF-8", path)
	}
	return string(data), true, nil
}

// files are secrets by name.
type files map[string]string

func (f files) Secret(_ context.Context, name string) (string, bool, error) {
	text, ok := f[name]
	return text, ok, nil
}
