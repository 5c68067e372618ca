package util

import (
	"testing"

	"buildstar/config/prop"
)

// called is what c['revlink'] is asked with.
type called struct {
	*prop.Map
	args []any
}

func (c called) Arguments() []any { return c.args }

func TestRevlinkMatch(t *testing.T) {
	tests := []struct {
		args, repository string
		want             any
	}{
		{`"https://x/(.*)", r"https://x/\1/commit/%s"`, "https://x/a/b", "https://x/a/b/commit/r1"},
		{`repo_urls=["no(?P<host>)()", "git@(?P<host>[^:]*):(.*)"], revlink=r"https://\g<host>/\g<2>?%%=\\%s#\1"`, "git@h:p", `https://h/p?%=\r1#h`},
		{`["a", "ab"], "%s"`, "abc", "r1"},
		{`["b"], "%s"`, "abc", nil}, // the beginning must match
		{`["a|b"], "%s"`, "xb", nil},
		{`["(a)?b"], r"<\1>%s"`, "b", "<>r1"},
	}
	for _, tt := range tests {
		m := value[prop.Renderable](t, "x = util.RevlinkMatch("+tt.args+")")
		got, err := m.Render(t.Context(), called{&prop.Map{}, []any{"r1", tt.repository}})
		if err != nil {
			t.Error(err)
		}
		equal(t, tt.args+" of "+tt.repository, got, tt.want)
	}
	m := value[prop.Renderable](t, `x = util.RevlinkMatch("a", "%s")`)
	if got, err := m.Render(t.Context(), sample); err == nil {
		t.Errorf("as a property of a build it is %v", got)
	}
}

func TestBadRevlinkMatch(t *testing.T) {
	testProblems(t, []badCall{
		{`util.RevlinkMatch("(", "%s")`, "bad-regex", "repo_urls", "missing closing )"},
		{`util.RevlinkMatch("a", "x")`, "bad-value", "revlink", "want %s once"},
		{`util.RevlinkMatch("a", "%s%s")`, "bad-value", "revlink", "2 times"},
		{`util.RevlinkMatch("a", "%d%s")`, "bad-value", "revlink", "% stands for nothing"},
		{`util.RevlinkMatch("a", "\\x%s")`, "bad-value", "revlink", `\ stands for nothing`},
		{`util.RevlinkMatch("(a)", r"\2%s")`, "bad-value", "revlink", `"(a)" has no group 2`},
		{`util.RevlinkMatch("(a)", r"\g<name>%s")`, "bad-value", "revlink", "has no group name"},
		{`util.RevlinkMatch([], "%s")`, "bad-value", "repo_urls", "it is empty"},
		{`util.RevlinkMatch(3, "%s")`, "wrong-type", "repo_urls", "want string or list of strings"},
	})
}
