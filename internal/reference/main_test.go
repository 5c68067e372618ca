package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/starlark"
	"buildstar/starlark/call"
)

var root = filepath.Join("..", "..")

func TestReferenceIsCurrent(t *testing.T) {
	pages, err := render(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "docs", "reference")
	have, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range have {
		if pages[f.Name()] == nil {
			t.Errorf("docs/reference/%s is of nothing: go run ./internal/reference", f.Name())
		}
	}
	for name, want := range pages {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/reference/%s is old: go run ./internal/reference", name)
		}
	}
}

func TestEveryArgumentHasAComment(t *testing.T) {
	pages, err := render(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, "| `") && strings.HasSuffix(strings.TrimSpace(line), "|  |") {
				t.Errorf("%s: no comment: %s", name, line)
			}
		}
	}
}

var block = regexp.MustCompile("(?ms)^```python\n(.*?)^```")

// TestExamplesInTheDocuments evaluates every block of Python: those that begin with
// c = {} as a whole configuration, others as lines of one.
func TestExamplesInTheDocuments(t *testing.T) {
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, name := range append(docs, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllSubmatch(text, -1) {
			blocks++
			src := string(m[1])
			if !strings.HasPrefix(src, "c = {}\n") {
				src = around + src
			}
			input := []config.Input{{Path: "master.star", Data: []byte(src)}}
			options := starlark.Options{Modules: modules, Function: call.Renderable, Basedir: t.TempDir()}
			if _, _, err := starlark.Replay(t.Context(), input, nil, options); err != nil {
				t.Errorf("%s: %v\n%s", name, err, src)
			}
		}
	}
	if blocks < 4 {
		t.Errorf("%d examples were found", blocks)
	}
}

// around makes a configuration of a few lines.
const around = `c = {}
c["workers"] = [worker.LocalWorker("local")]
c["protocols"] = {"msgpack_experimental_v7": {"port": 9989}}
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["local"], factory = util.BuildFactory([]))]
c["schedulers"] = [schedulers.ForceScheduler(name = "force", builderNames = ["b"])]
`
