package steps

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"buildstar/engine/run"
)

func TestFileUpload(t *testing.T) {
	r := newRig(t)
	big := randomBytes(20<<20 + 1)
	put(t, r.builddir("build", "big"), big)
	put(t, r.builddir("build", "empty"), nil)
	for src, want := range map[string]string{"big": string(big), "empty": ""} {
		o := r.run(with("FileUpload", `workersrc="`+src+`", masterdest=util.Interpolate("up/%(prop:buildername)s/x")`))
		if content(t, r.master("up", "b", "x")) != want || o.results() != "upload=success success" || o.steps[0].StateString != "uploaded "+src {
			t.Errorf("%s: %s, %q; %s", src, o.results(), o.steps[0].StateString, o.log("stdio", "hoe"))
		}
		if got := listing(t, r.master()); got != "up/ up/b/ up/b/x" {
			t.Errorf("left on the master: %s", got)
		}
	}
	abs := filepath.Join(t.TempDir(), "abs")
	if o := r.run(with("FileUpload", `"`+r.builddir("build", "big")+`", "`+abs+`"`)); content(t, abs) != string(big) {
		t.Errorf("absolute: %s", o.results())
	}
}

func TestFileUploadFailures(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "f"), []byte("new"))
	put(t, r.master("old"), []byte("old"))
	put(t, r.master("dir", "x"), nil)
	for args, want := range map[string]string{
		`workersrc="none", masterdest="old"`:                             "upload=failure failure",
		`workersrc=".", masterdest="old"`:                                "upload=failure failure",
		`workersrc="f", masterdest="dir"`:                                "upload=exception exception",
		`workersrc="f", masterdest="old/x"`:                              "upload=exception exception",
		`workersrc="f", masterdest="/dev/null"`:                          "upload=exception exception",
		`workersrc=util.Interpolate(""), masterdest="old"`:               "upload=exception exception",
		`workersrc="f", masterdest="old", mode=util.Property("n", -1)`:   "upload=exception exception",
		`workersrc="f", masterdest="old", blocksize=util.Property("n")`:  "upload=exception exception",
		`workersrc="f", masterdest="old", maxsize=util.Property("n",-1)`: "upload=exception exception",
	} {
		o := r.run(with("FileUpload", args))
		if o.results() != want || len(o.log("stdio", "e")+o.log("err.text", "t")) < 10 {
			t.Errorf("%s: %s; %q %q", args, o.results(), o.log("stdio", "e"), o.log("err.text", "t"))
		}
	}
	if got := listing(t, r.master()) + content(t, r.master("old")); got != "dir/ dir/x oldold" {
		t.Errorf("on the master: %s", got)
	}
}

// The old file stays, and nothing else, when a transfer is stopped.
func TestFileUploadStopped(t *testing.T) {
	r := newRig(t)
	put(t, r.master("old"), []byte("old"))
	put(t, r.builddir("build", "endless"), nil)
	if err := os.Truncate(r.builddir("build", "endless"), 1<<40); err != nil {
		t.Fatal(err)
	}
	build := make(chan *run.Build, 1)
	r.block = sync.OnceFunc(func() { (<-build).Stop("enough") })
	o := r.carryOut(with("FileUpload", `workersrc="endless", masterdest="old", blocksize=4096`), nil, build)
	if got := listing(t, r.master()) + content(t, r.master("old")); o.results() != "upload=cancelled cancelled" || got != "oldold" {
		t.Errorf("%s; on the master: %s", o.results(), got)
	}
}

func TestFileUploadWorkdir(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	r := newRig(t)
	put(t, r.builddir("else", "f"), []byte("in workdir"))
	put(t, filepath.Join(os.Getenv("HOME"), "f"), []byte("at home"))
	r.run(with("FileUpload", `workersrc="f", masterdest="a", workdir="else"`))
	r.run(with("FileUpload", `workersrc="~/f", masterdest="~/b"`))
	if a, b := content(t, r.master("a")), content(t, filepath.Join(os.Getenv("HOME"), "b")); a != "in workdir" || b != "at home" {
		t.Errorf("got %q, %q", a, b)
	}
}

