package util

import (
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// ShellArg is util.ShellArg (docs/requirements.md C4): one command of a ShellSequence step.
var ShellArg = &spec.Class{
	Module: "util", Name: "ShellArg",
	New: func() any { return &run.ShellArg{FlunkOnFailure: true} },
}
