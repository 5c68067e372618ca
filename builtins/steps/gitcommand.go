package steps

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/engine/git"
	"buildstar/engine/run"
)

// findGit asks for the version.
func (g *checkout) findGit(ctx context.Context) error {
	text, err := g.output(ctx, "--version")
	switch {
	case failed(ctx, err):
		return fmt.Errorf("run git on the worker: it is not installed, or not in PATH")
	case err != nil:
		return err
	}
	if g.version, err = git.ParseVersion(text); err != nil {
		return err
	}
	if len(g.filters) > 0 && !g.version.Filters() {
		g.filters = nil
		if err := g.log.Write('h', fmt.Sprintf("git %v knows no filters: all objects are fetched", g.version)); err != nil {
			return err
		}
	}
	return g.access.Check(g.version)
}

// git runs a command of git in dir. It is a failure if it does not succeed.
func (g *checkout) git(ctx context.Context, args ...string) error {
	result, err := g.send(ctx, nil, args...)
	if err != nil {
		return err
	}
	return outcomeOfGit(result, args)
}

// try runs a command that may fail, and reports whether it succeeded.
func (g *checkout) try(ctx context.Context, args ...string) (bool, error) {
	result, err := g.send(ctx, nil, args...)
	return result.Succeeded(), err
}

// output returns the one line that a command prints.
func (g *checkout) output(ctx context.Context, args ...string) (string, error) {
	out := capture{stdout: true}
	result, err := g.send(ctx, out.take, args...)
	if err == nil {
		err = out.err
	}
	if err == nil {
		err = outcomeOfGit(result, args)
	}
	return strings.TrimSpace(out.o.String()), err
}

// outcomeOfGit returns a failure that names the command.
func outcomeOfGit(result run.CommandResult, args []string) error {
	if result.Succeeded() {
		return nil
	}
	what := "git " + args[0]
	if args[0] == "submodule" {
		what += " " + args[1]
	}
	switch result.Failure {
	case "timeout", "timeout_without_output":
		return failure(what + " timed out")
	}
	return failure(what + " failed")
}

// send has the worker run git. A command that is stopped gets SIGTERM first, at which
// git removes its lock files.
func (g *checkout) send(ctx context.Context, output func(byte, []byte), args ...string) (run.CommandResult, error) {
	words := []any{"git"}
	for _, name := range slices.Sorted(maps.Keys(g.options)) {
		words = append(words, "-c", name+"="+g.options[name])
	}
	for _, w := range append(g.access.Options(g.private), args...) {
		words = append(words, w)
	}
	const patience = 5 // seconds
	result, err := g.r.Command(ctx, run.Command{
		Name: "shell", Log: g.log, Output: output, SigtermTime: patience,
		Args: map[string]any{
			"command": words, "workdir": g.dir, "env": g.env, "logEnviron": g.logEnviron, "timeout": g.timeout, "maxTime": nil,
			"want_stdout": true, "want_stderr": true, "usePTY": false, "logfiles": map[string]any{}, "initial_stdin": nil,
			"interruptSignal": "KILL", "sigtermTime": int64(patience),
		},
	})
	g.logEnviron = false
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && result.Error != "" {
		err = errors.New(result.Error)
	}
	return result, err
}

// command has the worker do something with its files.
func (g *checkout) command(ctx context.Context, name string, args map[string]any) error {
	result, err := g.r.Command(ctx, run.Command{Name: name, Args: args, Log: g.log})
	if err != nil {
		return err
	}
	if err := said(g.log, result); err != nil {
		return err
	}
	if outcomeOf(g.r, result) != config.Success {
		return failure(name + " failed")
	}
	return nil
}

// remove removes a directory.
func (g *checkout) remove(ctx context.Context, dir string) error {
	return g.command(ctx, "rmdir", removal(dir, g.timeout))
}

func removal(dir string, timeout any) map[string]any {
	return map[string]any{"paths": []any{dir}, "timeout": timeout, "maxTime": nil, "logEnviron": false}
}

// keep writes the files with keys and passwords. Those that a master or a worker left
// that died are removed first.
func (g *checkout) keep(ctx context.Context, files []git.File) error {
	if err := g.quietly(ctx, "rmdir", removal(g.private, int64(120))); err != nil {
		return err
	}
	if err := g.quietly(ctx, "mkdir", map[string]any{"paths": []any{g.private}}); err != nil {
		return err
	}
	t := &transfer{r: g.r, log: g.log, maxsize: -1, blocksize: 16 << 10}
	mode := int64(0o600)
	for _, f := range files {
		result, err := t.download(ctx, g.r.WorkerPath(g.private, f.Name), strings.NewReader(f.Content), int64(len(f.Content)), &mode)
		if err != nil {
			return err
		}
		if result != config.Success {
			return fmt.Errorf("write %s on the worker: see the log", f.Name)
		}
	}
	return nil
}

// forget removes these files, also when the step was stopped. err is how the step ended
// before that.
func (g *checkout) forget(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return errors.Join(err, g.quietly(ctx, "rmdir", removal(g.private, int64(30))))
}

// quietly is command without a log.
func (g *checkout) quietly(ctx context.Context, name string, args map[string]any) error {
	result, err := g.r.Command(ctx, run.Command{Name: name, Args: args})
	if err == nil && !result.Succeeded() {
		err = fmt.Errorf("%s %s on the worker: it failed", name, g.private)
	}
	return err
}