// A file of exactly maxsize bytes is whole; to a stock worker one more is allowed.
func TestFileUploadMaxsize(t *testing.T) {
	for name, stock := range map[string]bool{"ours": false, "stock": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stock = stock
			put(t, r.builddir("build", "f"), []byte("12345"))
			for maxsize, want := range map[string]string{"5": "12345", "6": "12345", "4": "(none)", "0": "(none)", "None": "12345", `util.Property("x", 4)`: "(none)"} {
				o := r.run(with("FileUpload", `workersrc="f", masterdest="x", blocksize=2, maxsize=`+maxsize))
				if got := content(t, r.master("x")); got != want || (want == "(none)") != (o.results() == "upload=failure failure") {
					t.Errorf("%s: %q, %s; %q", maxsize, got, o.results(), o.log("stdio", "e"))
				}
				if want == "(none)" && !strings.Contains(o.log("stdio", "e"), "size") {
					t.Errorf("%s: the log does not say why: %q", maxsize, o.log("stdio", "e"))
				}
				asked := r.sent[len(r.sent)-1].Args["maxsize"]
				if asked == int64(5) && stock && want != "(none)" {
					t.Error("a stock worker was given exactly the size of the file")
				}
				os.Remove(r.master("x"))
			}
		})
	}
}

func TestFileUploadBlocksize(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "f"), randomBytes(1000))
	for args, want := range map[string]int64{"": 256 << 10, ", blocksize=7": 7, `, blocksize=util.Property("x", 9)`: 9} {
		r.run(with("FileUpload", `workersrc="f", masterdest="x"`+args))
		if got := r.sent[len(r.sent)-1].Args["blocksize"]; got != want || content(t, r.master("x")) != string(randomBytes(1000)) {
			t.Errorf("%s: %v", args, got)
		}
	}
}

func TestFileUploadMode(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "f"), nil)
	for args, want := range map[string]os.FileMode{"": 0o644, ", mode=0o750": 0o750, ", mode=0o4711": 0o711 | os.ModeSetuid, `, mode=util.Property("x", 0o600)`: 0o600} {
		r.run(with("FileUpload", `workersrc="f", masterdest="x"`+args))
		if st, err := os.Stat(r.master("x")); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", args, st.Mode(), err)
		}
	}
}

func TestFileUploadKeepstamp(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "f"), nil)
	then := time.Unix(1234567890, 5e8)
	if err := os.Chtimes(r.builddir("build", "f"), then, then); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]bool{"": false, ", keepstamp=True": true} {
		r.run(with("FileUpload", `workersrc="f", masterdest="x"`+args))
		if st, err := os.Stat(r.master("x")); err != nil || st.ModTime().Equal(then) != want {
			t.Errorf("%s: %v, %v", args, st.ModTime(), err)
		}
	}
}

// checkLinks observes url and urlText of an upload.
func checkLinks(t *testing.T, r *rig, class, args, name string) {
	t.Helper()
	const url = `, url=util.Interpolate("http://x/%(prop:workername)s")`
	for more, want := range map[string]string{"": "[]", `, urlText="text"`: "[]", url: "[{" + name + " http://x/w}]",
		url + `, urlText=util.Interpolate("the %(prop:workername)s")`: "[{the w http://x/w}]"} {
		o := r.run(with(class, args+more))
		if got := fmt.Sprint(o.steps[0].URLs); got != want || o.results() != "upload=success success" {
			t.Errorf("%s: %s, want %s; %s", more, got, want, o.results())
		}
	}
	if o := r.run(with(class, args+url+`, workdir="nothing"`)); o.results() != "upload=failure failure" || len(o.steps[0].URLs) > 0 {
		t.Errorf("a link to what was not uploaded: %v", o.steps[0].URLs)
	}
}

func TestFileUploadURL(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "src"), nil)
	checkLinks(t, r, "FileUpload", `workersrc=lambda p: "src", masterdest="to/x"`, "x")
}

// treeFile is the size of the biggest file of a tree. bzip2 is slow under the race
// detector; files of 20 MiB are sent one by one.
const treeFile = 1 << 20

