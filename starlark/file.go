package starlark

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"go.starlark.net/resolve"
	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/config"
	"buildstar/config/prop"
)

// A file is one file that was read. Only Starlark files have a tree and globals.
type file struct {
	name    string
	data    []byte
	lines   []string // split on demand
	shown   []string // the same, without passwords
	tree    *syntax.File
	globals star.StringDict
	failed  bool
	defs    map[prop.Pos]syntax.Node // on demand
}

var options = &syntax.FileOptions{
	Set: true, While: true, TopLevelControl: true, GlobalReassign: true, Recursion: true,
}

// errReported says that the problem is among the problems already.
var errReported = errors.New("already reported")

// read returns a file, and records it as an input.
func (e *evaluation) read(name string) (*file, error) {
	if f, ok := e.files[name]; ok {
		return f, nil
	}
	if len(e.files) >= maxFiles {
		return nil, fmt.Errorf("more than %d files are read", maxFiles)
	}
	data, err := e.src.read(name)
	if err != nil {
		return nil, errors.New(reason(err))
	}
	f := &file{name: name, data: data}
	e.files[name] = f
	e.inputs = append(e.inputs, config.Input{Path: name, Data: data, Digest: sha256.Sum256(data)})
	return f, nil
}

// file reads, checks and runs a Starlark file. What is wrong is reported; ok is
// false if the globals are not complete.
func (e *evaluation) file(name string) (globals star.StringDict, ok bool) {
	f, err := e.read(name)
	if err != nil {
		e.report(prop.Problem{Code: "read-file", Pos: prop.Pos{File: name}, Text: err.Error()})
		return nil, false
	}
	prog := e.compile(f)
	if prog == nil {
		f.failed = true
		return nil, false
	}
	e.loading = append(e.loading, name)
	globals, err = prog.Init(e.thread, e.namesFor(name))
	e.loading = e.loading[:len(e.loading)-1]
	globals.Freeze()
	f.globals = globals
	if err != nil {
		f.failed = true
		e.failure(err)
	}
	return globals, err == nil
}

// namesFor returns what is predeclared in one file.
func (e *evaluation) namesFor(name string) star.StringDict {
	names := make(star.StringDict, len(e.names)+1)
	for k, v := range e.names {
		names[k] = v
	}
	names["__file__"] = star.String(path.Join(e.opts.Basedir, name))
	return names
}

// compile parses and resolves a file; it returns nil after it reported why not.
func (e *evaluation) compile(f *file) *star.Program {
	text := bytes.TrimPrefix(f.data, []byte("\ufeff"))
	if p, bad := badText(f.name, text); bad {
		e.report(p)
		return nil
	}
	tree, err := options.Parse(f.name, text, 0)
	if err != nil {
		e.syntaxError(f, err)
		return nil
	}
	f.tree = tree
	e.comparisons(f)
	prog, err := star.FileProgram(tree, func(name string) bool {
		return name == "__file__" || e.names.Has(name)
	})
	if err != nil {
		e.resolveErrors(err)
		return nil
	}
	return prog
}

// badText finds what the parser would not survive or silently misread.
func badText(name string, text []byte) (prop.Problem, bool) {
	at := func(i int) prop.Pos {
		line := 1 + bytes.Count(text[:i], []byte("\n"))
		return prop.Pos{File: name, Line: line, Col: 1 + utf8.RuneCount(text[bytes.LastIndexByte(text[:i], '\n')+1:i])}
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return prop.Problem{Code: "bad-encoding", Pos: at(i), Text: "the file has a NUL byte"}, true
	}
	if !utf8.Valid(text) {
		i := 0
		for i < len(text) {
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		return prop.Problem{Code: "bad-encoding", Pos: at(i), Text: "the file is not UTF-8 here"}, true
	}
	if i := tooDeep(text); i >= 0 {
		return prop.Problem{Code: "syntax-error", Pos: at(i), Text: "the expression is too deeply nested or too long",
			Hint: "split it into several variables"}, true
	}
	return prop.Problem{}, false
}

// load is what load("name", ...) does.
func (e *evaluation) load(_ *star.Thread, module string) (star.StringDict, error) {
	at := callerPos(e.thread, 0)
	name, err := e.below(at.File, module)
	if err != nil {
		return nil, e.loadProblem(at, "load-outside", module, err.Error())
	}
	for i, loading := range e.loading {
		if loading == name {
			chain := strings.Join(append(append([]string(nil), e.loading[i:]...), name), " -> ")
			return nil, e.loadProblem(at, "load-cycle", module, "the files load each other: "+chain)
		}
	}
	if f, ok := e.files[name]; ok && (f.globals != nil || f.failed) {
		if f.failed {
			return nil, errReported
		}
		return f.globals, nil
	}
	if _, err := e.read(name); err != nil {
		return nil, e.loadProblem(at, "read-file", module, err.Error())
	}
	globals, ok := e.file(name)
	if !ok {
		return nil, errReported
	}
	return globals, nil
}

func (e *evaluation) loadProblem(at prop.Pos, code, module, text string) error {
	e.report(prop.Problem{Code: code, Pos: at, Subject: fmt.Sprintf("load(%q)", module), Text: text, Chain: e.chain(1)})
	return errReported
}

// below returns the name of a file that the file `from` refers to.
func (e *evaluation) below(from, name string) (string, error) {
	switch {
	case strings.HasPrefix(name, "@") || strings.HasPrefix(name, "//"):
		return "", errors.New("packages are not supported; use a path relative to this file")
	case name == "" || strings.ContainsAny(name, "\x00\\"):
		return "", errors.New("that is no path; use slashes")
	case path.IsAbs(name):
		return "", errors.New("the path must be relative to this file")
	}
	joined := path.Join(path.Dir(from), name)
	if joined == ".." || strings.HasPrefix(joined, "../") {
		return "", errors.New("the path leads out of the directory of " + e.main)
	}
	return joined, nil
}

// chain returns the calls that led to the frame at depth-1.
func (e *evaluation) chain(depth int) []prop.Pos {
	var chain []prop.Pos
	for d := depth; d < e.thread.CallStackDepth(); d++ {
		if p := callerPos(e.thread, d); p.IsValid() {
			chain = append(chain, p)
		}
	}
	return chain
}

// definition returns the def or lambda at a place, for content hashes.
func (e *evaluation) definition(at prop.Pos) syntax.Node {
	f := e.files[at.File]
	if f == nil || f.tree == nil {
		return nil
	}
	if f.defs == nil {
		f.defs = make(map[prop.Pos]syntax.Node)
		syntax.Walk(f.tree, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.DefStmt:
				f.defs[posOf(n.Def)] = n
			case *syntax.LambdaExpr:
				f.defs[posOf(n.Lambda)] = n
			}
			return true
		})
	}
	return f.defs[at]
}

