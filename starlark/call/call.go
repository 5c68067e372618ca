// Package call runs users' Starlark functions while builds run: renderers,
// Transform, doStepIf and other callbacks.
//
// Each call has a thread of its own, a step limit and a deadline, and sees frozen
// values only, so that a function may run in many goroutines at once. What it
// prints goes to the [prop.Printer] that called it, or to the log.
//
// A bare function is called with what its place gives ([prop.Arguments]): doStepIf
// with the step, hideStepIf with the result and the step, everything else with the
// properties. The properties are an object with getProperty(name, default=None),
// hasProperty(name), render(x), props["name"] and "name" in props. What a function
// returns is rendered again, so it may return Interpolate(...).
package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	star "go.starlark.net/starlark"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// MaxSteps is how many steps of the interpreter one call may take.
const MaxSteps = 10_000_000

// Timeout is how long one call may take when its context has no deadline.
const Timeout = 10 * time.Second

// maxRounds is how often what a function returned is rendered again.
const maxRounds = 20

// Renderable returns f as a Renderable; it is what [spec.Env.Function] wants. The
// function is frozen, and its content digested, when the evaluation ends.
func Renderable(f spec.Function) prop.Renderable {
	r := &function{Function: f}
	if f.Env != nil {
		f.Env.OnSeal(func() {
			f.Callable.Freeze()
			r.digest()
		})
	}
	return r
}

// A function is a user's function as a Renderable.
type function struct {
	spec.Function
	content hashState
}

// String names the function and where it is.
func (f *function) String() string {
	if fn, ok := f.Callable.(*star.Function); ok {
		p := fn.Position()
		return fmt.Sprintf("function %s (%s:%d)", fn.Name(), p.Filename(), p.Line)
	}
	return "function " + f.Callable.Name()
}

// TakesPlace implements prop.Callback.
func (f *function) TakesPlace() bool { return f.First == spec.FirstContext }

// Render calls the function and renders what it returns. An object that it was called with
// is returned as it came.
func (f *function) Render(ctx context.Context, p prop.Props) (any, error) {
	args, kwargs, err := f.arguments(ctx, p)
	if err != nil {
		return nil, err
	}
	return f.call(ctx, p, args, kwargs)
}

// arguments returns what the function is called with, as Go values.
func (f *function) arguments(ctx context.Context, p prop.Props) ([]any, map[string]any, error) {
	var args []any
	switch f.First {
	case spec.FirstProps:
		args = append(args, properties{p})
	case spec.FirstContext:
		if a, ok := p.(prop.Arguments); ok {
			args = append(args, a.Arguments()...)
		} else {
			args = append(args, properties{p})
		}
	}
	for i, r := range f.Args {
		v, err := r.Render(ctx, p)
		if err != nil {
			return nil, nil, fmt.Errorf("%v: argument %d: %w", f, i+1, err)
		}
		args = append(args, v)
	}
	var kwargs map[string]any
	for name, r := range f.Kwargs {
		v, err := r.Render(ctx, p)
		if err != nil {
			return nil, nil, fmt.Errorf("%v: argument %s: %w", f, name, err)
		}
		if kwargs == nil {
			kwargs = make(map[string]any, len(f.Kwargs))
		}
		kwargs[name] = v
	}
	return args, kwargs, nil
}

// roundsKey counts in a context how often results were rendered again.
type roundsKey struct{}

func (f *function) call(ctx context.Context, p prop.Props, args []any, kwargs map[string]any) (any, error) {
	rounds, _ := ctx.Value(roundsKey{}).(int)
	if rounds >= maxRounds {
		return nil, fmt.Errorf("%v: functions returned functions %d times", f, rounds)
	}
	ctx = context.WithValue(ctx, roundsKey{}, rounds+1)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, Timeout, fmt.Errorf("it took longer than %v", Timeout))
		defer cancel()
	}
	thread := newThread(ctx, f.String(), p)
	stop := context.AfterFunc(ctx, func() { thread.Cancel(context.Cause(ctx).Error()) })
	defer stop()

	env := &spec.Env{Function: Renderable}
	env.Attach(thread)
	s := scope{ctx: ctx, props: p, env: env}
	v, err := star.Call(thread, f.Callable, s.tuple(args), s.pairs(kwargs))
	if err != nil {
		return nil, f.failure(ctx, err)
	}
	if o, ok := v.(*object); ok && o.props == nil {
		return o.of, nil
	}
	r, err := env.Value(v)
	if err != nil {
		return nil, fmt.Errorf("%v returned what is no value: %w", f, err)
	}
	return r.Render(ctx, p)
}

func newThread(ctx context.Context, name string, p prop.Props) *star.Thread {
	thread := &star.Thread{
		Name: name,
		Print: func(_ *star.Thread, msg string) {
			if w, ok := p.(prop.Printer); ok {
				w.Print(msg)
				return
			}
			slog.InfoContext(ctx, msg, "from", name)
		},
	}
	thread.SetMaxExecutionSteps(MaxSteps)
	thread.OnMaxSteps = func(t *star.Thread) {
		t.Cancel(fmt.Sprintf("it took more than %d steps", MaxSteps))
	}
	return thread
}

// Error says that a user's function failed.
type Error struct {
	Function string     // function f (master.star:3)
	Chain    []prop.Pos // where it failed, innermost first
	Err      error
}

// Error returns one line: the place of the failure and the cause.
func (e *Error) Error() string {
	if len(e.Chain) == 0 {
		return fmt.Sprintf("%s: %v", e.Function, e.Err)
	}
	return fmt.Sprintf("%s: %v: %v", e.Function, e.Chain[0], e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Traceback returns the failure with a line for each call, as logs show it.
func (e *Error) Traceback() string {
	text := e.Function + ": " + e.Err.Error()
	for _, p := range e.Chain {
		text += "\n  at " + p.String()
	}
	return text
}

// failure makes an *Error of what the interpreter returned. A call that was
// cancelled keeps the cause of ctx.
func (f *function) failure(ctx context.Context, err error) error {
	e := &Error{Function: f.String(), Err: err}
	var eval *star.EvalError
	if errors.As(err, &eval) {
		for i := len(eval.CallStack) - 1; i >= 0; i-- {
			if p := eval.CallStack[i].Pos; p.Line > 0 {
				e.Chain = append(e.Chain, prop.Pos{File: p.Filename(), Line: int(p.Line), Col: int(p.Col)})
			}
		}
		if cause := eval.Unwrap(); cause != nil {
			e.Err = cause
		}
	}
	if ctx.Err() != nil {
		e.Err = fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	return e
}