func tree(t *testing.T, r *rig) {
	put(t, r.builddir("build", "d", "a"), []byte("1"))
	put(t, r.builddir("build", "d", "sub", "deep", "b"), []byte("2"))
	put(t, r.builddir("build", "d", "big"), randomBytes(treeFile))
	for link, to := range map[string]string{"here": "a", "sub/up": "../a", "dir": "sub/deep"} {
		if err := os.Symlink(to, r.builddir("build", "d", link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(r.builddir("build", "d", "a"), 0o751); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(r.builddir("build", "d", "a"), r.builddir("build", "d", "same")); err != nil {
		t.Fatal(err)
	}
}

const whole = "a big dir here same sub/ sub/deep/ sub/deep/b sub/up"

func TestDirectoryUpload(t *testing.T) {
	r := newRig(t)
	tree(t, r)
	put(t, r.master("old", "mine"), []byte("stays"))
	put(t, r.master("old", "a"), []byte("goes"))
	put(t, r.master("old", "sub", "x"), []byte("stays"))
	for dest, want := range map[string]string{"new/dir": whole, "old": "a big dir here mine same sub/ sub/deep/ sub/deep/b sub/up sub/x"} {
		o := r.run(with("DirectoryUpload", `workersrc="d", masterdest=util.Interpolate("`+dest+`"), blocksize=65536`))
		if got := listing(t, r.master(dest)); got != want || o.results() != "upload=success success" {
			t.Errorf("%s: %s, %s %s", dest, got, o.results(), o.log("stdio", "e"))
		}
		for name, text := range map[string]string{"a": "1", "here": "1", "sub/up": "1", "same": "1", "dir/b": "2", "big": string(randomBytes(treeFile))} {
			if content(t, r.master(dest, name)) != text {
				t.Errorf("%s: %s is not what was sent", dest, name)
			}
		}
		if st, err := os.Stat(r.master(dest, "a")); err != nil || st.Mode() != 0o751 {
			t.Errorf("%s: mode of a: %v, %v", dest, st, err)
		}
	}
	if got := listing(t, r.master()); strings.Contains(got, ".upload") {
		t.Errorf("left on the master: %s", got)
	}
}

func TestDirectoryUploadCompress(t *testing.T) {
	r := newRig(t)
	tree(t, r)
	for i, compress := range []string{`"gz"`, `"bz2"`, `util.Property("x", "gz")`, `None`} {
		dest := fmt.Sprint("x", i)
		o := r.run(with("DirectoryUpload", `workersrc="d", masterdest="`+dest+`", blocksize=65536, compress=`+compress))
		if got := listing(t, r.master(dest)); got != whole || content(t, r.master(dest, "big")) != string(randomBytes(treeFile)) {
			t.Errorf("%s: %s, %s %s", compress, got, o.results(), o.log("stdio", "e"))
		}
		if got := fmt.Sprint(r.sent[i].Args["compress"]); got != []string{"gz", "bz2", "gz", "<nil>"}[i] {
			t.Errorf("%s: sent %s", compress, got)
		}
	}
	if o := r.run(with("DirectoryUpload", `workersrc="d", masterdest="y", compress=util.Property("x", "zip")`)); o.results() != "upload=exception exception" {
		t.Errorf("zip: %s", o.results())
	}
}

func TestDirectoryUploadMaxsize(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "d", "f"), randomBytes(100_000))
	r.run(with("DirectoryUpload", `workersrc="d", masterdest="x"`))
	for maxsize, want := range map[string]string{"200_000": "f", "100_000": "", "0": ""} {
		os.RemoveAll(r.master("x"))
		o := r.run(with("DirectoryUpload", `workersrc="d", masterdest="x", maxsize=`+strings.ReplaceAll(maxsize, "_", "")))
		if got := listing(t, r.master()); got != strings.TrimSpace(map[string]string{"f": "x/ x/f"}[want]) || (want == "") != (o.results() == "upload=failure failure") {
			t.Errorf("%s: %s, %s", maxsize, got, o.results())
		}
	}
}

func TestDirectoryUploadBlocksize(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "d", "f"), nil)
	r.run(with("DirectoryUpload", `workersrc="d", masterdest="x"`))
	r.run(with("DirectoryUpload", `workersrc="d", masterdest="x", blocksize=7`))
	if a, b := r.sent[0].Args["blocksize"], r.sent[1].Args["blocksize"]; a != int64(16<<10) || b != int64(7) {
		t.Errorf("sent %v, %v", a, b)
	}
}

func TestDirectoryUploadURL(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "src", "f"), nil)
	checkLinks(t, r, "DirectoryUpload", `workersrc=lambda p: "src", masterdest="to/x"`, "x")
}

