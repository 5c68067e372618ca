package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestSlowRunsWhenWhatItTestsChanged makes a suite out of a module of its own.
func TestSlowRunsWhenWhatItTestsChanged(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const test = "package a\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc Test(t *testing.T) {\n\tif os.Getenv(\"SLOW_TEST\") == \"\" {\n\t\tt.Fatal(\"no server\")\n\t}\n}\n"
	write("go.mod", "module slow\n\ngo 1.26\n")
	write("a/a_test.go", test)
	write("b/b.go", "package b\n")
	starts, refuse := 0, false
	s := slow{name: "a", pkgs: []string{"a"}, with: []string{"b"}, start: func() ([]string, func() error, error) {
		starts++
		if refuse {
			return nil, nil, errors.New("no memory")
		}
		return []string{"SLOW_TEST=1"}, func() error { return nil }, nil
	}}
	check := func(what string, run func(context.Context) error, ok bool, want int) {
		t.Helper()
		if err := run(t.Context()); (err == nil) != ok || starts != want {
			t.Errorf("%s: %v after %d starts, want %d", what, err, starts, want)
		}
	}
	check("never passed", s.unlessPassed, true, 1)
	check("make test writes nothing", s.unlessPassed, true, 2)
	check("by hand", s.always, true, 3)
	check("passed", s.unlessPassed, true, 3)
	check("by hand again", s.always, true, 4)
	write("a/README.md", "prose")
	check("prose", s.unlessPassed, true, 4)
	write("b/b.go", "package b // changed\n")
	check("changed", s.unlessPassed, true, 5)
	refuse = true
	check("no server", s.unlessPassed, false, 6)
	check("no server by hand", s.always, false, 7)
	refuse = false
	write("a/a_test.go", test+"\nfunc TestFails(t *testing.T) { t.Fail() }\n")
	check("broken", s.always, false, 8)
	check("it did not pass", s.unlessPassed, false, 9)
}
