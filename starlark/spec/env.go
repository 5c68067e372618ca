package spec

import (
	"fmt"

	star "go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"buildstar/config/prop"
)

const envKey = "buildstar.env"

// Env is what the calls of one evaluation share. It belongs to one Starlark
// thread, and to the goroutine that runs it.
//
// Without Collect, a call that has problems fails with them as a [prop.Problems]:
// that is what happens when a callback makes values while a build runs.
type Env struct {
	// Function makes a Renderable of a user's function; starlark/call provides it.
	Function func(Function) prop.Renderable
	// Collect says to gather problems and go on with placeholders.
	Collect bool
	// Warn, if not nil, hears of what works but is probably not meant.
	Warn func(prop.Problem)
	// Keep, if not nil, sees every object that a call made.
	Keep func(*Object)
	// Syntax returns the resolved definition of a function (a *syntax.DefStmt or
	// *syntax.LambdaExpr) by its place, or nil: content hashes need it.
	Syntax func(prop.Pos) syntax.Node

	onSeal   []func()
	thread   *star.Thread
	problems prop.Problems
	seen     map[problemKey]bool
	secrets  map[string]bool // passwords that were given
	leaked   bool
	sealed   bool
}

// Function is a user's function where a renderable is wanted.
type Function struct {
	Callable star.Callable
	Pos      prop.Pos
	// First says what the function gets first.
	First First
	// Args and Kwargs follow it, rendered.
	Args   []prop.Renderable
	Kwargs map[string]prop.Renderable
	// Env is the environment of the call; it is filled in by the binder.
	Env *Env
}

// First is the first argument of a callback.
type First uint8

const (
	// FirstContext is what the place of the callback gives: doStepIf gets the step;
	// everywhere else it is the properties. Bare functions have it.
	FirstContext First = iota
	// FirstProps is the properties: util.renderer.
	FirstProps
	// FirstNothing is nothing: util.Transform.
	FirstNothing
)

// Attach makes e the environment of the calls on thread.
func (e *Env) Attach(thread *star.Thread) {
	e.thread = thread
	thread.SetLocal(envKey, e)
}

// EnvOf returns the environment of a thread, or nil.
func EnvOf(thread *star.Thread) *Env {
	e, _ := thread.Local(envKey).(*Env)
	return e
}

// OnSeal runs f when the evaluation has ended and every global has its value.
func (e *Env) OnSeal(f func()) { e.onSeal = append(e.onSeal, f) }

// Seal ends the evaluation: it runs what OnSeal was given, and module attributes
// that do not exist are plain errors from now on. The values that were made may
// then be used from any goroutine.
func (e *Env) Seal() {
	for _, f := range e.onSeal {
		f()
	}
	e.onSeal, e.sealed = nil, true
	e.Keep, e.Warn, e.Syntax = nil, nil, nil // nothing needs the syntax trees any more
}

type problemKey struct {
	pos               prop.Pos
	code, param, text string
}

// Report adds a problem, once however often it is found at the same place. The
// chain is taken from the thread if p has none.
func (e *Env) Report(p prop.Problem) {
	if len(e.problems) > maxProblems {
		return
	}
	k := problemKey{p.Pos, p.Code, p.Param, p.Text}
	if e.seen[k] {
		return
	}
	if e.seen == nil {
		e.seen = make(map[problemKey]bool)
	}
	e.seen[k] = true
	switch n := len(e.problems); {
	case n < maxProblems:
		e.problems = append(e.problems, p)
	case n == maxProblems:
		e.problems = append(e.problems, prop.Problem{Code: "too-many-problems", Pos: p.Pos, Chain: p.Chain,
			Text: fmt.Sprintf("there are more than %d problems; the others are not shown", maxProblems)})
	}
}

// maxProblems is how many problems of one evaluation are kept.
const maxProblems = 1000

// Problems returns what was reported so far, in the order of evaluation.
func (e *Env) Problems() prop.Problems { return e.problems }

// warnText warns that a renderable became text where the file stands.
func (e *Env) warnText(text string) {
	if e.thread.CallStackDepth() > 0 && e.thread.CallFrame(0).Name == "print" {
		return
	}
	for depth := range e.thread.CallStackDepth() {
		if at, ok := posAt(e.thread, depth); ok {
			e.Warn(prop.Problem{Code: "not-interpolated", Pos: at, Chain: chainAt(e.thread, depth),
				Text: text + " becomes this very text here, not its value", Hint: "pass it as it is, or to util.Interpolate(\"...%s\", x)"})
			return
		}
	}
}

// Secrets returns the passwords that calls were given: they must not be shown.
func (e *Env) Secrets() map[string]bool { return e.secrets }

func (e *Env) addSecret(s string) {
	if e.secrets == nil {
		e.secrets = make(map[string]bool)
	}
	e.secrets[s] = true
}

// Leaked reports whether a placeholder was used in a way that cannot be followed:
// iterated over, compared, or made a string. What is missing from the
// configuration may then be a consequence of a problem that is already reported.
func (e *Env) Leaked() bool { return e.leaked }

// posAt returns the place in the frame at depth; ok is false if that frame is not
// Starlark code.
func posAt(thread *star.Thread, depth int) (prop.Pos, bool) {
	if depth >= thread.CallStackDepth() {
		return prop.Pos{}, false
	}
	p := thread.DebugFrame(depth).Position()
	return prop.Pos{File: p.Filename(), Line: int(p.Line), Col: int(p.Col)}, p.Line > 0
}

// chainAt returns the places below the frame at depth, innermost first: the calls
// that led there.
func chainAt(thread *star.Thread, depth int) []prop.Pos {
	n := thread.CallStackDepth()
	if depth+1 >= n {
		return nil
	}
	chain := make([]prop.Pos, 0, min(n-depth-1, maxChain))
	for d := depth + 1; d < n && len(chain) < maxChain; d++ {
		if p, ok := posAt(thread, d); ok {
			chain = append(chain, p)
		}
	}
	return chain
}

// maxChain is how many calls a chain shows at most.
const maxChain = 20