func TestDirectoryUploadFailures(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "d", "f"), nil)
	if err := os.Symlink("/etc/passwd", r.builddir("build", "d", "out")); err != nil {
		t.Fatal(err)
	}
	put(t, r.builddir("build", "e", "kind", "x"), nil)
	put(t, r.builddir("build", "e", "also"), nil)
	put(t, r.master("file"), nil)
	put(t, r.master("old", "kind"), []byte("a file"))
	before := listing(t, r.master())
	for args, want := range map[string]string{
		`workersrc="none", masterdest="x"`: "upload=failure failure",
		`workersrc="d", masterdest="x"`:    "upload=failure failure", // the link
		`workersrc="d", masterdest="old"`:  "upload=failure failure",
		`workersrc="e", masterdest="file"`: "upload=exception exception",
		`workersrc="e", masterdest="old"`:  "upload=exception exception", // a directory for a file
	} {
		o := r.run(with("DirectoryUpload", args))
		if o.results() != want || len(o.log("stdio", "e")+o.log("err.text", "t")) < 10 {
			t.Errorf("%s: %s; %q %q", args, o.results(), o.log("stdio", "e"), o.log("err.text", "t"))
		}
		if got := listing(t, r.master()); got != before {
			t.Errorf("%s: on the master: %s", args, got)
		}
	}
}

func TestMultipleFileUpload(t *testing.T) {
	r := newRig(t)
	tree(t, r)
	put(t, r.builddir("build", "one"), []byte("1"))
	o := r.run(with("MultipleFileUpload", `workersrcs=["one", util.Interpolate("d")], masterdest="x", blocksize=65536`))
	if got := listing(t, r.master("x")); got != "d/ d/"+strings.ReplaceAll(whole, " ", " d/")+" one" || o.results() != "upload=success success" {
		t.Errorf("%s: %s %s", got, o.results(), o.log("stdio", "e"))
	}
	if content(t, r.master("x", "d", "big")) != string(randomBytes(treeFile)) || o.steps[0].StateString != "uploaded files (2)" {
		t.Errorf("big is not what was sent, or %q", o.steps[0].StateString)
	}
	r.run(with("MultipleFileUpload", `workersrcs="one", masterdest="y"`))
	if got := listing(t, r.master("y")); got != "one" {
		t.Errorf("one without a list: %s", got)
	}
	for args, want := range map[string]string{
		`workersrcs=["none", "one"], masterdest="z"`: "upload=failure failure", `workersrcs=["/dev/null"], masterdest="z"`: "upload=failure failure",
		`workersrcs=["/"], masterdest="z"`: "upload=failure failure", `workersrcs=util.Property("x", []), masterdest="z"`: "upload=skipped success",
		`workersrcs=util.Property("x", [""]), masterdest="z"`: "upload=exception exception",
	} {
		if o := r.run(with("MultipleFileUpload", args)); o.results() != want || listing(t, r.master("z")) != "" {
			t.Errorf("%s: %s, %s", args, o.results(), listing(t, r.master("z")))
		}
	}
}

func TestMultipleFileUploadGlob(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a.log", "b.log", "c.txt", "sub/d.log"} {
		put(t, r.builddir("build", name), []byte(name))
	}
	for args, want := range map[string]string{
		`workersrcs=["*.log"], glob=True`: "a.log b.log", `workersrcs=["**/*.log", "c*"], glob=True`: "a.log b.log c.txt d.log",
		`workersrcs=["*.none"], glob=True`: "", `workersrcs=["*.log"]`: "",
	} {
		os.RemoveAll(r.master("x"))
		o := r.run(with("MultipleFileUpload", `masterdest="x", `+args))
		if got := listing(t, r.master("x")); got != want {
			t.Errorf("%s: %s, %s", args, got, o.results())
		}
		if result := o.results(); want == "" && (result == "upload=skipped success") != strings.Contains(args, "glob") {
			t.Errorf("%s: %s", args, result)
		}
	}
}

