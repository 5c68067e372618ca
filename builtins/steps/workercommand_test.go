package steps

import (
	"os"
	"strings"
	"testing"
)

func TestMakeDirectory(t *testing.T) {
	r := newRig(t)
	for args, dir := range map[string]string{
		`dir="a/b"`:                   r.builddir("a", "b"),
		`util.Property("workername")`: r.builddir("w"),
		`dir="` + r.there + `/x"`:     r.there + "/x",
	} {
		o := r.run(with("MakeDirectory", args))
		if st, err := os.Stat(dir); err != nil || !st.IsDir() || o.results() != "MakeDirectory=success success" {
			t.Errorf("%s: %v, %s", args, err, o.results())
		}
	}
	put(t, r.builddir("file"), nil)
	o := r.run(`x = [steps.MakeDirectory(dir="file/b"), ` + next + `]`)
	if o.results() != "MakeDirectory=failure failure" || !strings.Contains(o.log("stdio", "hoe"), "file/b") {
		t.Errorf("got %s, %q", o.results(), o.log("stdio", "hoe"))
	}
}

func TestRemoveDirectory(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("a", "b", "c"), nil)
	put(t, r.builddir("d"), nil)
	if o := r.run(with("RemoveDirectory", `dir="a/b"`)); o.results() != "RemoveDirectory=success success" || listing(t, r.builddir()) != "a/ d" {
		t.Errorf("got %s, %s", o.results(), listing(t, r.builddir()))
	}
	if o := r.run(with("RemoveDirectory", `util.Property("none", default="nothing")`)); o.results() != "RemoveDirectory=success success" {
		t.Errorf("what is not there: %s", o.results())
	}
	// What renders to nothing must not remove everything.
	if o := r.run(with("RemoveDirectory", `util.Interpolate("%(prop:none:-)s")`)); o.results() != "RemoveDirectory=exception exception" ||
		listing(t, r.builddir()) != "a/ d" {
		t.Errorf("an empty dir: %s", o.results())
	}
}

func TestCopyDirectory(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("a", "b", "c"), []byte("text"))
	if o := r.run(with("CopyDirectory", `src="a", dest="copy"`)); o.results() != "CopyDirectory=success success" ||
		content(t, r.builddir("copy", "b", "c")) != "text" || o.steps[0].StateString != "copied a to copy" {
		t.Errorf("got %s, %s", o.results(), listing(t, r.builddir()))
	}
	if o := r.run(with("CopyDirectory", `src=util.Property("none", default="nothing"), dest="x"`)); o.results() != "CopyDirectory=failure failure" {
		t.Errorf("what is not there: %s", o.results())
	}
}

func TestCopyDirectoryTimes(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("a", "b"), nil)
	r.run(with("CopyDirectory", `src="a", dest="c"`))
	r.run(with("CopyDirectory", `src="a", dest="d", timeout=None, maxTime=util.Property("none", default=2.5)`))
	for i, want := range [][2]any{{int64(120), nil}, {nil, 2.5}} {
		if got := [2]any{r.sent[i].Args["timeout"], r.sent[i].Args["maxTime"]}; got != want {
			t.Errorf("command %d: %v, want %v", i, got, want)
		}
	}
	put(t, r.builddir("big"), nil)
	if err := os.Truncate(r.builddir("big"), 100<<30); err != nil {
		t.Fatal(err)
	}
	o := r.run(with("CopyDirectory", `src="big", dest="never", maxTime=0.05`))
	if o.results() != "CopyDirectory=failure failure" || !strings.Contains(o.steps[0].StateString, "timed out") {
		t.Errorf("got %s, %q", o.results(), o.steps[0].StateString)
	}
}

func TestFileExists(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("dir", "file"), nil)
	for args, want := range map[string]string{
		`file="dir/file"`: "file exists", `util.Interpolate("%(prop:none:-dir)s/file")`: "file exists",
		`file="dir"`: "file exists (not a file) (failure)", `file="dir/none"`: "file exists (not found) (failure)",
	} {
		if got := r.run(with("FileExists", args)).steps[0].StateString; got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}
