package steps

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// ShellCommand is steps.ShellCommand (docs/requirements.md C4).
var ShellCommand = partial(class("ShellCommand", func() any {
	return &Shell{Base: base("ShellCommand", "shell"), ShellOptions: shellDefaults()}
}))

// partial says that Make of c copes with wrong arguments.
func partial(c *spec.Class) *spec.Class {
	c.Partial = true
	return c
}

// Shell is a step that runs one command on the worker.
type Shell struct {
	Base
	// Command is a string for the worker's shell, or a list of words that no shell sees.
	// Lists in it are flattened.
	Command      prop.Template[run.CommandLine] `star:"command,kw"`
	ShellOptions `star:",kw"`
}

// ShellOptions are the arguments that say how a command runs on the worker. Each may
// depend on properties.
type ShellOptions struct {
	// Env is added to the builder's env and that of the worker. A list is joined with
	// the path separator, ${NAME} is the worker's own variable, None removes one.
	Env prop.Template[map[string]any] `star:"env,optional"`
	// WantStdout says to log standard output.
	WantStdout prop.Template[bool] `star:"want_stdout,optional"`
	// WantStderr says to log standard error.
	WantStderr prop.Template[bool] `star:"want_stderr,optional"`
	// UsePTY runs the command in a pseudo-terminal.
	UsePTY prop.Template[bool] `star:"usePTY,optional"`
	// Logfiles are files to log while the command runs, by the name of their log: a path
	// below workdir, or {"filename": path, "follow": True} to leave out what the file
	// already holds.
	Logfiles prop.Template[map[string]Logfile] `star:"logfiles,optional"`
	// LazyLogfiles makes the logs of files appear with their first line only.
	LazyLogfiles prop.Template[bool] `star:"lazylogfiles,optional"`
	// Timeout kills the command after so many seconds without output; None is never.
	// The default is 1200.
	Timeout prop.Template[*float64] `star:"timeout,optional" hint:"write seconds as a number"`
	// MaxTime kills the command after so many seconds.
	MaxTime prop.Template[*float64] `star:"maxTime,optional" hint:"write seconds as a number"`
	// MaxLines kills the command when it printed more lines than this.
	MaxLines prop.Template[*int64] `star:"max_lines,optional"`
	// LogEnviron logs the environment of the command.
	LogEnviron prop.Template[bool] `star:"logEnviron,optional"`
	// InterruptSignal ends the command when the step is stopped or times out.
	InterruptSignal prop.Template[string] `star:"interruptSignal,optional"`
	// SigtermTime sends SIGTERM first and waits so many seconds before InterruptSignal.
	SigtermTime prop.Template[*float64] `star:"sigtermTime,optional" hint:"write seconds as a number"`
	// InitialStdin is what the command reads from standard input.
	InitialStdin prop.Template[*string] `star:"initialStdin,optional"`
	// DecodeRC maps exit statuses to results. The default is {0: SUCCESS}; any other
	// status is a FAILURE.
	DecodeRC star.Value `star:"decodeRC,optional"`
	// Results is DecodeRC as it was understood.
	Results map[int64]config.Result
}

func shellDefaults() ShellOptions {
	silence := 1200.0
	return ShellOptions{
		WantStdout: prop.Of(true), WantStderr: prop.Of(true), LogEnviron: prop.Of(true),
		Timeout: prop.Of(&silence), InterruptSignal: prop.Of("KILL"),
	}
}

// Make makes the step.
func (s *Shell) Make(c *spec.Call) any {
	s.Base.check(c)
	s.ShellOptions.check(c)
	return s
}

// check checks what the types of the arguments do not say, and reads decodeRC.
func (s *ShellOptions) check(c *spec.Call) {
	notNegative(c, "timeout", s.Timeout)
	notNegative(c, "maxTime", s.MaxTime)
	notNegative(c, "sigtermTime", s.SigtermTime)
	if v, plain := s.MaxLines.Plain(); plain && v != nil && *v < 1 {
		c.Problem("bad-value", "max_lines", fmt.Sprintf("want at least 1, got %d", *v), "leave it out for no limit")
	}
	if v, plain := s.InterruptSignal.Plain(); plain && !isSignal(v) {
		c.Problem("bad-value", "interruptSignal", fmt.Sprintf("%q is no name of a signal", v), `write it without SIG: "KILL", "TERM", "INT"`)
	}
	if v, plain := s.Env.Plain(); plain && len(v) > 0 {
		if err := checkEnv(v); err != nil {
			c.Problem("wrong-type", "env", err.Error(), "")
		}
	}
	if files, plain := s.Logfiles.Plain(); plain && len(files) > 0 {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if takenLog(name) {
				c.Problem("bad-name", "logfiles", fmt.Sprintf("a log cannot have the name %q", name), "")
			}
		}
	}
	s.Results, s.DecodeRC = decodeRC(c, s.DecodeRC), nil
}