func TestMultipleFileUploadOptions(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "d", "f"), randomBytes(5000))
	put(t, r.builddir("build", "one"), []byte("12345"))
	then := time.Unix(1234567890, 0)
	if err := os.Chtimes(r.builddir("build", "one"), then, then); err != nil {
		t.Fatal(err)
	}
	o := r.run(with("MultipleFileUpload", `workersrcs=["d", "one"], masterdest="x", blocksize=77, mode=0o600, compress="gz", keepstamp=True`))
	st, err := os.Stat(r.master("x", "one"))
	if err != nil || st.Mode() != 0o600 || !st.ModTime().Equal(then) {
		t.Errorf("%v, %v; %s", st, err, o.results())
	}
	var sent []string
	for _, c := range r.sent {
		if c.Name != "stat" {
			sent = append(sent, fmt.Sprintln(c.Name, c.Args["blocksize"], c.Args["compress"], c.Args["keepstamp"]))
		}
	}
	if got := strings.Join(strings.Fields(strings.Join(sent, "")), " "); got != "upload_directory 77 gz <nil> upload_file 77 <nil> true" {
		t.Errorf("sent %s", got)
	}
	for maxsize, want := range map[string]string{"5": "upload=success success", "4": "upload=failure failure"} {
		if o := r.run(with("MultipleFileUpload", `workersrcs=["one"], masterdest="x", maxsize=`+maxsize)); o.results() != want {
			t.Errorf("maxsize %s: %s", maxsize, o.results())
		}
	}
}

func TestMultipleFileUploadURL(t *testing.T) {
	r := newRig(t)
	put(t, r.builddir("build", "src"), nil)
	checkLinks(t, r, "MultipleFileUpload", `workersrcs=lambda p: ["src"], masterdest="to/x"`, "x")
}

func TestFileDownload(t *testing.T) {
	r := newRig(t)
	big := randomBytes(20<<20 + 1)
	put(t, r.master("some", "big"), big)
	put(t, r.master("empty"), nil)
	for src, want := range map[string]string{"some/big": string(big), "empty": "", r.master("some", "big"): string(big)} {
		o := r.run(with("FileDownload", `mastersrc=util.Interpolate("`+src+`"), workerdest="to/x", blocksize=65536`))
		if content(t, r.builddir("build", "to", "x")) != want || o.results() != "download=success success" || o.steps[0].StateString != "downloaded to x" {
			t.Errorf("%s: %s, %q", src, o.results(), o.steps[0].StateString)
		}
	}
	for args, want := range map[string]string{
		`mastersrc="none", workerdest="x"`: "download=failure failure", `mastersrc="some", workerdest="x"`: "download=failure failure",
		`mastersrc="/dev/zero", workerdest="x"`: "download=failure failure", `mastersrc="empty", workerdest="to"`: "download=failure failure",
		`mastersrc="empty", workerdest=util.Interpolate("")`: "download=exception exception",
	} {
		o := r.run(with("FileDownload", args))
		if o.results() != want || len(o.log("stdio", "e")+o.log("err.text", "t")) < 10 {
			t.Errorf("%s: %s; %q %q", args, o.results(), o.log("stdio", "e"), o.log("err.text", "t"))
		}
	}
}

// checkDownload observes the arguments that all downloads share.
func checkDownload(t *testing.T, r *rig, class, name, args string, size int) {
	t.Helper()
	for more, want := range map[string]string{
		`workerdest="x"`: "build/x", `workerdest=util.Interpolate("%(prop:workername)s/x")`: "build/w/x",
		`workerdest="x", workdir="else"`: "else/x", `workerdest="` + r.there + `/x"`: "../x",
	} {
		r.run(with(class, args+more))
		if got := content(t, r.builddir(want)); len(got) != size {
			t.Errorf("%s: %q at %s", more, got, want)
		}
	}
	for maxsize, ok := range map[string]bool{"None": true, fmt.Sprint(size): true, fmt.Sprint(size - 1): false, `util.Property("n", 0)`: false} {
		o := r.run(with(class, args+`workerdest="m", maxsize=`+maxsize))
		if (o.results() == name+"=success success") != ok || (content(t, r.builddir("build", "m")) == "(none)") == ok {
			t.Errorf("maxsize %s: %s %s", maxsize, o.results(), o.log("stdio", "e"))
		}
		os.Remove(r.builddir("build", "m"))
	}
	for more, want := range map[string]any{"": int64(16 << 10), ", blocksize=3": int64(3)} {
		r.run(with(class, args+`workerdest="n"`+more))
		if c := r.sent[len(r.sent)-1]; c.Args["blocksize"] != want || c.Args["maxsize"] != nil || len(content(t, r.builddir("build", "n"))) != size {
			t.Errorf("%s: sent %v", more, c.Args)
		}
	}
	r.run(with(class, args+`workerdest="p", mode=0o750`))
	if st, err := os.Stat(r.builddir("build", "p")); err != nil || st.Mode() != 0o750 {
		t.Errorf("mode: %v, %v", st, err)
	}
}

