package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExample does what README.md opens with: the example's builder vets and builds the
// repository it is in. That is a clone without a remote, with changes that are not
// committed, and another user's.
func TestExample(t *testing.T) {
	clone := filepath.Join(t.TempDir(), "clone")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", clone}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+filepath.Join(clone, "examples", "gitconfig"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if out, err := exec.Command("git", "clone", "--quiet", filepath.Join("..", ".."), clone).CombinedOutput(); err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
	git("remote", "remove", "origin")
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
	if os.Geteuid() == 0 { // who else may give files away?
		if err := os.Chown(filepath.Join(clone, ".git"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(clone, 65534, 65534); err != nil {
			t.Fatal(err)
		}
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
	props := one[map[string][2]any](m, fmt.Sprintf("builds/%d/properties", b.ID), "properties")
	if head := git("rev-parse", "HEAD"); props["got_revision"][0] != head {
		t.Errorf("it built %v, want %s", props["got_revision"], head)
	}
	if status := m.stop(); status != 0 {
		t.Errorf("the master exited with %d", status)
	}
	if out := git("status", "--porcelain"); out != "M examples/master.star" {
		t.Errorf("git status after the build:\n%s", out)
	}
}
