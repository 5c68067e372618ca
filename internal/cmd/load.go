package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/starlark"
	"buildstar/starlark/call"
)

// options are those of every evaluation of a configuration.
func (a *app) options() starlark.Options {
	return starlark.Options{
		Modules:  a.Modules,
		Function: call.Renderable,
		Print:    func(at prop.Pos, text string) { fmt.Fprintf(a.err, "%v: %s\n", at, text) },
	}
}

// reload evaluates the configuration of a running master. What it prints and its
// warnings go to the log.
func (a *app) reload(ctx context.Context, file string, log *slog.Logger) (*config.Snapshot, error) {
	opts := a.options()
	opts.Print = func(at prop.Pos, text string) { log.Info("print", "at", at.String(), "text", text) }
	snapshot, warnings, err := starlark.Load(ctx, file, opts)
	for _, w := range warnings {
		log.Warn("configuration", "at", w.Pos.String(), "subject", w.Subject, "warning", w.Text)
	}
	return snapshot, err
}

// replay evaluates the inputs of an earlier configuration, for the builds that started
// with it. What it prints was printed then.
func (a *app) replay(ctx context.Context, file string, inputs []config.Input, env map[string]*string) (*config.Snapshot, error) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	opts := a.options()
	opts.Print, opts.Basedir = nil, dir
	snapshot, _, err := starlark.Replay(ctx, inputs, env, opts)
	return snapshot, err
}

// load evaluates a configuration and shows its warnings.
func (a *app) load(ctx context.Context, file string) (*config.Snapshot, error) {
	snapshot, warnings, err := starlark.Load(ctx, file, a.options())
	if err == nil && len(warnings) > 0 {
		starlark.Format(a.err, below(file, warnings), isTerminal(a.err))
	}
	return snapshot, err
}

// report shows what is wrong with a configuration and returns what main makes exit
// status 1 of. Errors of another kind are returned as they are.
func (a *app) report(err error, file string) error {
	var problems prop.Problems
	if !errors.As(err, &problems) {
		return err
	}
	starlark.Format(a.err, below(file, problems), isTerminal(a.err))
	fmt.Fprintf(a.err, "%s was not loaded: %s.\n", filepath.Base(file), count(len(problems), "problem"))
	return errStatus(1)
}

// below writes places as seen from the current directory, as an editor opens them;
// file is master.star as the user named it.
func below(file string, problems prop.Problems) prop.Problems {
	dir := filepath.Dir(file)
	out := slices.Clone(problems)
	for i := range out {
		out[i].Pos.File = filepath.Join(dir, out[i].Pos.File)
		out[i].Chain = slices.Clone(out[i].Chain)
		for j := range out[i].Chain {
			out[i].Chain[j].File = filepath.Join(dir, out[i].Chain[j].File)
		}
	}
	return out
}

// problemsJSON prints problems as a JSON list, [] if there is none.
func (a *app) problemsJSON(err error) error {
	problems := prop.Problems{}
	if err != nil && !errors.As(err, &problems) {
		return err
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	if err := e.Encode(problems); err != nil {
		return err
	}
	if len(problems) > 0 {
		return errStatus(1)
	}
	return nil
}
