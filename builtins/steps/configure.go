package steps

import (
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// preset declares a class that is steps.ShellCommand with other defaults.
func preset(b Base, doing, done string, command ...any) *spec.Class {
	b.Description, b.DescriptionDone = prop.Of(run.Text(doing)), prop.Of(run.Text(done))
	return class(b.Class, func() any {
		return &PresetShell{Base: b, Command: prop.Of(run.CommandLine{V: command}), ShellOptions: shellDefaults()}
	})
}

// PresetShell is a Shell whose command has a default.
type PresetShell struct {
	Base
	// Command is a string for the worker's shell, or a list of words that no shell sees.
	Command      prop.Template[run.CommandLine] `star:"command,optional,kw"`
	ShellOptions `star:",kw"`
}

// Make makes the step.
func (s *PresetShell) Make(c *spec.Call) any {
	return s.shell().Make(c)
}

func (s *PresetShell) shell() *Shell {
	return &Shell{Base: s.Base, Command: s.Command, ShellOptions: s.ShellOptions}
}

// Configure is steps.Configure (docs/requirements.md C4).
var Configure = preset(halting("Configure", "configure"), "configuring", "configure", "./configure")

// RemovePYCs is steps.RemovePYCs (docs/requirements.md C4): it removes what Python compiled. No shell
// sees the command, so the pattern has no quotes around it (Buildbot's has, and finds
// nothing).
var RemovePYCs = preset(base("RemovePYCs", "remove_pyc"), "removing .pyc files", "remove .pycs",
	"find", ".", "-name", "*.pyc", "-exec", "rm", "{}", ";")
