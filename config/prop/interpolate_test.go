package prop

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func str(s string) *string { return &s }

// sample is what the tests of this package render with.
var sample = &Map{
	Values: map[string]any{
		"branch": "main", "empty": "", "none": nil, "zero": int64(0), "jobs": int64(4), "no": false, "yes": true,
		"ratio": 0.5, "list": []any{"a", int64(1), true}, "dict": map[string]any{"k": "v"}, "got-rev.x": "abc",
		"neg": int64(-3), "word": "it's",
	},
	Stamps: map[string]SourceStamp{
		"":    {Repository: "git://x/y", Project: "p", Branch: str("dev"), Revision: str("1f2e")},
		"lib": {Codebase: "lib", Repository: "git://x/lib", Changes: []any{int64(3)}},
	},
	Facts:   map[string]any{"os_id": "debian", "numcpus": int64(2), "os_version_codename": nil},
	Secrets: map[string]string{"deploy:key": "never seen", "token": "t0k"},
	URL:     "http://ci/builders/1/builds/2",
}

func TestInterpolateDictionary(t *testing.T) {
	tests := []struct{ format, want string }{
		{"", ""},
		{"plain", "plain"},
		{"100%%", "100%"},
		{"%(prop:branch)s", "main"},
		{"a %(prop:branch)s b %(prop:jobs)d c", "a main b 4 c"},
		{"%(prop:got-rev.x)s", "abc"},
		{"%(prop:jobs)s %(prop:ratio)s %(prop:yes)s", "4 0.5 True"},
		{"%(prop:list)s", "['a', 1, True]"},
		{"%(prop:dict)r", "{'k': 'v'}"},
		{"%(prop:word)r", `"it's"`},
		{"%(prop:none)s|%(prop:missing)s", "|"},
		{"[%(prop:branch)8s][%(prop:branch)-8s][%(prop:branch).2s]", "[    main][main    ][ma]"},
		{"%(prop:jobs)03d %(prop:jobs)+d %(prop:neg)x %(prop:jobs)#x", "004 +4 -3 0x4"},
		{"%(prop:ratio).3f %(prop:ratio)e %(prop:ratio)g", "0.500 5.000000e-01 0.5"},
		{"%(prop:branch)%", "%"},

		// "-": the key is missing.
		{"%(prop:missing:-x)s", "x"},
		{"%(prop:branch:-x)s", "main"},
		{"%(prop:empty:-x)s", ""},
		{"%(prop:none:-x)s", ""},
		{"%(prop:zero:-x)s", "0"},
		{"%(prop:missing:-a:b:c)s", "a:b:c"},
		{"%(prop:missing:-)s", ""},
		// "~": missing or falsy.
		{"%(prop:missing:~x)s%(prop:empty:~x)s%(prop:none:~x)s%(prop:zero:~x)s%(prop:no:~x)s", "xxxxx"},
		{"%(prop:branch:~x)s", "main"},
		// "+": present.
		{"%(prop:empty:+x)s|%(prop:missing:+x)s", "x|"},
		// "?": present or not; any delimiter.
		{"%(prop:empty:?|yes|no)s %(prop:missing:?|yes|no)s", "yes no"},
		{"%(prop:empty:?:yes:no)s %(prop:missing:?日yes日no)s", "yes no"},
		{"%(prop:missing:?|a|b|c)s", "b|c"},
		{"%(prop:branch:?||no)s", ""},
		// "#?": truthy or not.
		{"%(prop:empty:#?|yes|no)s %(prop:jobs:#?|yes|no)s %(prop:missing:#?|yes|no)s", "no yes no"},

		// Texts are Interpolate strings.
		{"%(prop:missing:-%(prop:branch)s)s", "main"},
		{"%(prop:missing:-%(prop:gone:-%(src::branch)s!)s)s", "dev!"},
		{"%(prop:branch:?|%(prop:gone:?|1|2)s|%(kw:b)s)s", "2"},
		{"%(prop:missing:?|1|%(prop:branch:+%(prop:jobs)03d)s)s", "004"},
		{"%(prop:missing:-50%%)s", "50%"},
		{"%(prop:missing:-f(x))s", "f(x)"},

		{"%(src::branch)s %(src::revision)s %(src::repository)s %(src::project)s", "dev 1f2e git://x/y p"},
		{"%(src:lib:branch)s|%(src:lib:repository)s|%(src:lib:codebase)s|%(src:lib:changes)s", "|git://x/lib|lib|[3]"},
		{"%(src:lib:branch:-b)s|%(src:lib:branch:~b)s|%(src:nowhere:branch:-b)s", "|b|b"},
		{"%(worker:os_id)s %(worker:numcpus)d %(worker:os_version_codename)s %(worker:gone:-?)s", "debian 2  ?"},
		{"%(secret:token)s", "t0k"},
		{"%(kw:a)s %(kw:b)s %(kw:gone:-x)s%(kw:gone)s", "7 main x"},
		{"%(kw:f)s %(kw:f:#?|t|f)s", "False f"},
	}
	kw := map[string]Renderable{"a": Const{int64(7)}, "b": &Property{Name: "branch"}, "f": Const{false}}
	for _, tt := range tests {
		in, err := Interpolate(tt.format, nil, kw)
		if err != nil {
			t.Errorf("%s: %v", tt.format, err)
			continue
		}
		if got, err := in.Render(t.Context(), sample); got != tt.want || err != nil {
			t.Errorf("%s: got %#v, %v; want %q", tt.format, got, err, tt.want)
		}
		if in.String() != tt.format {
			t.Errorf("%s: String is %s", tt.format, in)
		}
	}
}

