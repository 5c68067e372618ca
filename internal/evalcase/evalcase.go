// Package evalcase runs configurations that are kept as txtar files: master.star
// and the files it reads, with what must come of it.
//
//	-- master.star --
//	c = {...}
//	-- want --
//	worker "bot1" at master.star:1:27
//
// A case has `want`, a summary of the snapshot, or `errors`, the problems as
// people see them; `warnings` too if there are any. `env` sets variables, a NAME=VALUE
// a line. `go test -update` writes what came out.
package evalcase

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark"
)

var update = flag.Bool("update", false, "write what came out into the cases")

// Run runs every case of a folder as a subtest, and returns the codes of all
// problems and warnings that were seen.
func Run(t *testing.T, dir string, opts starlark.Options) map[string]bool {
	names, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases in %s: %v", dir, err)
	}
	codes := make(map[string]bool)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			for _, p := range run(t, name, opts) {
				codes[p.Code] = true
			}
		})
	}
	return codes
}

func run(t *testing.T, name string, opts starlark.Options) prop.Problems {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	inputs, want := split(archive)
	dir := write(t, inputs, &opts)
	snapshot, warnings, err := starlark.Load(t.Context(), filepath.Join(dir, "master.star"), opts)

	var problems prop.Problems
	got := map[string]string{"warnings": format(t, warnings)}
	switch {
	case errors.As(err, &problems):
		got["errors"] = format(t, problems)
	case err != nil:
		t.Fatal(err)
	default:
		got["want"] = Summary(snapshot)
		replay(t, snapshot, opts, dir)
	}
	for _, section := range []string{"want", "errors", "warnings"} {
		if got[section] != want[section] && !*update {
			t.Errorf("%s: %s:\n%s\nwant:\n%s", name, section, got[section], want[section])
		}
	}
	if *update {
		save(t, name, archive, got)
	}
	return append(problems, warnings...)
}

// replay evaluates the recorded inputs again: the hashes must be equal.
func replay(t *testing.T, snapshot *config.Snapshot, opts starlark.Options, dir string) {
	opts.Basedir = dir
	again, _, err := starlark.Replay(t.Context(), snapshot.Inputs, snapshot.Env, opts)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if d := config.Compare(snapshot, again); !d.Empty() {
		t.Errorf("replay differs: %+v", d)
	}
}

func split(a *txtar.Archive) (inputs []txtar.File, want map[string]string) {
	want = make(map[string]string)
	for _, f := range a.Files {
		switch f.Name {
		case "want", "errors", "warnings":
			want[f.Name] = string(f.Data)
		default:
			inputs = append(inputs, f)
		}
	}
	return inputs, want
}

func write(t *testing.T, inputs []txtar.File, opts *starlark.Options) (dir string) {
	dir = t.TempDir()
	env := make(map[string]string)
	for _, f := range inputs {
		if f.Name == "env" {
			for line := range strings.Lines(string(f.Data)) {
				k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
				env[k] = v
			}
			continue
		}
		full := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	opts.Getenv = func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	return dir
}

func format(t *testing.T, ps prop.Problems) string {
	var b bytes.Buffer
	if err := starlark.Format(&b, ps, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func save(t *testing.T, name string, a *txtar.Archive, got map[string]string) {
	inputs, _ := split(a)
	out := &txtar.Archive{Comment: a.Comment, Files: inputs}
	for _, section := range []string{"want", "errors", "warnings"} {
		if got[section] != "" {
			out.Files = append(out.Files, txtar.File{Name: section, Data: []byte(got[section])})
		}
	}
	if err := os.WriteFile(name, txtar.Format(out), 0o666); err != nil {
		t.Fatal(err)
	}
}