func TestFileDownloadOptions(t *testing.T) {
	r := newRig(t)
	put(t, r.master("f"), []byte("12345"))
	checkDownload(t, r, "FileDownload", "download", `mastersrc="f", `, 5)
}

func TestStringDownload(t *testing.T) {
	r := newRig(t)
	o := r.run(with("StringDownload", `util.Interpolate("grüezi %(prop:workername)s"), workerdest="x"`))
	if got := content(t, r.builddir("build", "x")); got != "grüezi w" || o.results() != "string_download=success success" {
		t.Errorf("got %q, %s", got, o.results())
	}
	checkDownload(t, r, "StringDownload", "string_download", `s="12345", `, 5)
}

func TestJSONStringDownload(t *testing.T) {
	r := newRig(t)
	o := r.run(with("JSONStringDownload", `o={"a": [1, None, "<ü>"], "w": util.Property("workername")}, workerdest="x"`))
	if got := content(t, r.builddir("build", "x")); got != `{"a":[1,null,"<ü>"],"w":"w"}` || o.results() != "json_download=success success" {
		t.Errorf("got %s, %s", got, o.results())
	}
	checkDownload(t, r, "JSONStringDownload", "json_download", `o=[1, 2], `, 5)
}

func TestJSONPropertiesDownload(t *testing.T) {
	r := newRig(t)
	o := r.run(`x = [steps.SetProperty("p", {"a": 1}), steps.JSONPropertiesDownload(workerdest="x")]`)
	var got struct {
		Properties   map[string]any
		SourceStamps []map[string]any
	}
	text := content(t, r.builddir("build", "x"))
	if err := json.Unmarshal([]byte(text), &got); err != nil || o.results() != "SetProperty=success json_properties_download=success success" {
		t.Fatalf("%s: %v %s", text, err, o.results())
	}
	if len(got.SourceStamps) != 1 || got.SourceStamps[0]["ssid"] == nil || got.Properties["workername"] != "w" ||
		!cmp.Equal(got.Properties["p"], map[string]any{"a": 1.0}) {
		t.Errorf("got %s", text)
	}
	for maxsize, want := range map[string]string{"10": "failure", "100000": "success"} {
		o = r.run(with("JSONPropertiesDownload", `workerdest="m", blocksize=7, mode=0o750, workdir="else", maxsize=`+maxsize))
		if st, err := os.Stat(r.builddir("else", "m")); !strings.HasPrefix(o.results(), "json_properties_download="+want) ||
			(err == nil) != (want == "success") || err == nil && st.Mode() != 0o750 {
			t.Errorf("maxsize %s: %s, %v", maxsize, o.results(), err)
		}
		os.RemoveAll(r.builddir("else"))
	}
	if a, b := r.sent[0].Args["blocksize"], r.sent[len(r.sent)-1].Args["blocksize"]; a != int64(16<<10) || b != int64(7) {
		t.Errorf("sent blocksize %v, %v", a, b)
	}
}

// archive makes a tar.
func archive(t testing.TB, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, "text")
		}
	}
	w.Close()
	return b.Bytes()
}

