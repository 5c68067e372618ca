package starlark_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildstar/config/prop"
	"buildstar/starlark"
)

// load evaluates text as master.star and returns its problems.
func load(t testing.TB, text string, opts starlark.Options) prop.Problems {
	t.Helper()
	return loadDir(t, writeFile(t, t.TempDir(), "master.star", text), opts)
}

func writeFile(t testing.TB, dir, name, text string) (full string) {
	t.Helper()
	full = filepath.Join(dir, name)
	if err := os.WriteFile(full, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return full
}

func loadDir(t testing.TB, file string, opts starlark.Options) prop.Problems {
	t.Helper()
	_, _, err := starlark.Load(t.Context(), file, opts)
	var ps prop.Problems
	if err != nil && !errors.As(err, &ps) {
		t.Fatalf("the error is a %T: %v", err, err)
	}
	return ps
}

// Nothing that a file contains crashes or hangs the evaluation: it is refused at
// a place.
func TestHostileFiles(t *testing.T) {
	many := strings.Repeat
	opts := testOptions
	opts.MaxHeap, opts.Timeout = 64<<20, 5*time.Minute // the other limits come first
	tests := []struct{ name, text, code string }{
		{"NUL", "c = {}\n\x00 hidden", "bad-encoding"},
		{"NUL in a string", "c = {'a\x00b': 1}\n", "bad-encoding"},
		{"not UTF-8", "c = {}\nx = 'é\xff'\n", "bad-encoding"},
		{"10 MB", "# " + many("x", 10<<20), "read-file"},
		{"brackets", "x = " + many("[", 500_000), "syntax-error"},
		{"parentheses", "x = " + many("(", 500_000) + many(")", 500_000), "syntax-error"},
		{"not", "x = " + many("not ", 250_000) + "1", "syntax-error"},
		{"minus", "x = " + many("-", 900_000) + "1", "syntax-error"},
		{"sum", "x = 1" + many("+1", 400_000), "syntax-error"},
		{"calls", "x = f" + many("()", 400_000), "syntax-error"},
		{"attributes", "x = a" + many(".a", 400_000), "syntax-error"},
		{"lambdas", "x = " + many("lambda:", 140_000) + "1", "syntax-error"},
		{"conditions", "x = " + many("1 if 1 else ", 80_000) + "1", "syntax-error"},
		{"clauses", "x = [1 " + many("for x in y ", 80_000) + "]", "syntax-error"},
		{"elifs", "if 1:\n pass\n" + many("elif 1:\n pass\n", 70_000), "syntax-error"},
		{"some elifs", "if 1:\n pass\n" + many("elif 1:\n pass\n", 4_000), "no-config"},
		{"dots", many(".", 1<<20), "syntax-error"},
		{"quotes", many("'", 1<<20-1), "syntax-error"},
		{"nothing", "", "no-config"},
		{"many problems", "for i in range(3000): worker.Worker(i)\n", "too-many-problems"},
		{"problems in a long line", "c = {'x': [" + many("1, ", 100_000) + "]}\n", "unknown-key"},
		{"long string", "x = 'a' * (1 << 40)\n", "runtime-error"},
		{"doubled string", "x = 'a'\nwhile True: x += x\n", "memory-limit"},
		{"doubled list", "x = [1]\nwhile True: x += x\n", "memory-limit"},
		{"list in itself", "c = util.Nope\nx = []\nx.append(x)\nsteps.ShellCommand(command = x)\n", "bad-value"},
		{"list of lists", "c = util.Nope\nx = [1]\nfor i in range(60): x = [x, x]\nsteps.ShellCommand(command = x)\n", "bad-value"},
		{"escape codes", "c = {'\x1b[31m': 1}\n", "unknown-key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ps := load(t, tt.text, opts)
			if len(ps) == 0 || ps[len(ps)-1].Code != tt.code {
				t.Errorf("got %.300v, want code %s", ps, tt.code)
			}
			var out strings.Builder
			if err := starlark.Format(&out, ps, false); err != nil || strings.ContainsRune(out.String(), 0x1b) {
				t.Errorf("formatted: %v, %q", err, out.String())
			}
		})
	}
}

// A value that is deeply nested is frozen, compared and hashed by recursion; the
// step limit keeps it shallow enough.
func TestDeepValue(t *testing.T) {
	ps := load(t, "x = 1\nfor i in range(300000): x = [x]\nc = {}\n", testOptions)
	if len(ps) == 0 || ps[0].Code != "no-workers" {
		t.Errorf("got %v, want no-workers", ps)
	}
}

func TestTimeout(t *testing.T) {
	opts := testOptions
	opts.Timeout, opts.MaxSteps = 20*time.Millisecond, 1<<60
	ps := load(t, "while True: pass\n", opts)
	if len(ps) != 1 || ps[0].Code != "time-limit" {
		t.Errorf("got %v, want time-limit", ps)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := writeFile(t, t.TempDir(), "master.star", "while True: pass\n")
	opts := testOptions
	opts.MaxSteps = 1 << 60
	_, _, err := starlark.Load(ctx, file, opts)
	var ps prop.Problems
	if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Code != "cancelled" {
		t.Errorf("got %v, want cancelled", err)
	}
}

// Symlinks may lead around inside the directory, not out of it.
func TestSymlinks(t *testing.T) {
	outside := writeFile(t, t.TempDir(), "secret.star", "x = 1\n")
	dir := t.TempDir()
	writeFile(t, dir, "inside.star", "x = 2\n")
	for link, to := range map[string]string{"out.star": outside, "in.star": "inside.star"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	ps := loadDir(t, writeFile(t, dir, "master.star", "load('in.star', 'x')\nload('out.star', y = 'x')\n"), testOptions)
	if len(ps) != 1 || ps[0].Code != "read-file" || ps[0].Pos.Line != 2 {
		t.Errorf("got %v, want one read-file at line 2", ps)
	}
}

func TestMissingFile(t *testing.T) {
	ps := loadDir(t, filepath.Join(t.TempDir(), "none", "master.star"), testOptions)
	if len(ps) != 1 || ps[0].Code != "read-file" {
		t.Errorf("no folder: got %v", ps)
	}
	ps = loadDir(t, filepath.Join(t.TempDir(), "master.star"), testOptions)
	if len(ps) != 1 || ps[0].Code != "read-file" {
		t.Errorf("no file: got %v", ps)
	}
}

// FuzzLoad feeds any text to the evaluator: it must end, and its problems must be
// presentable.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{"c = {}\n", "def f(): f()\nf()\n", "x = [i for i in range(3)]\n", "worker.Worker('x')\n", "'''\n", "x = 'a' 'b'\n", "load('x', 'y')\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		opts := testOptions
		opts.MaxSteps, opts.MaxHeap = 10_000, 64<<20
		input := replayInput(text)
		_, warnings, err := starlark.Replay(t.Context(), input, nil, opts)
		var ps prop.Problems
		if err != nil && !errors.As(err, &ps) {
			t.Fatalf("the error is a %T: %v", err, err)
		}
		var out strings.Builder
		if err := starlark.Format(&out, append(ps, warnings...), true); err != nil {
			t.Fatal(err)
		}
	})
}
