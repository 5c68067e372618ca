package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExample does what README.md opens with, in a clone of this repository: the
// example's builder vets and builds the repository it is in.
func TestExample(t *testing.T) {
	clone := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.Command("git", "clone", "--quiet", filepath.Join("..", ".."), clone).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	m := &master{t: t, dir: filepath.Join(clone, "examples"), web: freePort(t), log: &lockedBuffer{}}
	file := filepath.Join(m.dir, "master.star")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config = []byte(strings.ReplaceAll(string(config), "tcp:8010:", fmt.Sprintf("tcp:%d:", m.web)))
	if err := os.WriteFile(file, config, 0o644); err != nil {
		t.Fatal(err)
	}
	m.start()
	// To vet one package is enough here; the build needs them all.
	b := m.finished(m.force(m.builders()["buildstar"], map[string]any{"packages": "./config/..."}))
	checkResult(t, b, 0)
	for n, s := range get[step](m, fmt.Sprintf("builds/%d/steps", b.ID), "steps") {
		if s.Results == nil || *s.Results != 0 {
			t.Errorf("step %s: %s\n%s", s.Name, s.StateString, m.stdio(b.ID, n))
		}
	}
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d", status)
	}
	git := exec.Command("git", "-C", clone, "status", "--porcelain")
	if out, err := git.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "M examples/master.star" {
		t.Errorf("git status after the build: %v\n%s", err, out)
	}
}
