package util

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"buildstar/engine/sched"
)

// field evaluates a parameter and returns it as a form shows it, as JSON says.
func field(t *testing.T, src string) map[string]any {
	t.Helper()
	data, err := json.Marshal(value[*sched.Parameter](t, "x = "+src).Field(""))
	if err != nil {
		t.Fatal(err)
	}
	var f map[string]any
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// read evaluates a parameter named "p" and reads it from what was posted.
func read(t *testing.T, src string, posted any) any {
	t.Helper()
	fields := map[string]any{"p": posted}
	if posted == nil {
		fields = nil
	}
	v, err := value[*sched.Parameter](t, "x = "+src).Read(fields, "")
	if err != nil {
		return err
	}
	return v
}

// Every class with these arguments does the same with them.
func TestParameterCommonArguments(t *testing.T) {
	for _, class := range []string{"StringParameter", "TextParameter", "IntParameter", "BooleanParameter", "FixedParameter", "UserNameParameter", "ChoiceStringParameter", "CodebaseParameter"} {
		more := ""
		if class == "ChoiceStringParameter" {
			more = `, choices=["a"]`
		}
		call := func(args string) map[string]any { return field(t, "util."+class+`("p"`+args+more+")") }
		plain := call("")
		for args, want := range map[string]map[string]any{
			"":                          {"name": "p", "fullName": "p", "tooltip": ""},
			`, label="L"`:               {"label": "L", "tablabel": "L"},
			`, label="L", tablabel="T"`: {"label": "L", "tablabel": "T"},
			`, tablabel="T"`:            {"label": plain["label"], "tablabel": "T"},
			`, label=""`:                {"label": "", "tablabel": ""},
			`, label=None`:              {"label": map[bool]string{true: "Codebase: p", false: "p"}[class == "CodebaseParameter"]},
			`, hide=True`:               {"hide": true},
			`, hide=False`:              {"hide": false},
			`, tooltip="tip"`:           {"tooltip": "tip"},
		} {
			got := call(args)
			for k, v := range want {
				if !reflect.DeepEqual(got[k], v) {
					t.Errorf("%s(%s): %s is %#v, want %#v", class, args, k, got[k], v)
				}
			}
		}
		if class != "UserNameParameter" && class != "CodebaseParameter" && plain["label"] != "p" {
			t.Errorf("%s: the default label is %v", class, plain["label"])
		}
		if plain["hide"] != (class == "FixedParameter") {
			t.Errorf("%s: hide is %v", class, plain["hide"])
		}
	}
}

// The arguments of parameters that a person fills in.
func TestParameterAskedArguments(t *testing.T) {
	for class, v := range map[string]struct {
		more   string
		posted any
	}{
		"StringParameter": {"", "12"}, "TextParameter": {"", "12"}, "IntParameter": {"", int64(12)},
		"UserNameParameter": {", need_email=False", "12"}, "ChoiceStringParameter": {`, choices=["12", "a"], default="a"`, "12"},
	} {
		call := func(args string) string { return "util." + class + `("p"` + v.more + args + ")" }
		equal(t, class+" regex in the form", field(t, call(`, regex="1"`))["regex"], any("1"))
		equal(t, class+" regex that matches", read(t, call(`, regex="1"`), v.posted), v.posted)
		equal(t, class+" regex that does not", fmt.Sprint(read(t, call(`, regex="2"`), v.posted)), `"12" does not match the pattern 2`)
		equal(t, class+" required in the form", field(t, call(`, required=True`))["required"], any(true))
		equal(t, class+" required", fmt.Sprint(read(t, call(`, required=True, label="L"`), "")), `"L" is needed`)
		equal(t, class+" maxsize in the form", field(t, call(`, maxsize=1`))["maxsize"], any(1.0))
		equal(t, class+" maxsize", fmt.Sprint(read(t, call(`, maxsize=1`), v.posted)), "2 characters are too many, at most 1 are possible")
		equal(t, class+" multiple in the form", field(t, call(`, multiple=True`))["multiple"], any(true))
		equal(t, class+" multiple", read(t, call(`, multiple=True`), []any{v.posted, v.posted}), any([]any{v.posted, v.posted}))
		equal(t, class+" autopopulate", field(t, call(`, autopopulate={"a": {"x": 1}}`))["autopopulate"], any(map[string]any{"a": map[string]any{"x": 1.0}}))
		testProblems(t, []badCall{
			{call(`, regex="("`), "bad-regex", "regex", "missing closing )"},
			{call(`, regex="(?=x)"`), "bad-regex", "regex", "look-around"},
			{call(`, maxsize=0`), "bad-value", "maxsize", "at least 1"},
			{call(`, autopopulate=[]`), "wrong-type", "autopopulate", "want dict"},
			{call(`, debug=True`), "not-supported", "debug", "not supported yet"},
			{strings.Replace(call(""), `"p"`, `""`, 1), "bad-name", "name", "empty"},
			{strings.Replace(call(""), `"p"`, `"builderid"`, 1), "bad-name", "name", "reserved"},
			{strings.Replace(call(""), `"p"`, `"owner"`, 1), "bad-name", "name", "reserved"},
		})
	}
}

func TestStringParameter(t *testing.T) {
	equal(t, "type", field(t, `util.StringParameter("p")`)["type"], any("text"))
	equal(t, "size", field(t, `util.StringParameter("p", size=80)`)["size"], any(80.0))
	equal(t, "default size", field(t, `util.StringParameter("p")`)["size"], any(10.0))
	equal(t, "default in the form", field(t, `util.StringParameter("p", default="d")`)["default"], any("d"))
	equal(t, "default", read(t, `util.StringParameter("p", default="d")`, " "), any("d"))
	equal(t, "no default", read(t, `util.StringParameter("p")`, nil), any(""))
	equal(t, "defaults", read(t, `util.StringParameter("p", multiple=True, default=["a", "b"])`, nil), any([]any{"a", "b"}))
	equal(t, "one default of several", read(t, `util.StringParameter("p", multiple=True, default="a")`, nil), any([]any{"a"}))
	equal(t, "label and pattern by position", field(t, `util.StringParameter("p", "L", "T", "x")`)["regex"], any("x"))
	testProblems(t, []badCall{
		{`util.StringParameter("p", default=3)`, "wrong-type", "default", "want string, got int 3"},
		{`util.StringParameter("p", default=["a"])`, "wrong-type", "default", "want string, got list"},
		{`util.StringParameter("p", multiple=True, default=["a", 1])`, "wrong-type", "default", "want string"},
		{`util.StringParameter("p", size=0)`, "bad-value", "size", "at least 1"},
		{`util.StringParameter()`, "missing-parameter", "name", "required"},
	})
}

func TestTextParameter(t *testing.T) {
	f := field(t, `util.TextParameter("p", size=5, cols=60, rows=4, default="a\nb")`)
	equal(t, "form", []any{f["type"], f["size"], f["cols"], f["rows"], f["default"]}, []any{"textarea", 5.0, 60.0, 4.0, "a\nb"})
	f = field(t, `util.TextParameter("p")`)
	equal(t, "defaults", []any{f["size"], f["cols"], f["rows"], f["default"]}, []any{10.0, 80.0, 20.0, ""})
	equal(t, "value", read(t, `util.TextParameter("p")`, "a\nb"), any("a\nb"))
}

func TestIntParameter(t *testing.T) {
	f := field(t, `util.IntParameter("p", size=5, default=7)`)
	equal(t, "form", []any{f["type"], f["size"], f["default"]}, []any{"int", 5.0, 7.0})
	equal(t, "value", read(t, `util.IntParameter("p")`, "42"), any(int64(42)))
	equal(t, "default", read(t, `util.IntParameter("p", default=7)`, ""), any(int64(7)))
	equal(t, "no default", read(t, `util.IntParameter("p")`, nil), any(int64(0)))
	testProblems(t, []badCall{{`util.IntParameter("p", default="7")`, "wrong-type", "default", "want int, got string"}})
}

func TestBooleanParameter(t *testing.T) {
	f := field(t, `util.BooleanParameter("p", default=True, required=True, autopopulate={"True": {"x": "y"}})`)
	equal(t, "form", []any{f["type"], f["default"], f["required"], f["autopopulate"]}, []any{"bool", true, true, map[string]any{"True": map[string]any{"x": "y"}}})
	equal(t, "value", read(t, `util.BooleanParameter("p")`, "on"), any(true))
	equal(t, "default", read(t, `util.BooleanParameter("p", default=True)`, nil), any(true))
	equal(t, "no default", read(t, `util.BooleanParameter("p")`, nil), any(false))
	equal(t, "required", fmt.Sprint(read(t, `util.BooleanParameter("p", required=True)`, nil)), `"p" is needed`)
	testProblems(t, []badCall{
		{`util.BooleanParameter("p", default="yes")`, "wrong-type", "default", "want bool"},
		{`util.BooleanParameter("p", multiple=True)`, "not-supported", "multiple", "not supported yet"},
	})
}

func TestFixedParameter(t *testing.T) {
	equal(t, "form", field(t, `util.FixedParameter("p", default="d")`)["default"], any("d"))
	equal(t, "value", read(t, `util.FixedParameter("p", default=["a", 1])`, "other"), any([]any{"a", int64(1)}))
	equal(t, "no default", read(t, `util.FixedParameter("p")`, "other"), any(""))
	testProblems(t, []badCall{{`util.FixedParameter("p", required=True)`, "not-supported", "required", "not supported yet"}})
}

func TestUserNameParameter(t *testing.T) {
	f := field(t, `util.UserNameParameter()`)
	equal(t, "defaults", []any{f["type"], f["name"], f["label"], f["size"], f["need_email"], f["default"]}, []any{"username", "username", "Your name:", 30.0, true, ""})
	f = field(t, `util.UserNameParameter("p", label="who", size=80, need_email=False, default="me")`)
	equal(t, "form", []any{f["name"], f["label"], f["size"], f["need_email"], f["default"]}, []any{"p", "who", 80.0, false, "me"})
	equal(t, "need_email", strings.HasPrefix(fmt.Sprint(read(t, `util.UserNameParameter("p")`, "ann")), "want an email address"), true)
	equal(t, "need_email=False", read(t, `util.UserNameParameter("p", need_email=False)`, "ann"), any("ann"))
	equal(t, "default", read(t, `util.UserNameParameter("p", need_email=False, default="me")`, nil), any("me"))
	equal(t, "anonymous", read(t, `util.UserNameParameter("p")`, nil), any(""))
}

func TestChoiceStringParameter(t *testing.T) {
	const call = `util.ChoiceStringParameter("p", choices=["a", "b"]`
	f := field(t, call+`, default="b", strict=False)`)
	equal(t, "form", []any{f["type"], f["choices"], f["default"], f["strict"]}, []any{"list", []any{"a", "b"}, "b", false})
	equal(t, "strict by default", field(t, call+")")["strict"], any(true))
	equal(t, "the first is the default", field(t, call+")")["default"], any("a"))
	equal(t, "value", read(t, call+")", "b"), any("b"))
	equal(t, "default", read(t, call+`, default="b")`, nil), any("b"))
	equal(t, "strict", fmt.Sprint(read(t, call+")", "c")), `"c" is not one of a, b`)
	equal(t, "strict=False", read(t, call+", strict=False)", "c"), any("c"))
	equal(t, "multiple", read(t, call+", multiple=True)", nil), any([]any{}))
	equal(t, "no choices", field(t, `util.ChoiceStringParameter("p", choices=[], strict=False)`)["choices"], any([]any{}))
	testProblems(t, []badCall{
		{`util.ChoiceStringParameter("p", choices=[])`, "bad-value", "choices", "nothing to choose from"},
		{`util.ChoiceStringParameter("p")`, "missing-parameter", "choices", "required"},
		{`util.ChoiceStringParameter("p", choices=lambda: [])`, "not-supported", "choices", "not supported yet"},
		{call + `, default="c")`, "bad-value", "default", `"c" is not among the choices`},
		{call + `, default=1)`, "wrong-type", "default", "want string"},
	})
}

func TestCodebaseParameter(t *testing.T) {
	p := value[*sched.Parameter](t, `x = util.CodebaseParameter("lib", branch=util.ChoiceStringParameter("which", choices=["main"]), revision=None, repository="git://x", layout="tabs")`)
	equal(t, "codebase", *p.Codebase, "lib")
	equal(t, "layout", p.Layout, "tabs")
	var got []string
	for _, f := range p.Fields {
		got = append(got, fmt.Sprint(f.Attr, " ", f.FullName(p.FullName("")), " ", f.Type, " ", f.Default, " ", f.Hide))
	}
	equal(t, "branch, revision, repository and project", got, []string{"branch lib_which list main false", "project lib_project text  false", "repository lib_repository fixed git://x true"})
	equal(t, "project", value[*sched.Parameter](t, `x = util.CodebaseParameter("", project="p")`).Fields[1].Default, any("p"))
	equal(t, "revision", value[*sched.Parameter](t, `x = util.CodebaseParameter("", revision="r")`).Fields[3].Default, any("r"))

	f := field(t, `util.CodebaseParameter("")`)
	equal(t, "defaults", []any{f["type"], f["name"], f["fullName"], f["label"], f["layout"], f["columns"], len(f["fields"].([]any))},
		[]any{"nested", "", nil, "", "vertical", 2.0, 4})
	equal(t, "fewer columns", field(t, `util.CodebaseParameter("", project="")`)["columns"], any(1.0))
	equal(t, "columns", field(t, `util.CodebaseParameter("", columns=3)`)["columns"], any(3.0))
	equal(t, "name", field(t, `util.CodebaseParameter("lib", name="n")`)["fullName"], any("n"))
	equal(t, "no name", field(t, `util.CodebaseParameter("lib", name="")`)["fullName"], any(nil))
	equal(t, "label", field(t, `util.CodebaseParameter("lib")`)["label"], any("Codebase: lib"))

	// A parameter can stand in two codebases.
	g, ps := eval(t, "b = util.StringParameter(\"branch\")\nx = [util.CodebaseParameter(c, branch=b) for c in [\"a\", \"b\"]]")
	if ps != nil || g["x"] == nil {
		t.Error(ps)
	}
	testProblems(t, []badCall{
		{`util.CodebaseParameter("", branch=3)`, "wrong-type", "branch", "want string, parameter or None, got int 3"},
		{`util.CodebaseParameter("", branch=util.CodebaseParameter("x"))`, "bad-value", "branch", "want a parameter with one value"},
		{`util.CodebaseParameter("", branch=util.StringParameter("b", multiple=True))`, "bad-value", "branch", "want a parameter with one value"},
		{`util.CodebaseParameter("", patch=None)`, "not-supported", "patch", "not supported yet"},
		{`util.CodebaseParameter("", layout="grid")`, "bad-value", "layout", "want simple, vertical or tabs"},
		{`util.CodebaseParameter("", columns=5)`, "bad-value", "columns", "at most 4"},
		{`util.CodebaseParameter()`, "missing-parameter", "codebase", "required"},
	})
}