func TestInterpolatePositional(t *testing.T) {
	branch, jobs := &Property{Name: "branch"}, &Property{Name: "jobs"}
	tests := []struct {
		format string
		args   []Renderable
		want   string
	}{
		{"%s", []Renderable{branch}, "main"},
		{"%s/%d%%", []Renderable{branch, jobs}, "main/4%"},
		{"%r %s", []Renderable{branch, &Property{Name: "missing"}}, "'main' None"},
		{"%05.1f|%-6s|", []Renderable{&Property{Name: "ratio"}, branch}, "000.5|main  |"},
		{"%*d|%-*s|%.*f", []Renderable{Const{int64(6)}, jobs, Const{int64(6)}, branch, Const{int64(2)}, Const{1.0}}, "     4|main  |1.00"},
		{"%*s|", []Renderable{Const{int64(-6)}, branch}, "main  |"},
		{"%s", []Renderable{List{branch, jobs}}, "['main', 4]"},
	}
	for _, tt := range tests {
		in, err := Interpolate(tt.format, tt.args, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.format, err)
			continue
		}
		if got, err := in.Render(t.Context(), sample); got != tt.want || err != nil {
			t.Errorf("%s: got %#v, %v; want %q", tt.format, got, err, tt.want)
		}
	}
}

func TestInterpolateSyntaxErrors(t *testing.T) {
	one := []Renderable{Const{"x"}}
	tests := []struct {
		format string
		args   []Renderable
		char   int
		want   string
	}{
		{"%(branch)s", nil, 3, `"branch" has no selector: write %(prop:branch)s`},
		{"x%(prob:a)s", nil, 4, `"prob" is no selector`},
		{"%(prop:a b)s", nil, 9, `' ' cannot be in a name`},
		{"%(kw:é)s", nil, 6, `'é' cannot be in a name`},
		{"%(src:a/b:branch)s", nil, 8, "cannot be in a codebase"},
		{"%(src:lib)s", nil, 10, "src needs a codebase"},
		{"%(src::brnach)s", nil, 8, `"brnach" is no attribute`},
		{"%(prop:a:x)s", nil, 10, "'x' is no action"},
		{"%(prop:a:)s", nil, 10, "nothing follows the colon"},
		{"%(prop:a:?)s", nil, 11, "a delimiter must follow"},
		{"%(prop:a:?(b(c)s", nil, 1, "never closed"},
		{"%(prop:a:?(b)(c)s", nil, 1, "never closed"},
		{"%(prop:a:?(b)(c))s", nil, 11, "'(' cannot be a delimiter"},
		{"%(prop:a:?|b)s", nil, 11, "must come twice"},
		{"%(prop:a:?|(b|c))s", nil, 11, "must come twice"},
		{"%(prop:a:-%(prop:b)s", nil, 1, "never closed"},
		{"é%(prop:a:-%(oops)s)s", nil, 14, `"oops" has no selector`},
		{"%(prop:a:?|%d|x)s", nil, 12, "%d has nothing to print"},
		{"100%", nil, 4, "not complete"},
		{"100% sure", nil, 4, "% s has nothing to print"},
		{"%(prop:a)", nil, 1, "not complete"},
		{"%(prop:a)y", nil, 1, `'y' is no conversion`},
		{"%(prop:a)99999s", nil, 1, "width is more than 10000"},
		{"%(prop:a).99999999999999999999s", nil, 1, "precision is more than 10000"},
		{"%(prop:a)*d", nil, 1, "* needs positional arguments"},
		{"%s", nil, 1, "%s has nothing to print"},
		{"%s %s", one, 6, "2 conversions and 1 arguments"},
		{"none", one, 5, "0 conversions and 1 arguments"},
		{"%(prop:a)s", one, 1, "cannot stand beside positional arguments"},
		{strings.Repeat("%(prop:a:-", 60) + strings.Repeat(")s", 60), nil, 511, "nest more than 50 deep"},
	}
	for _, tt := range tests {
		_, err := Interpolate(tt.format, tt.args, nil)
		var se *SyntaxError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.format, err, tt.want)
			continue
		}
		if n := len([]rune(se.Format[:se.Offset])) + 1; n != tt.char {
			t.Errorf("%s: at character %d, want %d: %v", tt.format, n, tt.char, err)
		}
	}
	if _, err := Interpolate("%s", one, map[string]Renderable{"a": Const{}}); err == nil || !strings.Contains(err.Error(), "not both") {
		t.Errorf("positional and keyword arguments: %v", err)
	}
}

