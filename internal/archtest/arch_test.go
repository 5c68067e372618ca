// Package archtest proves that the house stands as docs/architecture.md draws it:
// packages import packages of a lower floor only, and each says what it is.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// floors is the table of docs/architecture.md section 2. A name that ends in /* is
// every package directly below it.
var floors = [][]string{
	0: {"config/prop", "conn/wire"},
	1: {"config", "starlark/spec"},
	2: {"state", "conn", "worker", "latent", "starlark"},
	3: {"state/sqlite", "state/logfile", "state/statetest", "starlark/call", "engine/run", "engine/secret", "engine/mail", "engine/sched", "engine/change", "engine/git", "engine/instance"},
	4: {"builtins/*", "engine/dist"},
	5: {"engine", "latent/*"},
	6: {"web/api", "web/ui"},
	7: {"web"},
	8: {"internal/cmd"},
	9: {""},
}

// outside is what only some packages may import (docs/architecture.md section 2,
// "heavy imports").
var outside = map[string][]string{
	"modernc.org/sqlite":            {"state/sqlite"},
	"github.com/klauspost/compress": {"state/logfile", "web/api", "web/ui", "web"},
	"github.com/gorilla/websocket":  {"conn", "worker", "web/api"},
	"github.com/wneessen/go-mail":   {"engine/mail"},
	"github.com/tinylib/msgp":       {"conn/wire"},
	"github.com/docker/docker":      {"latent/docker"},
	"github.com/aws":                {"latent/ec2"},
	"github.com/gophercloud":        {"latent/openstack"},
	"golang.org/x/text":             {"builtins/changes"},
	"github.com/evanw/esbuild":      {"web/ui/build"},
	"go.starlark.net":               {"starlark", "starlark/spec", "starlark/call", "builtins/*", "latent/script"},
}

const module = "buildstar"

type pkg struct {
	ImportPath, Dir, Doc, Name string
	Imports, TestImports       []string
	XTestImports               []string
	GoFiles                    []string
}

// path returns the import path within the module, "" for its root.
func (p pkg) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

func matches(pattern, path string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/*"); ok {
		rest, ok := strings.CutPrefix(path, dir+"/")
		return ok && !strings.Contains(rest, "/")
	}
	return pattern == path
}

// floor returns the floor of a package. Programs and tests outside the table stand
// on the roof.
func floor(path string) (n int, listed bool) {
	for n, names := range floors {
		for _, name := range names {
			if matches(name, path) {
				return n, true
			}
		}
	}
	return len(floors), false
}

// roof is what the table leaves out on purpose: it may import anything, and only
// tests may import it.
func roof(path string) bool {
	return strings.HasPrefix(path, "internal/") || strings.HasPrefix(path, "bench") ||
		path == "web/ui/build" || path == "builtins/configtest" || path == "latent/ec2/ec2test"
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestFloors(t *testing.T) {
	for _, p := range list(t) {
		path := p.path()
		mine, ok := floor(path)
		if !ok && !roof(path) {
			t.Errorf("%s is on no floor: add it to the table here and in docs/architecture.md", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			rest, ours := strings.CutPrefix(imp, module)
			if !ours || rest != "" && rest[0] != '/' {
				continue
			}
			theirs, _ := floor(strings.TrimPrefix(rest, "/"))
			if theirs >= mine && ok {
				t.Errorf("%s (floor %d) imports %s (floor %d): only lower floors", p.ImportPath, mine, imp, theirs)
			}
		}
	}
}

func TestHeavyImports(t *testing.T) {
	for _, p := range list(t) {
		if roof(p.path()) && p.path() != "web/ui/build" {
			continue
		}
		for _, imp := range p.Imports {
			for heavy, allowed := range outside {
				if imp != heavy && !strings.HasPrefix(imp, heavy+"/") {
					continue
				}
				if !slices.ContainsFunc(allowed, func(a string) bool { return matches(a, p.path()) }) {
					t.Errorf("%s imports %s: only %v may", p.ImportPath, imp, allowed)
				}
			}
		}
	}
}

func TestPackageDocs(t *testing.T) {
	for _, p := range list(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 20 {
			t.Errorf("%s has no package comment that says what it is", p.ImportPath)
		}
	}
}

// TestFileLength lists files that have grown long. It warns: a split by length
// alone is no better.
func TestFileLength(t *testing.T) {
	for _, path := range goFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(data, []byte{'\n'}); n > 400 && !strings.HasSuffix(path, "_test.go") {
			t.Logf("%s: %d lines; is it one idea?", path, n)
		}
	}
}

// TestStarlarkName proves that go.starlark.net/starlark is called star everywhere:
// starlark is our own folder.
func TestStarlarkName(t *testing.T) {
	for _, path := range goFiles(t) {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if imp.Path.Value == `"go.starlark.net/starlark"` && (imp.Name == nil || imp.Name.Name != "star") {
				t.Errorf(`%s: import star "go.starlark.net/starlark"`, path)
			}
		}
	}
}

func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