// notNegative reports plain seconds that are less than 0.
func notNegative(c *spec.Call, param string, t prop.Template[*float64]) {
	if v, plain := t.Plain(); plain && v != nil && *v < 0 {
		c.Problem("bad-value", param, fmt.Sprintf("want at least 0, got %g", *v), "None is no limit")
	}
	const most = 1e9 // 31 years
	if v, plain := t.Plain(); plain && v != nil && *v > most {
		c.Problem("bad-value", param, fmt.Sprintf("want at most %.0f seconds, got %g", most, *v), "None is no limit")
	}
}

func isSignal(name string) bool {
	return slices.Contains(signals, name)
}

// signals are those of POSIX, and WINCH.
var signals = strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM " +
	"CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH POLL SYS")

// onlyZero is the default, which nobody changes.
var onlyZero = map[int64]config.Result{0: config.Success}

// decodeRC reads {exit status: result}.
func decodeRC(c *spec.Call, v star.Value) map[int64]config.Result {
	if v == nil || v == star.None || c.Bad("decodeRC") {
		return onlyZero
	}
	d, ok := v.(*star.Dict)
	if !ok {
		c.Problem("wrong-type", "decodeRC", "want a dict of exit statuses and results, got "+v.Type(), "{0: util.SUCCESS}")
		return nil
	}
	out := map[int64]config.Result{}
	for _, item := range d.Items() {
		var rc, result int64
		if star.AsInt(item[0], &rc) != nil || star.AsInt(item[1], &result) != nil ||
			result < int64(config.Success) || result > int64(config.Cancelled) {
			c.Problem("bad-value", "decodeRC", fmt.Sprintf("%s: %s is no exit status and result", item[0], item[1]),
				"write {0: util.SUCCESS, 2: util.WARNINGS}")
			continue
		}
		out[rc] = config.Result(result)
	}
	return out
}

var _ run.Step = (*Shell)(nil)

// Run implements run.Step.
func (s *Shell) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	result, _, err := s.run(ctx, r, nil)
	return result, err
}

// run runs the command and tells output what it prints.
func (s *Shell) run(ctx context.Context, r *run.Running, output func(byte, []byte)) (config.Result, run.CommandResult, error) {
	command, err := run.Render(ctx, r, "command", s.Command)
	if err != nil {
		return config.Exception, run.CommandResult{}, fmt.Errorf("%v: %w", s.Pos(), err)
	}
	x, err := s.render(ctx, r)
	if err != nil {
		return config.Exception, run.CommandResult{}, fmt.Errorf("%v: %w", s.Pos(), err)
	}
	text := run.CommandText(command.V)
	r.Describe(text, text)
	stdio, err := r.AddLog("stdio", "s")
	if err != nil {
		return config.Exception, run.CommandResult{}, err
	}
	files, err := x.files(r)
	if err != nil {
		return config.Exception, run.CommandResult{}, err
	}
	x.args["command"] = command.V
	return x.run(ctx, r, run.Command{Log: stdio, Files: files, Output: output}, s.Results)
}

// run sends the command to the worker.
func (x *rendered) run(ctx context.Context, r *run.Running, c run.Command, results map[int64]config.Result) (config.Result, run.CommandResult, error) {
	c.Name, c.Args, c.MaxLines, c.SigtermTime = "shell", x.args, x.countHere, x.sigterm
	result, err := r.Command(ctx, c)
	if err != nil {
		return config.Exception, result, err
	}
	if result.Error != "" {
		return config.Exception, result, errors.New(result.Error)
	}
	return decode(r, result, results), result, nil
}

// decode turns the exit status into a result. What was killed for its time or its
// output has failed, whatever its status.
func decode(r *run.Running, c run.CommandResult, results map[int64]config.Result) config.Result {
	switch c.Failure {
	case "":
	case "timeout", "timeout_without_output":
		r.Because("timed out")
		return config.Failure
	case "max_lines_failure":
		r.Because("too many lines")
		return config.Failure
	default:
		r.Because(c.Failure)
		return config.Failure
	}
	if c.RC == nil {
		r.Because("the worker sent no exit status")
		return config.Failure
	}
	if result, ok := results[*c.RC]; ok {
		return result
	}
	return config.Failure
}