func TestUnpackRefuses(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink}
	}
	hard := func(name, to string) tar.Header { return tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeLink} }
	dir := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
	for name, members := range map[string][]tar.Header{
		"dotdot": {file("../x")}, "inner dotdot": {file("a/../../x")}, "harmless dotdot": {file("a/../x")}, "absolute": {file("/tmp/x")},
		"absolute directory": {dir("/tmp")}, "dotdot directory": {dir("..")}, "file of no name": {file(".")},
		"fifo": {{Name: "x", Typeflag: tar.TypeFifo}}, "device": {{Name: "x", Typeflag: tar.TypeChar}}, "block": {{Name: "x", Typeflag: tar.TypeBlock}},
		"absolute link": {link("x", "/etc/passwd")}, "link up": {link("x", "../y")}, "link up from below": {dir("a"), link("a/x", "../../y")},
		"link to nothing": {link("x", "")}, "link down and up": {dir("a"), link("x", "a/../../y")},
		"through a link": {dir("a"), link("b", "a"), file("b/x")}, "through a link to dot": {link("b", "."), link("b/x", "../y")},
		"by two links":  {dir("x"), link("x/y", "."), link("z", "x/y/../..")},
		"hard link out": {hard("x", "../y")}, "hard link abs": {hard("x", "/etc/passwd")}, "hard link to nothing": {hard("x", "y")},
		"hard link to a link": {link("l", "a"), hard("x", "l")}, "hard link to a directory": {dir("a"), hard("x", "a")},
		"a file is a directory": {file("a"), file("a/b")}, "a directory is a file": {file("a/b"), file("a")}, "a directory is a link": {dir("a"), link("a", "b")},
	} {
		top := t.TempDir()
		root := openRoot(t, filepath.Join(top, "in"))
		err := unpack(root, "", bytes.NewReader(archive(t, members...)))
		var bad *badArchive
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Fields(listing(t, top)); len(got) > 0 && got[0] != "in/" || strings.Contains(listing(t, top), " y") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestUnpackTakes(t *testing.T) {
	dir := t.TempDir()
	data := archive(t,
		tar.Header{Name: "/", Typeflag: tar.TypeDir, Mode: 0o750}, tar.Header{Name: "./a/b/c", Typeflag: tar.TypeReg},
		tar.Header{Name: "a/b/c", Typeflag: tar.TypeReg, Mode: 0o4755}, tar.Header{Name: "a/l", Typeflag: tar.TypeSymlink, Linkname: "../a/b/c"},
		tar.Header{Name: "a/h", Typeflag: tar.TypeLink, Linkname: "a/b/c"}, tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o050},
		tar.Header{Name: "..x", Typeflag: tar.TypeReg})
	if err := unpack(openRoot(t, dir), "", bytes.NewReader(append(data, make([]byte, 10_000)...))); err != nil {
		t.Fatal(err)
	}
	if got := listing(t, dir); got != "..x a/ a/b/ a/b/c a/h a/l" || content(t, filepath.Join(dir, "a", "l")) != "text" {
		t.Errorf("got %s", got)
	}
	for name, want := range map[string]os.FileMode{".": 0o750 | os.ModeDir, "a/b/c": 0o755, "a": 0o750 | os.ModeDir} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

// A truncated or damaged archive is refused, wherever it is cut in a file.
func TestUnpackDamaged(t *testing.T) {
	data := archive(t, tar.Header{Name: "a", Typeflag: tar.TypeReg})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(data)
	w.Close()
	flipped := bytes.Clone(z.Bytes())
	flipped[len(flipped)-6] ^= 1 // the checksum
	for name, c := range map[string]struct {
		compress string
		data     []byte
	}{
		"cut in the header": {"", data[:100]}, "cut in the file": {"", data[:514]}, "cut gz": {"gz", z.Bytes()[:z.Len()-9]},
		"checksum": {"gz", flipped}, "no gz": {"gz", data}, "no bz2": {"bz2", data}, "no tar": {"", bytes.Repeat([]byte("x"), 1024)},
	} {
		var bad *badArchive
		if err := unpack(openRoot(t, t.TempDir()), c.compress, bytes.NewReader(c.data)); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a worker sends, nothing appears outside of the directory.
func FuzzUnpack(f *testing.F) {
	for _, h := range []tar.Header{{Name: "a/b", Typeflag: tar.TypeReg}, {Name: "../x", Typeflag: tar.TypeReg},
		{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "a"}} {
		f.Add(archive(f, h))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		unpack(openRoot(t, filepath.Join(top, "in")), "", bytes.NewReader(data))
		entries, err := os.ReadDir(top)
		if err != nil || len(entries) != 1 {
			t.Errorf("outside: %v, %v", entries, err)
		}
		filepath.WalkDir(filepath.Join(top, "in"), func(p string, d os.DirEntry, err error) error {
			if err != nil || d.Type()&os.ModeSymlink == 0 {
				return err
			}
			if real, err := filepath.EvalSymlinks(p); err == nil && !strings.HasPrefix(real, top) {
				t.Errorf("%s leads to %s", p, real)
			}
			return nil
		})
	})
}