func posOf(p syntax.Position) prop.Pos {
	return prop.Pos{File: p.Filename(), Line: int(p.Line), Col: int(p.Col)}
}

// line returns the text of a line, or "".
func (e *evaluation) line(p prop.Pos) string {
	f := e.files[p.File]
	if f == nil || p.Line <= 0 {
		return ""
	}
	if f.lines == nil {
		f.lines = strings.Split(f.text(), "\n")
	}
	return lineOf(f.lines, p)
}

// shown returns the text of a line as people may see it: without passwords. It is
// called when the evaluation is over.
func (e *evaluation) shown(p prop.Pos) string {
	f := e.files[p.File]
	if f == nil || p.Line <= 0 {
		return ""
	}
	if f.shown == nil {
		f.shown = strings.Split(masked(f.text(), e.env.Secrets()), "\n")
	}
	return lineOf(f.shown, p)
}

// text returns the file as valid UTF-8.
func (f *file) text() string {
	return strings.ToValidUTF8(strings.TrimPrefix(string(f.data), "\ufeff"), "\ufffd")
}

func lineOf(lines []string, p prop.Pos) string {
	if p.Line > len(lines) {
		return ""
	}
	return strings.TrimRight(lines[p.Line-1], "\r")
}

// report adds a problem.
func (e *evaluation) report(p prop.Problem) { e.env.Report(p) }

func (e *evaluation) resolveErrors(err error) {
	var list resolve.ErrorList
	if !errors.As(err, &list) {
		e.report(prop.Problem{Code: "syntax-error", Pos: prop.Pos{File: e.main}, Text: err.Error()})
		return
	}
	for _, r := range list {
		e.report(e.resolveProblem(posOf(r.Pos), r.Msg))
	}
}

// resolveProblem explains a name that does not exist, or a statement out of place.
func (e *evaluation) resolveProblem(at prop.Pos, msg string) prop.Problem {
	name, ok := strings.CutPrefix(msg, "undefined: ")
	if !ok {
		return prop.Problem{Code: "syntax-error", Pos: at, Text: msg}
	}
	name, near, _ := strings.Cut(name, " (did you mean ")
	near = strings.TrimSuffix(near, "?)")
	p := prop.Problem{Code: "undefined-name", Pos: at, Text: name + " is not defined"}
	switch {
	case pythonNames[name] != "":
		p.Hint = pythonNames[name]
	case e.elsewhere(name) != "":
		p.Hint = e.elsewhere(name)
	case near == "":
		near = prop.Nearest(name, append(e.names.Keys(), star.Universe.Keys()...))
		fallthrough
	default:
		if near != "" {
			p.Hint = fmt.Sprintf("did you mean %q?", near)
		}
	}
	return p
}

// elsewhere says which module has a class of this name, or "".
func (e *evaluation) elsewhere(name string) string {
	for _, m := range e.opts.Modules {
		for _, c := range m.Classes {
			if c.Name == name {
				return fmt.Sprintf("did you mean %q?", m.Name+"."+name)
			}
		}
		if why, ok := m.Unsupported[name]; ok {
			return strings.TrimSuffix(fmt.Sprintf("%s.%s is not supported yet; %s", m.Name, name, why), "; ")
		}
	}
	return ""
}
