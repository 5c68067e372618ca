package changes

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"buildstar/state"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestReadLog(t *testing.T) {
	// A file can have the name of a commit that follows.
	in := "\x01" + hashA + "\x005\x00A <a>\x00C <c>\x00one\n\x00\x00\nM\x00f\x00A\x00\x01" + hashB + "\x00" +
		"\x01" + hashB + "\x00-1\x00B <b>\x00C <c>\x00\x00\x00"
	got, err := readLog(strings.NewReader(in))
	want := []commit{
		{hashA, 5000, []byte("A <a>"), []byte("C <c>"), []byte("one\n"), [][]byte{[]byte("f"), []byte("\x01" + hashB)}},
		{hashB, 0, []byte("B <b>"), []byte("C <c>"), []byte{}, nil},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"\x01abc\x00", "M\x00f\x00", "\x01" + hashA + "\x005\x00a\x00c\x00m\x00\x00what\x00f", "\x01" + hashA + "\x005\x00a\x00c\x00m\x00\x00M\x00"} {
		if got, err := readLog(strings.NewReader(bad)); err == nil {
			t.Errorf("%q gives %+v", bad, got)
		}
	}
}

func FuzzReadLog(f *testing.F) {
	f.Add([]byte("\x01" + hashA + "\x005\x00A <a>\x00C <c>\x00one\n\x00\x00\nM\x00f\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		commits, err := readLog(bytes.NewReader(in))
		if err != nil {
			return
		}
		for _, c := range commits {
			if len(c.hash) < 40 || c.when < 0 {
				t.Errorf("%+v", c)
			}
			for _, f := range c.files {
				if len(f) == 0 {
					t.Error("a file has no name")
				}
			}
		}
	})
}

func TestTimestamp(t *testing.T) {
	for in, want := range map[string]state.Time{"0": 0, "1": 1000, "253402300799": 253402300799000, "253402300800": 0, "-5": 0, "": 0, "x": 0} {
		if got := timestamp(in); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestReadRefs(t *testing.T) {
	in := "ref: refs/heads/main\tHEAD\n" + hashA + "\tHEAD\n" + hashA + "\trefs/heads/main\n" +
		hashA + "\trefs/tags/v1\n" + hashB + "\trefs/tags/v1^{}\n"
	refs, def, err := readRefs([]byte(in))
	if want := map[string]string{"refs/heads/main": hashA, "refs/tags/v1": hashB}; err != nil || def != "refs/heads/main" || !reflect.DeepEqual(refs, want) {
		t.Errorf("got %v, %q, %v", refs, def, err)
	}
	if refs, def, err := readRefs(nil); len(refs) != 0 || def != "" || err != nil {
		t.Errorf("nothing: %v, %q, %v", refs, def, err)
	}
	for _, bad := range []string{"warning: what\n", hashA + " refs/heads/main\n", "ABC\trefs/heads/main\n"} {
		if refs, _, err := readRefs([]byte(bad)); err == nil {
			t.Errorf("%q gives %v", bad, refs)
		}
	}
}

func FuzzReadRefs(f *testing.F) {
	f.Add([]byte("ref: refs/heads/main\tHEAD\n" + hashA + "\tHEAD\n" + hashB + "\trefs/tags/v1^{}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		refs, _, err := readRefs(in)
		for ref, at := range refs {
			if err == nil && (ref == "HEAD" || len(at) < 40) {
				t.Errorf("%q is at %q", ref, at)
			}
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add("refs/heads/caf\xe9")
	f.Fuzz(func(t *testing.T, ref string) {
		if strings.Contains(ref, ":") {
			return // no ref has one
		}
		if got := unkey(key(ref)); got != ref {
			t.Errorf("%q became %q", ref, got)
		}
	})
}

func TestDecoding(t *testing.T) {
	for _, name := range []string{"utf-8", "utf8", "UTF-8", "latin-1", "iso-8859-15", "cp1252", "ascii", "euc-jp", "gbk"} {
		if _, err := decoding(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := decoding("klingon"); err == nil {
		t.Error("there is an encoding klingon")
	}
}

func TestFolder(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"https://example.org/a.git", "https://example.org/a-git", "..", "", "/", strings.Repeat("x", 400), strings.Repeat("x", 401), "é"} {
		dir := folder(name)
		if other, ok := seen[dir]; ok || len(dir) > 60 || strings.ContainsAny(dir, "/\\ ") || strings.HasPrefix(dir, ".") {
			t.Errorf("%q has the folder %q, as %q", name, dir, other)
		}
		seen[dir] = name
	}
}
