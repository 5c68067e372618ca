package steps

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/engine/run"
)

// rendered is one run's command as the worker gets it (docs/protocol.md A.6).
type rendered struct {
	args      map[string]any
	sigterm   float64
	countHere int64 // max_lines, for a worker that does not know it
	logfiles  map[string]Logfile
	lazy      bool
}

// renderer collects the first error of many arguments.
type renderer struct {
	ctx context.Context
	r   *run.Running
	err error
}

func render[T any](x *renderer, name string, t prop.Template[T]) (v T) {
	if x.err == nil {
		v, x.err = run.Render(x.ctx, x.r, name, t)
	}
	return v
}

// render renders all but the command.
func (a *ShellOptions) render(ctx context.Context, r *run.Running) (*rendered, error) {
	x := &renderer{ctx: ctx, r: r}
	out := &rendered{args: map[string]any{
		"want_stdout":     render(x, "want_stdout", a.WantStdout),
		"want_stderr":     render(x, "want_stderr", a.WantStderr),
		"usePTY":          render(x, "usePTY", a.UsePTY),
		"timeout":         number(render(x, "timeout", a.Timeout)),
		"maxTime":         number(render(x, "maxTime", a.MaxTime)),
		"logEnviron":      render(x, "logEnviron", a.LogEnviron),
		"interruptSignal": render(x, "interruptSignal", a.InterruptSignal),
		"initial_stdin":   text(render(x, "initialStdin", a.InitialStdin)),
	}}
	if sigterm := render(x, "sigtermTime", a.SigtermTime); sigterm != nil {
		out.sigterm = *sigterm
		out.args["sigtermTime"] = number(sigterm)
	}
	out.lazy = render(x, "lazylogfiles", a.LazyLogfiles)
	out.logfiles = render(x, "logfiles", a.Logfiles)
	lines := render(x, "max_lines", a.MaxLines)
	env := render(x, "env", a.Env)
	if x.err != nil {
		return nil, x.err
	}
	var err error
	if out.args["workdir"], err = r.Workdir(ctx); err != nil {
		return nil, err
	}
	if out.args["env"], err = environment(ctx, r, env); err != nil {
		return nil, err
	}
	out.limit(r.Worker(), lines)
	return out, out.watch()
}

// limit asks the worker to count lines if it can.
func (x *rendered) limit(w conn.WorkerInfo, lines *int64) {
	switch {
	case lines == nil:
	case w.Ours || atLeast(w.Commands["shell"], 3, 3):
		x.args["max_lines"] = *lines
	default:
		x.countHere = *lines
	}
}

// atLeast compares the version of a command: "3.1".
func atLeast(version string, major, minor int) bool {
	a, b, _ := strings.Cut(version, ".")
	x, err := strconv.Atoi(a)
	if err != nil {
		return false
	}
	y, _ := strconv.Atoi(b)
	return x > major || x == major && y >= minor
}

// watch tells the worker of the files to log. These names are taken.
func (x *rendered) watch() error {
	files := make(map[string]any, len(x.logfiles))
	for name, f := range x.logfiles {
		if takenLog(name) {
			return fmt.Errorf("logfiles: a log cannot have the name %q", name)
		}
		files[name] = map[string]any{"filename": f.Filename, "follow": f.Follow}
	}
	x.args["logfiles"] = files
	return nil
}

func takenLog(name string) bool {
	return slices.Contains([]string{"", "stdio", "stdout", "stderr", "header"}, name)
}

// files opens the logs of the files, or leaves them to their first line.
func (x *rendered) files(r *run.Running) (map[string]*run.Log, error) {
	logs := make(map[string]*run.Log, len(x.logfiles))
	for _, name := range slices.Sorted(maps.Keys(x.logfiles)) {
		logs[name] = nil
		if x.lazy {
			continue
		}
		l, err := r.AddLog(name, "t")
		if err != nil {
			return nil, err
		}
		logs[name] = l
	}
	return logs, nil
}

// environment returns the builder's env with the step's on top.
func environment(ctx context.Context, r *run.Running, own map[string]any) (map[string]any, error) {
	env := map[string]any{}
	for name, t := range r.Builder().Env {
		v, err := run.Render(ctx, r, fmt.Sprintf("env %q of builder %q", name, r.Builder().Name), t)
		if err != nil {
			return nil, err
		}
		env[name] = v
	}
	maps.Copy(env, own)
	if err := checkEnv(env); err != nil {
		return nil, fmt.Errorf("env: %w", err)
	}
	if v, ok := env["PYTHONPATH"]; ok && v == nil && !r.Worker().Ours {
		return nil, fmt.Errorf("env: a stock worker cannot remove PYTHONPATH; leave it out")
	}
	return env, nil
}

// checkEnv checks what the stock worker does not: another type would crash its
// command.
func checkEnv(env map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return fmt.Errorf("%q cannot be the name of an environment variable", name)
		}
		switch v := env[name].(type) {
		case nil:
		case string:
			if strings.ContainsRune(v, 0) {
				return fmt.Errorf("%q: a NUL byte cannot be in an environment variable", name)
			}
		case []any:
			for _, e := range v {
				s, ok := e.(string)
				if !ok {
					return fmt.Errorf("%q: want a list of strings, one item is %s", name, prop.Describe(e))
				}
				if strings.ContainsRune(s, 0) {
					return fmt.Errorf("%q: a NUL byte cannot be in an environment variable", name)
				}
			}
		case prop.Renderable:
		default:
			return fmt.Errorf("%q: want a string, a list of strings or None, got %s", name, prop.Describe(v))
		}
	}
	return nil
}

// number returns seconds as the wire has them: whole ones as an integer, because
// they are shown.
func number(v *float64) any {
	switch {
	case v == nil:
		return nil
	case *v == math.Trunc(*v) && math.Abs(*v) < 1<<53:
		return int64(*v)
	}
	return *v
}

func text(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

// renderName renders a text that must not be empty.
func renderName(x *renderer, name string, t prop.Template[string]) string {
	v := render(x, name, t)
	if x.err == nil && v == "" {
		x.err = fmt.Errorf("render %s: it is empty", name)
	}
	return v
}
