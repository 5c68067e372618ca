package steps

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// MasterShellCommand is steps.MasterShellCommand (docs/requirements.md C4).
var MasterShellCommand = &spec.Class{
	Module: "steps", Name: "MasterShellCommand",
	New: func() any {
		return &masterShellCommand{
			Base: halting("MasterShellCommand", "MasterShellCommand"), LogEnviron: true, InterruptSignal: "KILL",
		}
	},
	Unsupported: inert(map[string]string{"usePTY": "commands on the master run without a terminal"}),
}

// masterShellCommand runs a command on the master, as who runs the master. Its workdir
// is relative to the master's basedir, and the default is the basedir itself.
type masterShellCommand struct {
	Base
	// Command is a string for /bin/sh, or a list of words that no shell sees. Lists in it
	// are flattened.
	Command prop.Template[run.CommandLine] `star:"command"`
	// Env is added to the environment of the master. A list is joined with ":", ${NAME} is
	// the master's own variable, None removes one.
	Env prop.Template[map[string]any] `star:"env,optional,kw"`
	// LogEnviron logs the environment that env gives; never the master's own.
	LogEnviron bool `star:"logEnviron,optional,kw"`
	// InterruptSignal ends the command and what it started when the step is stopped. What
	// is left 5 s later is killed.
	InterruptSignal string `star:"interruptSignal,optional,kw"`
}

// Make makes the step.
func (s *masterShellCommand) Make(c *spec.Call) any {
	s.check(c)
	if unix.SignalNum("SIG"+s.InterruptSignal) == 0 {
		c.Problem("bad-value", "interruptSignal", fmt.Sprintf("%q is no name of a signal", s.InterruptSignal),
			`write it without SIG: "KILL", "TERM", "INT"`)
	}
	if v, plain := s.Env.Plain(); plain {
		if err := checkEnv(v); err != nil {
			c.Problem("wrong-type", "env", err.Error(), "")
		}
	}
	return s
}

// Run implements run.Step.
func (s *masterShellCommand) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	command, env := render(x, "command", s.Command).V, render(x, "env", s.Env)
	dir := render(x, "workdir", s.Workdir)
	if x.err == nil {
		dir, x.err = r.MasterPath(dir)
	}
	if x.err == nil {
		x.err = checkEnv(env)
	}
	if x.err != nil {
		return config.Exception, x.err
	}
	text := run.CommandText(command)
	r.Describe(text, text)
	log, err := r.AddLog("stdio", "s")
	if err != nil {
		return config.Exception, err
	}
	words := run.Words(command)
	shown := strings.Join(words, " ")
	if _, ok := command.(string); ok {
		words = []string{"/bin/sh", "-c", words[0]}
	}
	own := expand(env)
	header := shown + "\n in dir " + dir + " on the master\n"
	if s.LogEnviron {
		for _, name := range slices.Sorted(maps.Keys(own)) {
			if own[name] != nil {
				header += "  " + name + "=" + *own[name] + "\n"
			}
		}
	}
	if err := log.Write('h', header); err != nil {
		return config.Exception, err
	}
	basedir, err := r.MasterPath(".")
	if err == nil {
		err = r.NotAgain(ctx)
	}
	if err != nil {
		return config.Exception, err
	}
	p := &masterProcess{
		words: words, dir: dir, env: merged(own), log: log, signal: unix.SignalNum("SIG" + s.InterruptSignal), basedir: basedir,
	}
	end, err := p.run(ctx)
	if err != nil {
		return config.Exception, err
	}
	return p.result(r, end)
}

// result says how the process ended.
func (p *masterProcess) result(r *run.Running, end ending) (config.Result, error) {
	text := fmt.Sprintf("program finished with exit code %d", end.status)
	switch {
	case end.start != nil:
		text = fmt.Sprintf("cannot start it: %v", end.start)
	case end.signal != 0:
		text = "process killed by signal " + unix.SignalName(end.signal)
	}
	if end.left {
		text += "\nprocesses left in the background were killed: they kept the output open"
	}
	if err := p.log.Write('h', text); err != nil {
		return config.Exception, err
	}
	switch {
	case end.start != nil:
		r.Because("not started")
	case end.signal != 0:
		r.Because("killed by " + unix.SignalName(end.signal))
	case end.status == 0:
		return config.Success, nil
	}
	return config.Failure, nil
}

var variable = regexp.MustCompile(`\$\{(\w*)\}`)

// expand returns the values of env as the master's variables make them; nil removes
// one.
func expand(env map[string]any) map[string]*string {
	own := make(map[string]*string, len(env))
	for name, v := range env {
		var text string
		switch v := v.(type) {
		case nil:
			own[name] = nil
			continue
		case string:
			text = v
		case []any:
			text = strings.Join(run.Words(v), string(os.PathListSeparator))
		}
		text = variable.ReplaceAllStringFunc(text, func(m string) string { return os.Getenv(m[2 : len(m)-1]) })
		own[name] = &text
	}
	return own
}

// merged is the environment of the master with own on top.
func merged(own map[string]*string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if _, ok := own[name]; !ok {
			env = append(env, kv)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if v := own[name]; v != nil {
			env = append(env, name+"="+*v)
		}
	}
	return env
}

// ending is how a process of the master ended.
type ending struct {
	start  error // it did not begin
	status int
	signal syscall.Signal
	left   bool // something it started had to be killed
}
