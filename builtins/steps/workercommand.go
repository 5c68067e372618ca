package steps

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
)

// workerPath renders a path that is relative to the builder's directory on the worker.
func workerPath(x *renderer, name string, t prop.Template[string]) string {
	p := renderName(x, name, t)
	return x.r.WorkerPath(x.r.Builddir(), p)
}

// workerCommand has the worker do something with its files, and logs what it says of
// it.
func workerCommand(ctx context.Context, r *run.Running, name string, args map[string]any) (run.CommandResult, error) {
	stdio, err := r.AddLog("stdio", "s")
	if err != nil {
		return run.CommandResult{}, err
	}
	result, err := r.Command(ctx, run.Command{Name: name, Args: args, Log: stdio})
	if err != nil {
		return result, err
	}
	return result, said(stdio, result)
}

// said logs what the worker said went wrong with a command itself.
func said(log *run.Log, result run.CommandResult) error {
	if result.Error == "" {
		return nil
	}
	return log.Write('e', result.Error)
}

// outcomeOf returns the result of a worker command that succeeds or fails.
func outcomeOf(r *run.Running, result run.CommandResult) config.Result {
	switch result.Failure {
	case "timeout", "timeout_without_output":
		r.Because("timed out")
		return config.Failure
	}
	return result.Result()
}
