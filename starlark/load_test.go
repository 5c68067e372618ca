package starlark_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/internal/evalcase"
	"buildstar/starlark"
)

// Every case of testdata, and every code that the evaluator can report has one
// (codes of run-time limits are in TestHostileFiles and TestTimeout).
func TestCases(t *testing.T) {
	seen := evalcase.Run(t, "testdata", testOptions)
	for _, code := range []string{"time-limit", "memory-limit", "cancelled", "bad-encoding", "too-many-problems"} {
		seen[code] = true
	}
	codes := codesInSource(t, ".", "spec")
	if len(codes) < 30 {
		t.Fatalf("only %d codes were found in the source: %q", len(codes), codes)
	}
	for _, code := range codes {
		if !seen[code] {
			t.Errorf("no case reports [%s]", code)
		}
	}
}

// codesInSource returns the string literals that look like codes: words with
// hyphens.
func codesInSource(t *testing.T, dirs ...string) []string {
	code := regexp.MustCompile(`"([a-z]+(?:-[a-z]+)+)"`)
	codes := map[string]bool{"cancelled": true}
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range code.FindAllSubmatch(text, -1) {
				codes[string(m[1])] = true
			}
		}
	}
	delete(codes, "stats-services") // a key of c
	return slices.Sorted(maps.Keys(codes))
}

// The same inputs make an equal snapshot; moving and commenting lines changes no
// content; changing a value changes that node and only it.
func TestContentOfNodes(t *testing.T) {
	base := loadText(t, thousand)
	again := loadText(t, thousand)
	if d := config.Compare(base, again); !d.Empty() {
		t.Errorf("the same text differs: %+v", d)
	}
	moved := loadText(t, "# a comment\n\n"+strings.ReplaceAll(thousand, "f.addStep(", "f.addStep(  # why\n            "))
	if d := config.Compare(base, moved); !d.Empty() {
		t.Errorf("moved lines differ: %+v", d)
	}
	changed := loadText(t, strings.Replace(thousand, `"N=%d" % i`, `"N=%d" % (0 if i == 7 else i)`, 1))
	d := config.Compare(base, changed)
	want := []config.Key{{Kind: config.KindBuilder, Name: "builder7"}}
	if !slices.Equal(d.Changed, want) || len(d.Added)+len(d.Removed) != 0 || d.Master {
		t.Errorf("changed %v, added %v, removed %v, master %v; want changed %v", d.Changed, d.Added, d.Removed, d.Master, want)
	}
}

func loadText(t *testing.T, text string) *config.Snapshot {
	t.Helper()
	s, _, err := starlark.Replay(t.Context(), replayInput(text), nil, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Problems are JSON for tools.
func TestProblemsAsJSON(t *testing.T) {
	_, _, err := starlark.Replay(t.Context(), replayInput("c = worker.Wroker('x')\n"), nil, testOptions)
	var ps prop.Problems
	if !errors.As(err, &ps) {
		t.Fatal(err)
	}
	data, err := json.Marshal(ps[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"code":"unknown-name"`, `"line":1`, `"col":11`, `did you mean`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("%s lacks %s", data, want)
		}
	}
}

// A recorded input that is missing is a problem, not a crash.
func TestReplayNeedsInputs(t *testing.T) {
	for _, inputs := range [][]config.Input{nil, replayInput("load('x.star', 'y')\n")} {
		_, _, err := starlark.Replay(t.Context(), inputs, nil, testOptions)
		var ps prop.Problems
		if !errors.As(err, &ps) || ps[0].Code != "read-file" {
			t.Errorf("got %v, want read-file", err)
		}
	}
}

// print goes to the option with the place of the call.
func TestPrint(t *testing.T) {
	file := writeFile(t, t.TempDir(), "master.star", "\n\nprint('a', 1)\nc = {}\n")
	opts := testOptions
	var got []string
	opts.Print = func(at prop.Pos, text string) { got = append(got, at.String()+" "+text) }
	loadDir(t, file, opts)
	if want := []string{"master.star:3:6 a 1"}; !slices.Equal(got, want) {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// Color adds only escape codes.
func TestFormatColor(t *testing.T) {
	ps := load(t, "worker.Worker(3, nmae = 'x')\n", testOptions)
	var plain, color strings.Builder
	if err := errors.Join(starlark.Format(&plain, ps, false), starlark.Format(&color, ps, true)); err != nil {
		t.Fatal(err)
	}
	stripped := color.String()
	for _, code := range []string{"\x1b[1m", "\x1b[31m", "\x1b[2m", "\x1b[0m"} {
		stripped = strings.ReplaceAll(stripped, code, "")
	}
	if stripped != plain.String() || color.Len() == plain.Len() {
		t.Errorf("color:\n%q\nplain:\n%q", color.String(), plain.String())
	}
}
