package steps

import (
	"context"
	"maps"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// ShellSequence is steps.ShellSequence (docs/requirements.md C4).
var ShellSequence = class("ShellSequence", func() any {
	return &shellSequence{Base: base("ShellSequence", "ShellSequence"), ShellOptions: shellDefaults()}
})

// shellSequence runs commands on the worker, one after the other.
type shellSequence struct {
	Base
	// Commands are the commands, in order: a list of util.ShellArg.
	Commands     prop.Template[run.ShellArgs] `star:"commands"`
	ShellOptions `star:",kw"`
}

// Make makes the step.
func (s *shellSequence) Make(c *spec.Call) any {
	s.Base.check(c)
	s.ShellOptions.check(c)
	return s
}

// Run implements run.Step.
func (s *shellSequence) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	commands, err := run.Render(ctx, r, "commands", s.Commands)
	if err != nil {
		return config.Exception, err
	}
	options, err := s.render(ctx, r)
	if err != nil {
		return config.Exception, err
	}
	files, err := options.files(r)
	if err != nil {
		return config.Exception, err
	}
	seq := &sequence{r: r, options: options, files: files, results: s.Results, logs: map[string]*run.Log{}}
	overall := config.Success
	for _, a := range commands {
		result, err := seq.one(ctx, a)
		if err != nil || ctx.Err() != nil {
			return result, err
		}
		var last bool
		if overall, last = a.Judge(overall, result); last {
			break
		}
	}
	return overall, nil
}

// sequence is one run of a ShellSequence.
type sequence struct {
	r       *run.Running
	options *rendered
	files   map[string]*run.Log
	results map[int64]config.Result
	logs    map[string]*run.Log // by logname
}

// one runs a command; an empty one succeeds.
func (q *sequence) one(ctx context.Context, a *run.ShellArg) (config.Result, error) {
	x := &renderer{ctx: ctx, r: q.r}
	command, name := render(x, "command", a.Command).V, render(x, "logname", a.Logname)
	if x.err != nil {
		return config.Exception, x.err
	}
	if command == nil {
		return config.Success, nil
	}
	text := run.CommandText(command)
	q.r.Describe(text, text)
	log, err := q.log(name)
	if err != nil {
		return config.Exception, err
	}
	now := *q.options
	now.args = maps.Clone(now.args)
	now.args["command"] = command
	result, _, err := now.run(ctx, q.r, run.Command{Log: log, Files: q.files}, q.results)
	return result, err
}

func (q *sequence) log(name *string) (*run.Log, error) {
	key := "stdio"
	if name != nil && *name != "" {
		key = *name
	}
	if l := q.logs[key]; l != nil {
		return l, nil
	}
	l, err := q.r.AddLog(key, "s")
	if err == nil {
		q.logs[key] = l
	}
	return l, err
}
