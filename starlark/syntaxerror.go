package starlark

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.starlark.net/syntax"

	"buildstar/config/prop"
)

// syntaxError reports what the parser refused. Most of it is Python that Starlark
// does not have (docs/architecture.md section 7): the hint says what to write instead.
func (e *evaluation) syntaxError(f *file, err error) {
	var se syntax.Error
	if !errors.As(err, &se) {
		e.report(prop.Problem{Code: "syntax-error", Pos: prop.Pos{File: f.name}, Text: err.Error()})
		return
	}
	at := posOf(se.Pos)
	line := e.line(at)
	if at.Col == 1 && at.Line > 1 && strings.HasPrefix(se.Msg, "got newline") {
		at.Line-- // the parser gives the place after the line
		line = e.line(at)
		at.Col = utf8.RuneCountInString(line) + 1
	}
	before := len(string([]rune(line)[:min(max(at.Col-1, 0), len([]rune(line)))]))
	start := tokenStart(line, before+1, se.Msg) - 1
	at.Col = utf8.RuneCountInString(line[:start]) + 1
	e.report(prop.Problem{Code: "syntax-error", Pos: at, Text: se.Msg, Hint: idiomHint(se.Msg, line, start+1)})
}

// tokenStart returns the column where the refused token begins: the parser often
// gives its end.
func tokenStart(line string, col int, msg string) int {
	end := col - 1
	if end <= 0 || end > len(line) {
		return col
	}
	m := gotToken.FindStringSubmatch(msg)
	if m == nil {
		return col
	}
	switch token := strings.Trim(m[1], "'"); token {
	case "identifier", "int literal", "float literal":
		start := end
		for start > 0 && (letter(line[start-1]) || line[start-1] >= '0' && line[start-1] <= '9') {
			start--
		}
		for token == "identifier" && start < end && !letter(line[start]) {
			start++ // 10L is a number and a name
		}
		return start + 1
	case "string literal":
		if start := strings.LastIndexByte(line[:end-1], line[end-1]); start >= 0 {
			return start + 1
		}
	default:
		if strings.HasSuffix(line[:end], token) {
			return col - len(token)
		}
	}
	return col
}

var gotToken = re(`^got ('.+?'|[^,]+), want`)

// An idiom is something of Python and what to write instead.
type idiom struct {
	msg  *regexp.Regexp // what the parser says
	line *regexp.Regexp // what stands at or before the place; nil: anything
	hint string
}

func re(s string) *regexp.Regexp { return regexp.MustCompile(s) }

// idioms are tried in order. The line is matched as `before<token and the rest`.
var idioms = []idiom{
	{re(`^got `), re(`^\s*assert\b`), hintAssert},
	{re(`^got '=', want newline`), nil, "there is no chained assignment: write c = {}, then use c alone"},
	{re(`^got is,`), nil, "there is no `is`: write == or !="},
	{re(`^got string literal`), re(`(?:^|[^\w])[fF][rR]?<['"]`), `there are no f-strings: write "{}".format(x) or "%s" % x`},
	{re(`^got string literal`), re(`(?:^|[^\w])[uU]<['"]`), "strings are Unicode already: drop the u"},
	{re(`^got string literal`), re(`print <['"]`), "print is a function: print(x)"},
	{re(`^got string literal`), nil, "adjacent strings are not joined: put + or a comma between them"},
	{re(`^unexpected input character '@'`), nil, "there are no decorators: write f = util.renderer(f) after the function"},
	{re(`^got (identifier|int literal|float literal|'[\[{(]'), want '[\])},]'`), nil, "is there a comma missing before it, or a quote?"},
	{re(`^got '[\])}]', want`), nil, "a bracket that was opened before it is not closed"},
	{re(`^got '=', want ':'`), nil, "write {\"key\": value}, or dict(key = value)"},
	{re(`^got newline, want ':'`), nil, "a colon ends the line"},
	{re(`^unparenthesized tuple`), nil, "is there a comma too many at the end of the line?"},
	{re(`^got class,`), nil, "there are no classes: use a function that returns a struct(...) or the step itself"},
	{re(`^got (try|except|finally|raise),`), nil, "there are no exceptions: check first (if x in d), and stop with fail(\"why\")"},
	{re(`^got (else|except|finally),`), re(`^<(else|except|finally)`), "else belongs to if only: loops and try have none"},
	{re(`^got with,`), nil, "there is no `with`: read_file(path) returns the whole text"},
	{re(`^got yield,`), nil, "there are no generators: build a list and return it"},
	{re(`^got '\*\*', want newline`), nil, "there is no power operator: write math.pow(x, y), or x * x"},
	{re(`^got '\*\*', want`), nil, "write d = dict(a); d.update(b), or a | b, instead of {**a, **b}"},
	{re(`^got '\*', want primary`), nil, "write list + list instead of [*a, *b]"},
	{re(`^got for, want`), nil, "there are no generator expressions: put [ ] around it"},
	{re(`^got ':', want '\)'`), re(`<:=`), "there is no :=; assign on a line of its own"},
	{re(`^got ':', want (newline|'\)'|',')`), nil, "there are no type annotations: drop them"},
	{re(`^got '-', want ':'`), nil, "there are no type annotations: drop the ->"},
	{re(`^got identifier, want newline`), re(`^\s*print <`), "print is a function: print(x)"},
	{re(`^got identifier, want newline`), re(`\d<[lL]\b`), "integers have any size: drop the L"},
	{re(`^got identifier, want newline`), re(`\d<_`), "there are no _ in numbers"},
	{re(`^got identifier, want newline`), re(`^\s*match <`), "there is no match: use if and elif"},
	{re(`^got del,`), nil, "there is no del: write d.pop(key) or l.pop(i)"},
	{re(`^got (import|from),`), nil, "there are no imports: worker, steps, schedulers and util are there already; use load(\"lib/x.star\", \"f\") for files of your own"},
	{re(`^got (global|nonlocal),`), nil, "functions cannot assign outer variables: return the value, or change a list or dict"},
	{re(`^got async,`), nil, "there are no async functions: write def"},
	{re(`^got await,`), nil, "there are no async functions: call it"},
	{re(`^unexpected input character '[“”‘’]'`), nil, "quotes are \" or '"},
	{re(`^unexpected input character '\?'`), nil, "write a if condition else b"},
	{re(`^truncated escape|^invalid escape`), nil, "write \\\\ for a backslash, or r\"...\""},
	{re(`^got '//', want primary`), nil, "comments begin with #"},
	{re(`^got '[&|]', want primary`), nil, "write and, or"},
	{re(`^got if, want ':'`), re(`else <if`), "write elif"},
	{re(`^got newline, want primary`), re(`(?:\+\+|--)<`), "write i += 1"},
	{re("^unexpected input character '`'"), nil, "write repr(x)"},
	{re(`does not associate with`), nil, "write a < b and b < c"},
	{re(`^got ',', want ':'`), nil, "there are no set literals: write set([1, 2])"},
	{re(`^unindent does not match`), nil, "indent the lines of one block alike"},
	{re(`^got indent,`), nil, "indent the lines of one block alike, with spaces or with tabs"},
	{re(`^got end of file, want`), nil, "a bracket that was opened above is not closed"},
	{re(`^unexpected newline in string`), nil, "the string is not closed; long texts go between \"\"\""},
}

