package worker

import (
	"buildstar/starlark/spec"
)

// LocalWorker is worker.LocalWorker (docs/requirements.md A7, B2).
var LocalWorker = &spec.Class{
	Module: "worker", Name: "LocalWorker",
	New:     func() any { return &localWorker{common: defaults(), absence: anHour()} },
	Partial: true,
	Renamed: map[string]string{"workername": "name"},
	Old:     map[string]string{"slavename": "name"},
	Unsupported: map[string]string{
		"password": "a local worker needs none: it lives inside the master",
	},
}

// localWorker is a worker that runs inside the master. It needs no protocols and
// no password.
type localWorker struct {
	// Name identifies the worker, as worker.Worker's does.
	Name string `star:"name"`
	// Workdir is the directory for its builders. A relative one is below the master's
	// basedir; the default is workers/NAME there. It is made if it is missing (B2).
	Workdir string `star:"workdir,optional"`
	common  `star:",kw"`
	absence `star:",kw"`
}

// Make makes the node.
func (w *localWorker) Make(c *spec.Call) any {
	checkName(c, w.Name)
	n := w.node(c, "LocalWorker", w.Name)
	n.Local, n.Workdir = true, w.Workdir
	w.note(c, n)
	return n
}
