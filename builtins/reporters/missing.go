package reporters

import (
	"slices"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// WorkerMissingGenerator is reporters.WorkerMissingGenerator (docs/requirements.md A4, C8).
var WorkerMissingGenerator = &spec.Class{
	Module: "reporters", Name: "WorkerMissingGenerator",
	New:         func() any { return &missingGenerator{} },
	Unsupported: map[string]string{"message_formatter": ""},
}

// missingGenerator makes mails about workers that are missing, for a reporter.
type missingGenerator struct {
	// Workers are the names of the workers it makes mails about; the default "all" is each.
	Workers workers `star:"workers,optional"`
}

var _ generator = (*missingGenerator)(nil)

// about reports whether it makes mails about a worker.
func (g *missingGenerator) about(worker string) bool {
	return g.Workers == nil || slices.Contains(g.Workers, worker)
}

// generator is what a reporter has to say.
type generator interface{ about(worker string) bool }

// workers is names, or nil for all.
type workers []string

// TypeName is what messages call it.
func (workers) TypeName() string { return `list of names, or "all"` }

// FromValue reads it.
func (w *workers) FromValue(v any) error {
	if v == "all" || v == nil {
		return nil
	}
	names, err := prop.Convert[[]string](v)
	if err == nil {
		*w = append(workers{}, names...)
	}
	return err
}