const hintAssert = "there is no assert: write if not x: fail(\"why\")"

// idiomHint returns what to write instead of what the parser refused at col of
// line, or "".
func idiomHint(msg, line string, col int) string {
	const around = 200 // is enough to know an idiom
	at := min(max(col-1, 0), len(line))
	marked := line[max(0, at-around):at] + "<" + line[at:min(len(line), at+around)]
	for _, i := range idioms {
		if i.msg.MatchString(msg) && (i.line == nil || i.line.MatchString(marked)) {
			return i.hint
		}
	}
	return ""
}

// pythonNames are names that Buildbot configurations use and that do not exist
// here, with what to write instead.
var pythonNames = map[string]string{
	"os":                `use env("NAME") for os.environ and path.join(...) for os.path.join`,
	"sys":               "Starlark has no sys",
	"BuildSlave":        "since Buildbot 0.9 its name is Worker: write worker.Worker(name, password)",
	"LibVirtSlave":      "since Buildbot 0.9 its name is LibVirtWorker: write worker.LibVirtWorker(name, password, util.Connection(uri), hd_image, base_image)",
	"Connection":        "write util.Connection(uri)",
	"buildslave":        "since Buildbot 0.9 its name is worker: write worker.Worker(name, password)",
	"open":              "use read_file(path)",
	"isinstance":        `compare type(x) with "string", "int", "list" or "dict"`,
	"datetime":          "use numbers of seconds, or strings such as \"10m\"",
	"timedelta":         "use numbers of seconds, or strings such as \"10m\"",
	"defer":             "callbacks are ordinary functions here: drop inlineCallbacks",
	"unicode":           "use str(x)",
	"xrange":            "use range(n)",
	"map":               "use a list comprehension: [f(x) for x in l]",
	"filter":            "use a list comprehension: [x for x in l if f(x)]",
	"sum":               "add in a loop",
	"object":            "there are no classes: use struct(...)",
	"super":             "there are no classes: use struct(...)",
	"Exception":         "stop with fail(\"why\")",
	"ValueError":        "stop with fail(\"why\")",
	"round":             "use math.round(x)",
	"pow":               "use math.pow(x, y)",
	"format":            "use \"{}\".format(x)",
	"input":             "evaluation reads files and env(...) only",
	"random":            "evaluation is deterministic: there is no random",
	"socket":            "evaluation has no network",
	"subprocess":        "evaluation runs no commands: use a step",
	"globals":           "use a dict",
	"__name__":          "use __file__",
	"SUCCESS":           "did you mean \"util.SUCCESS\"?",
	"WARNINGS":          "did you mean \"util.WARNINGS\"?",
	"FAILURE":           "did you mean \"util.FAILURE\"?",
	"SKIPPED":           "did you mean \"util.SKIPPED\"?",
	"EXCEPTION":         "did you mean \"util.EXCEPTION\"?",
	"RETRY":             "did you mean \"util.RETRY\"?",
	"CANCELLED":         "did you mean \"util.CANCELLED\"?",
	"BuildmasterConfig": "assign it first: c = {}",
	"c":                 "assign it first: c = {}",

	"OpenStackLatentBuildSlave": "since Buildbot 0.9 its name is OpenStackLatentWorker: write worker.OpenStackLatentWorker(name, password, flavor, ...)",
	"EC2LatentBuildSlave":       "since Buildbot 0.9 its name is EC2LatentWorker: write worker.EC2LatentWorker(name, password, \"m5.large\", ami=\"ami-...\")",
}
