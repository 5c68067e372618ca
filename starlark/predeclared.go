package starlark

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"go.starlark.net/lib/json"
	"go.starlark.net/lib/math"
	star "go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// predeclared returns what every file sees besides Starlark's own names: the
// modules, and what Buildbot users took from Python's library.
func (e *evaluation) predeclared() star.StringDict {
	names := star.StringDict{
		"env":       star.NewBuiltin("env", e.getenv),
		"read_file": star.NewBuiltin("read_file", e.readFile),
		"struct":    star.NewBuiltin("struct", starlarkstruct.Make),
		"cmp":       star.NewBuiltin("cmp", compare),
		"sorted":    star.NewBuiltin("sorted", sorted),
		"json":      jsonModule(),
		"math":      math.Module,
		"path":      pathModule,
		"basedir":   star.String(e.opts.Basedir),

		"cannot_substantiate":  refuse("cannot_substantiate", true),
		"fail_to_substantiate": refuse("fail_to_substantiate", false),
	}
	for _, m := range e.opts.Modules {
		names[m.Name] = m.Value(e.env)
	}
	for _, name := range futureModules {
		if !names.Has(name) {
			m := spec.Module{Name: name, NotYet: true}
			names[name] = m.Value(e.env)
		}
	}
	return names
}

// futureModules are namespaces of Buildbot or its users' habits that do not exist
// yet: using them says so.
var futureModules = []string{
	"worker", "steps", "schedulers", "changes", "reporters", "util", "secrets", "www", "re", "yaml", "time",
}

// errOver is what inputs say to a callback: it may run at any time and in any
// goroutine, and the inputs of a snapshot are fixed.
var errOver = errors.New("inputs can only be read while the file is loaded: put the value into a variable there")

// getenv is env(name, default=None). Each variable that was asked for is recorded.
func (e *evaluation) getenv(t *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	if t != e.thread {
		return nil, errOver
	}
	var name string
	var otherwise star.Value = star.None
	if err := star.UnpackArgs(b.Name(), args, kwargs, "name", &name, "default?", &otherwise); err != nil {
		return nil, err
	}
	v, asked := e.environ[name]
	if !asked {
		if s, ok := e.opts.Getenv(name); ok {
			v = &s
		}
		e.environ[name] = v
	}
	if v == nil {
		if otherwise == star.None {
			e.unset = append(e.unset, name)
		}
		return otherwise, nil
	}
	return star.String(*v), nil
}

// readFile is read_file(path), relative to the file that calls it.
func (e *evaluation) readFile(t *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
	if t != e.thread {
		return nil, errOver
	}
	var name string
	if err := star.UnpackArgs(b.Name(), args, kwargs, "path", &name); err != nil {
		return nil, err
	}
	at := callerPos(t, 1)
	problem := func(code, text string) (star.Value, error) {
		e.report(prop.Problem{Code: code, Pos: at, Subject: fmt.Sprintf("read_file(%q)", name), Text: text, Chain: e.chain(2)})
		return spec.NewPlaceholder(e.env), nil
	}
	full, err := e.below(at.File, name)
	if err != nil {
		return problem("load-outside", err.Error())
	}
	f, err := e.read(full)
	if err != nil {
		return problem("read-file", err.Error())
	}
	if !utf8.Valid(f.data) {
		return problem("bad-encoding", "the file is not UTF-8")
	}
	return star.String(f.data), nil
}

// jsonModule is Starlark's json, with a bound on nesting: its decoder recurses.
func jsonModule() star.Value {
	members := make(star.StringDict, len(json.Module.Members))
	for name, v := range json.Module.Members {
		members[name] = v
	}
	decode := members["decode"].(*star.Builtin)
	members["decode"] = star.NewBuiltin("json.decode", func(t *star.Thread, _ *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		for _, a := range args {
			if s, ok := star.AsString(a); ok && jsonDepth(s) > maxNesting {
				return nil, fmt.Errorf("the JSON is nested more than %d deep", maxNesting)
			}
		}
		if len(kwargs) > 0 && string(kwargs[0][0].(star.String)) == "x" {
			return nil, errors.New("give the JSON text by position")
		}
		return decode.CallInternal(t, args, kwargs)
	})
	return &starlarkstruct.Module{Name: "json", Members: members}
}

// jsonDepth returns how deep brackets are nested, at most.
func jsonDepth(s string) int {
	depth, deepest, inString := 0, 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}

// pathModule is what configurations use of os.path. It only computes.
var pathModule = &starlarkstruct.Module{Name: "path", Members: star.StringDict{
	"join": star.NewBuiltin("path.join", func(_ *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		if len(kwargs) > 0 {
			return nil, errors.New("path.join takes its parts by position")
		}
		joined := ""
		for i, a := range args {
			s, ok := star.AsString(a)
			switch {
			case !ok:
				return nil, fmt.Errorf("path.join: part %d: want string, got %s", i+1, a.Type())
			case path.IsAbs(s) || joined == "":
				joined = s
			default:
				joined = strings.TrimSuffix(joined, "/") + "/" + s
			}
		}
		return star.String(joined), nil
	}),
	"basename": pathFunction("basename", func(s string) star.Value {
		return star.String(s[strings.LastIndexByte(s, '/')+1:])
	}),
	"dirname": pathFunction("dirname", func(s string) star.Value {
		i := strings.LastIndexByte(s, '/')
		if i == 0 {
			return star.String("/")
		}
		return star.String(s[:max(i, 0)])
	}),
	"normpath": pathFunction("normpath", func(s string) star.Value { return star.String(path.Clean(s)) }),
	"isabs":    pathFunction("isabs", func(s string) star.Value { return star.Bool(path.IsAbs(s)) }),
	"splitext": pathFunction("splitext", func(s string) star.Value {
		ext := path.Ext(s)
		return star.Tuple{star.String(strings.TrimSuffix(s, ext)), star.String(ext)}
	}),
}}

func pathFunction(name string, f func(string) star.Value) *star.Builtin {
	return star.NewBuiltin("path."+name, func(_ *star.Thread, b *star.Builtin, args star.Tuple, kwargs []star.Tuple) (star.Value, error) {
		var s string
		if err := star.UnpackArgs(b.Name(), args, kwargs, "path", &s); err != nil {
			return nil, err
		}
		return f(s), nil
	})
}