func TestInterpolateRenderErrors(t *testing.T) {
	broken := renderFunc(func(context.Context, Props) (any, error) { return nil, errors.New("broken") })
	tests := []struct {
		format string
		args   []Renderable
		kw     map[string]Renderable
		want   string
	}{
		{"%(prop:branch)d", nil, nil, "%(prop:branch)d: %d wants a number, got string"},
		{"%(prop:missing)d", nil, nil, "%d wants a number, got string"},
		{"%(prop:ratio)x", nil, nil, "%x wants an int, got float"},
		{"%(secret:lost:-x)s", nil, nil, `there is no secret "lost"`},
		{"%(kw:a)s", nil, map[string]Renderable{"a": broken}, "%(kw:a)s: broken"},
		{"%s", []Renderable{broken}, nil, "argument 1 of Interpolate: broken"},
		{"%*d", []Renderable{Const{"a"}, Const{int64(1)}}, nil, "* wants an int, got string"},
		{"%*d", []Renderable{Const{int64(1 << 40)}, Const{int64(1)}}, nil, "* is more than 10000"},
		{"%(prop:missing:-%(prop:branch)d)s", nil, nil, "%(prop:branch)d: %d wants"},
	}
	for _, tt := range tests {
		in, err := Interpolate(tt.format, tt.args, tt.kw)
		if err != nil {
			t.Errorf("%s: %v", tt.format, err)
			continue
		}
		if v, err := in.Render(t.Context(), sample); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v; want %s", tt.format, v, err, tt.want)
		}
	}
}

// A conversion that does not fit must not print the secret it was given.
func TestInterpolateErrorHidesSecret(t *testing.T) {
	in, err := Interpolate("%(secret:token)d", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Render(t.Context(), sample); err == nil || strings.Contains(err.Error(), "t0k") {
		t.Errorf("got %v", err)
	}
}

type renderFunc func(context.Context, Props) (any, error)

func (f renderFunc) Render(ctx context.Context, p Props) (any, error) { return f(ctx, p) }
func (f renderFunc) AppendCanonical(dst []byte) []byte                { return dst }

func FuzzInterpolate(f *testing.F) {
	for _, s := range []string{"%(prop:branch:?|%(src::branch)s|b)s", "%-5.2f", "%%", "%(kw:a:#?(b)", "%(secret:x)*d", "%c%r%a", "%(prop:a:~é)08x"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, format, arg string) {
		for _, args := range [][]Renderable{nil, {Const{arg}}, {Const{int64(len(arg))}, Const{1.5}}} {
			in, err := Interpolate(format, args, nil)
			if err != nil {
				var se *SyntaxError
				if !errors.As(err, &se) || se.Offset < 0 || se.Offset > len(format) || err.Error() == "" {
					t.Fatalf("%q: %v", format, err)
				}
				continue
			}
			v, err := in.Render(context.Background(), sample)
			if err != nil {
				continue
			}
			again, err := Interpolate(strings.ReplaceAll(v.(string), "%", "%%"), nil, nil)
			if err != nil {
				t.Fatalf("%q rendered to %q, which does not parse when escaped: %v", format, v, err)
			}
			if w, err := again.Render(context.Background(), sample); w != v || err != nil {
				t.Fatalf("%q rendered to %q, and that to %q, %v", format, v, w, err)
			}
		}
	})
}

func BenchmarkInterpolate(b *testing.B) {
	in, err := Interpolate("%(prop:branch)s-%(src::revision:-none)s-%(prop:jobs)03d", nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Render(context.Background(), sample); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInterpolateParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Interpolate("%(prop:branch)s-%(src::revision:-none)s-%(prop:jobs:?|a|b)s", nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
