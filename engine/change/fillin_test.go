package change

import (
	"context"
	"errors"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"github.com/google/go-cmp/cmp"
)

// a function as the configuration holds it.
type function func(args []any) (any, error)

func (f function) Render(_ context.Context, p prop.Props) (any, error) {
	return f(p.(prop.Arguments).Arguments())
}

func (f function) AppendCanonical(dst []byte) []byte { return dst }

func TestFillInCodebase(t *testing.T) {
	c := &config.Master{}
	var got []any
	if err := c.CodebaseGenerator.Set(function(func(args []any) (any, error) { got = args; return "lib", nil })); err != nil {
		t.Fatal(err)
	}
	in, noLink, err := Input{Author: "a", Repository: "r"}.FillIn(t.Context(), c)
	if err != nil || noLink != nil || in.Codebase == nil || *in.Codebase != "lib" {
		t.Errorf("filled in %+v, %v, %v", in, noLink, err)
	}
	if diff := cmp.Diff([]any{Input{Author: "a", Repository: "r"}.Dict()}, got); diff != "" {
		t.Errorf("called with %s", diff)
	}
	got = nil
	in, _, err = Input{Author: "a", Codebase: ptr("")}.FillIn(t.Context(), c)
	if err != nil || *in.Codebase != "" || got != nil {
		t.Errorf("a codebase that was told: %+v, %v; called with %v", in, err, got)
	}
	in, _, err = Input{Author: "a"}.FillIn(t.Context(), &config.Master{})
	if err != nil || *in.Codebase != "" {
		t.Errorf("without a function: %+v, %v", in, err)
	}
	broken := errors.New("broken")
	for _, f := range []function{func([]any) (any, error) { return nil, broken }, func([]any) (any, error) { return nil, nil }} {
		if err := c.CodebaseGenerator.Set(f); err != nil {
			t.Fatal(err)
		}
		if _, _, err := (Input{Author: "a"}).FillIn(t.Context(), c); err == nil {
			t.Error("a function that fails gives a codebase")
		}
	}
}

func TestFillInLink(t *testing.T) {
	c := &config.Master{}
	set := func(f function) {
		t.Helper()
		if err := c.RevLink.Set(f); err != nil {
			t.Fatal(err)
		}
	}
	link := func(in Input) string {
		t.Helper()
		in, noLink, err := in.FillIn(t.Context(), c)
		if noLink != nil || err != nil {
			t.Errorf("%+v: %v, %v", in, noLink, err)
		}
		return in.RevLink
	}
	known := Input{Revision: "abc", Repository: "https://github.com/o/r"}
	if got := link(known); got != "https://github.com/o/r/commit/abc" {
		t.Errorf("the default is %q", got)
	}
	set(func(args []any) (any, error) { return args[1].(string) + "@" + args[0].(string), nil })
	if got := link(known); got != "https://github.com/o/r@abc" {
		t.Errorf("the function's is %q", got)
	}
	for _, in := range []Input{{RevLink: "told", Revision: "abc", Repository: "r"}, {Repository: "r"}, {Revision: "abc"}} {
		if got := link(in); got != in.RevLink {
			t.Errorf("%+v: %q", in, got)
		}
	}
	set(func([]any) (any, error) { return nil, nil })
	if got := link(known); got != "" {
		t.Errorf("None is %q", got)
	}
	set(func([]any) (any, error) { return int64(3), nil })
	in, noLink, err := known.FillIn(t.Context(), c)
	if err != nil || noLink == nil || in.RevLink != "" {
		t.Errorf("a link that is no string: %+v, %v, %v", in, noLink, err)
	}
}

func TestWellKnown(t *testing.T) {
	tests := []struct{ repository, want string }{
		{"https://github.com/o/r", "https://github.com/o/r/commit/abc"},
		{"https://github.com/o/r.git", "https://github.com/o/r/commit/abc"},
		{"https://user:secret@github.com/o/r.git/", "https://github.com/o/r/commit/abc"},
		{"git://github.com/o/r.git", "https://github.com/o/r/commit/abc"},
		{"git@github.com:o/r.git", "https://github.com/o/r/commit/abc"},
		{"ssh://git@github.com:22/o/r.git", "https://github.com/o/r/commit/abc"},
		{"https://GitHub.com/o/r", "https://github.com/o/r/commit/abc"},
		{"git@gitlab.com:group/sub/r.git", "https://gitlab.com/group/sub/r/-/commit/abc"},
		{"https://bitbucket.org/o/r", "https://bitbucket.org/o/r/commits/abc"},
		{"https://git.code.sf.net/p/proj/code", "https://sourceforge.net/p/proj/code/ci/abc/"},
		{"ssh://me@hg.code.sf.net/p/proj/repo", "https://sourceforge.net/p/proj/repo/ci/abc/"},
		{"https://git.code.sf.net/u/proj/code", ""},
		{"https://github.com/o", ""},
		{"https://github.com/o/r/x", ""},
		{"https://github.com/../r", ""},
		{"https://github.com/o//r", ""},
		{"https://example.org/o/r", ""},
		{"https://github.com.example.org/o/r", ""},
		{"/srv/git/r.git", ""},
		{"C:r", ""},
		{"https://%zz/o/r", ""},
		{"", ""},
		{":", ""},
	}
	for _, tt := range tests {
		if got := wellKnown("abc", tt.repository); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.repository, got, tt.want)
		}
	}
	if got := wellKnown(`a"b/c`, "git@github.com:o/<r>"); got != "https://github.com/o/%3Cr%3E/commit/a%22b%2Fc" {
		t.Errorf("strange letters: %q", got)
	}
}
