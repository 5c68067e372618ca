package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is committed in dist is what the sources make.
func TestDistIsFresh(t *testing.T) {
	if err := run("..", true); err != nil {
		t.Error(err)
	}
}

// Equal sources make equal files wherever they lie, and a difference is noticed.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	for _, part := range []string{"src", "css"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join("..", part))); err != nil {
			t.Fatal(err)
		}
	}
	here, err := bundle("..")
	if err != nil {
		t.Fatal(err)
	}
	there, err := bundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(here) != 4 || len(there) != len(here) {
		t.Fatalf("%d and %d files", len(here), len(there))
	}
	for name, data := range here {
		if !bytes.Equal(data, there[name]) {
			t.Errorf("%s differs", name)
		}
	}
	if err := run(dir, true); err == nil {
		t.Error("no dist at all is not noticed")
	}
	if err := run(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dist", "old.js"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err == nil || !strings.Contains(err.Error(), "old.js") {
		t.Errorf("a file too many: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "src", "app.ts"), []byte("const ="), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err == nil {
		t.Error("sources that do not compile are not noticed")
	}
}
