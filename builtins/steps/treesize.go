package steps

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// TreeSize is steps.TreeSize (docs/requirements.md C4).
var TreeSize = class("TreeSize", func() any {
	return &treeSize{PresetShell{
		Base: base("TreeSize", "treesize"), ShellOptions: shellDefaults(),
		Command: prop.Of(run.CommandLine{V: []any{"du", "-s", "-k", "."}}),
	}}
})

// treeSize measures a directory of the worker and sets the property tree-size-KiB.
type treeSize struct {
	PresetShell `star:",kw"`
}

// Make makes the step.
func (s *treeSize) Make(c *spec.Call) any {
	s.Base.check(c)
	s.ShellOptions.check(c)
	return s
}

var kibibytes = regexp.MustCompile(`\d+`)

// Run implements run.Step. Output without a number is a warning.
func (s *treeSize) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	out := capture{stdout: true}
	result, command, err := s.shell().run(ctx, r, out.take)
	if err == nil {
		err = out.err
	}
	if err != nil || !command.Succeeded() {
		return result, err
	}
	size, err := strconv.ParseInt(kibibytes.FindString(out.o.String()), 10, 64)
	if err != nil {
		return config.Warnings, nil
	}
	r.SetProperty("tree-size-KiB", size, "treesize")
	r.Because(fmt.Sprintf("%d KiB", size))
	return result, nil
}
