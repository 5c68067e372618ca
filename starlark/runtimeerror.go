package starlark

import (
	"errors"
	"fmt"
	"strings"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
)

// failure reports what ended the execution of a file, unless that only followed
// from what is reported already.
func (e *evaluation) failure(err error) {
	if errors.Is(err, errReported) {
		return
	}
	if e.env.Leaked() && len(e.env.Problems()) > 0 {
		return
	}
	var eval *star.EvalError
	if !errors.As(err, &eval) {
		e.report(prop.Problem{Code: "runtime-error", Pos: prop.Pos{File: e.main}, Text: err.Error()})
		return
	}
	p := prop.Problem{Code: "runtime-error", Text: eval.Msg}
	last := len(eval.CallStack) - 1
	if badCall.MatchString(eval.Msg) {
		last-- // it is the call that is wrong, not the function
	}
	for i := last; i >= 0; i-- {
		at := posOf(eval.CallStack[i].Pos)
		switch {
		case !at.IsValid():
		case !p.Pos.IsValid():
			p.Pos = at
		default:
			p.Chain = append(p.Chain, at)
		}
	}
	p.Chain = shorten(p.Chain)
	if why, ok := strings.CutPrefix(eval.Msg, "Starlark computation cancelled: "); ok {
		p.Code = why
		p.Text, p.Hint = e.stopped(why)
	} else {
		p.Hint = runtimeHint(eval.Msg)
		if strings.HasPrefix(eval.Msg, "load: name ") {
			p.Code = "load-name"
		}
	}
	e.report(p)
}

// badCall matches what the interpreter says of a call whose arguments do not fit
// the function: it names the function's own place first.
var badCall = re(`^function .* (missing|accepts|got an unexpected|got multiple)`)

// shorten keeps both ends of a long chain: that of a runaway recursion.
func shorten(chain []prop.Pos) []prop.Pos {
	const ends = 5
	if len(chain) <= 2*ends {
		return chain
	}
	return append(chain[:ends:ends], chain[len(chain)-ends:]...)
}

// stopped explains why an evaluation was cancelled.
func (e *evaluation) stopped(why string) (text, hint string) {
	switch why {
	case stepLimit:
		return fmt.Sprintf("evaluation took more than %d steps", e.opts.MaxSteps), "does a loop here never end?"
	case timeLimit:
		return fmt.Sprintf("evaluation took longer than %v", e.opts.Timeout), "does a loop here never end?"
	case heapLimit:
		return fmt.Sprintf("evaluation used more than %d MiB of memory", e.opts.MaxHeap>>20), "does something here grow without end?"
	}
	return "evaluation was cancelled", ""
}

// runtimeHints say what to do about errors of the interpreter, by a part of their
// text.
var runtimeHints = []struct{ part, hint string }{
	{"frozen", "values of load()ed files and of files that ended cannot change: copy it first, list(x) or dict(x)"},
	{"field of dict", `keys are written c["builders"] = [...]`},
	{"not in dict", "assign it first, with one =; d.get(key) gives None if there is none"},
	{"during iteration", "loop over a copy: for x in list(l)"},
	{"referenced before assignment", "a function that assigns a name makes it local: pass the value in, or change a list or dict"},
	{"stack overflow", "the function calls itself without end"},
	{"unknown conversion %", "%s, %d, %r, %x and %% exist, without width or flags"},
	{"format spec features not supported", "use {} or {name} without a format"},
	{"unknown binary op: string + int", "write \"text\" + str(n)"},
	{"unknown binary op: string + ", "the operands of + have one type: use str(x)"},
	{"string value is not iterable", "write for ch in s.elems()"},
	{" in util.", "write x.in_(list)"},
	{" not implemented", "what a build decides is compared with methods: x.lt(y), x.ge(y), x.in_(list)"},
	{"list has no .add ", "write l.append(x)"},
	{"has no .sort ", "use sorted(l)"},
	{"has no .has_key ", "write key in d"},
	{"has no .iteritems ", "write d.items()"},
	{"has no .decode ", "strings are text already"},
	{"has no .encode ", "strings are text already"},
	{"NoneType has no ", "the value is None: a function without return gives None"},
	{"excessive repeat", "the result would be too big"},
}

func runtimeHint(msg string) string {
	if strings.Contains(msg, "did you mean") {
		return ""
	}
	for _, h := range runtimeHints {
		if strings.Contains(msg+" ", h.part) {
			return h.hint
		}
	}
	return ""
}
