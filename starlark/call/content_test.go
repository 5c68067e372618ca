package call_test

import (
	"bytes"
	"testing"
)

// content returns the encoding that the content hash of a node uses.
func content(t *testing.T, text string) []byte {
	t.Helper()
	return function(t, text).AppendCanonical(nil)
}

// A function is what it does: its syntax, the globals it reads, its free variables
// and defaults; not where it stands (docs/architecture.md section 5).
func TestContent(t *testing.T) {
	const base = `
limit = 3
names = {"a": ["x"]}
def helper(x):
    return x * limit
def f(props, extra = "e"):
    y = helper(2)
    if y > 1:
        return names["a"] + [extra, y]
    return None
`
	const use = "\nf"
	same := map[string]string{
		"itself":          base + use,
		"moved":           "\n\n# why\n" + base + "\n\n" + use,
		"comments":        base[:len(base)-1] + " # the end\n" + use,
		"other globals":   "other = 1\n" + base + "other = 2" + use,
		"parentheses":     replace(t, base, "x * limit", "(x * limit)") + use,
		"another line":    replace(t, base, `[extra, y]`, "[\n            extra, y]") + use,
		"a string's form": replace(t, base, `"a": ["x"]`, `'a': ['x']`) + use,
	}
	want := content(t, base+use)
	for name, text := range same {
		if !bytes.Equal(content(t, text), want) {
			t.Errorf("%s: the content differs", name)
		}
	}
	other := map[string]string{
		"a global":              replace(t, base, "limit = 3", "limit = 4") + use,
		"an inner value":        replace(t, base, `["x"]`, `["y"]`) + use,
		"a called function":     replace(t, base, "x * limit", "x + limit") + use,
		"a default":             replace(t, base, `extra = "e"`, `extra = "f"`) + use,
		"a constant":            replace(t, base, "y > 1", "y > 2") + use,
		"an operator":           replace(t, base, "y > 1", "y >= 1") + use,
		"else":                  replace(t, base, "    return None", "    else:\n        return None") + use,
		"a global changed late": base + "\nnames['a'] = []\n" + use,
		"1.0 is not 1":          replace(t, base, "limit = 3", "limit = 3.0") + use,
	}
	seen := map[string]string{string(want): "nothing"}
	for name, text := range other {
		got := string(content(t, text))
		if was, dup := seen[got]; dup {
			t.Errorf("%s: the content is that of %s", name, was)
		}
		seen[got] = name
	}
}

func replace(t *testing.T, s, old, with string) string {
	t.Helper()
	out := bytes.Replace([]byte(s), []byte(old), []byte(with), 1)
	if string(out) == s {
		t.Fatalf("%q is not in the text", old)
	}
	return string(out)
}

// Functions that look alike and differ.
func TestContentDiffers(t *testing.T) {
	pairs := [][2]string{
		{"lambda p: p[1:]", "lambda p: p[:1]"},
		{"lambda p: p[1:2]", "lambda p: p[1::2]"},
		{"lambda *p: p", "lambda *p, **q: p"},
		{"lambda p: (p, 1)", "lambda p: [p, 1]"},
		{"lambda p: [p for p in p]", "lambda p: {p: p for p in p}"},
		{"lambda p: not p", "lambda p: -p"},
		{"lambda p: 'a'", "lambda p: b'a'"},
		{"lambda p: p.a", "lambda p: p.b"},
		{"def f(p):\n    for x in p:\n        break\nf", "def f(p):\n    for x in p:\n        continue\nf"},
		{"def f(p):\n    x = 1\n    x += 1\nf", "def f(p):\n    x = 1\n    x -= 1\nf"},
		{"def f(n):\n    return lambda p: n\nf(1)", "def f(n):\n    return lambda p: n\nf(2)"},
		{"util.renderer(lambda *p: 1)", "util.Transform(lambda *p: 1)"},
		{"util.Transform(len, 'a')", "util.Transform(len, 'b')"},
		{"util.Transform(len, a = 'a')", "util.Transform(len, b = 'a')"},
		{"util.Transform(len, 'a')", "util.Transform(str, 'a')"},
		{"x = struct(a = 1)\nlambda p: x.a", "x = struct(a = 2)\nlambda p: x.a"},
		{"x = (1,)\nlambda p: x", "x = [1]\nlambda p: x"},
		{"x = set([1])\nlambda p: x", "x = set([2])\nlambda p: x"},
		{"x = range(3)\nlambda p: x", "x = range(4)\nlambda p: x"},
		{"x = util.Property('a')\nlambda p: x", "x = util.Property('b')\nlambda p: x"},
		{"x = worker.W('a')\nlambda p: x.name", "x = worker.W('b')\nlambda p: x.name"},
	}
	for _, p := range pairs {
		if bytes.Equal(content(t, p[0]), content(t, p[1])) {
			t.Errorf("the content is equal:\n%s\n%s", p[0], p[1])
		}
		if !bytes.Equal(content(t, p[0]), content(t, "\n"+p[0])) {
			t.Errorf("the content depends on the place:\n%s", p[0])
		}
	}
}

// Functions and values that refer to themselves have a content too.
func TestContentOfCycles(t *testing.T) {
	for _, text := range []string{
		"def f(p):\n    return f(p)\nf",
		"def f(p):\n    return g(p)\ndef g(p):\n    return f(p)\nf",
		"x = []\nx.append(x)\nlambda p: x",
		"x = []\nfor i in range(60): x = [x, x]\nlambda p: x",
		"x = []\ndef f(p):\n    return x\nx.append(f)\nf",
		"x = []\ndef f(p):\n    return x\nx.append(worker.W('v', f = f))\nf",
	} {
		if !bytes.Equal(content(t, text), content(t, "# moved\n"+text)) {
			t.Errorf("the content depends on the place:\n%s", text)
		}
	}
}
