// Package run carries out one build: its worker preparation, steps, commands,
// logs, locks and results.
package run

import (
	"context"

	"buildstar/config"
	"buildstar/config/prop"
)

// Step does one thing in a build. It lives in the configuration and is shared by
// every build of its snapshot, so Run must not change it. Everything that can
// differ between two runs comes from b: a step reads no clock and draws no
// random numbers, so that a build can be replayed (docs/architecture.md section 4).
type Step interface {
	config.Step
	// Common returns the arguments that every step has.
	Common() *Common
	// Run does the step. The result is what the step says of itself; flunkOnFailure
	// and friends are applied by the build. An error ends the step as EXCEPTION (or
	// RETRY, if it wraps conn.ErrLost) and is written to the step's log.
	Run(ctx context.Context, b *Running) (config.Result, error)
}

// Common holds the arguments that every step has (docs/requirements.md C4). Step structs
// embed it.
type Common struct {
	Where prop.Pos `star:"-"`
	// Name is shown on the page and unique within a build: a second "shell" becomes
	// "shell_1".
	Name prop.Template[string] `star:"name,optional"`
	// HaltOnFailure ends the build when this step fails; steps with alwaysRun still run.
	HaltOnFailure bool `star:"haltOnFailure,optional"`
	// FlunkOnFailure makes the build fail when this step fails.
	FlunkOnFailure bool `star:"flunkOnFailure,optional"`
	// FlunkOnWarnings makes the build fail when this step ends with warnings.
	FlunkOnWarnings bool `star:"flunkOnWarnings,optional"`
	// WarnOnWarnings makes the build end with warnings when this step does.
	WarnOnWarnings bool `star:"warnOnWarnings,optional"`
	// WarnOnFailure makes the build end with warnings when this step fails, unless it flunks.
	WarnOnFailure bool `star:"warnOnFailure,optional"`
	// AlwaysRun runs the step even after the build failed or was stopped.
	AlwaysRun bool `star:"alwaysRun,optional"`
	// DoStepIf decides whether the step runs; a function gets the step. False skips it.
	DoStepIf prop.Template[bool] `star:"doStepIf,optional"`
	// HideStepIf decides at the end whether the step is hidden on the page; a
	// function gets the result and the step.
	HideStepIf prop.Template[bool] `star:"hideStepIf,optional"`
	// Description is shown while the step runs.
	Description prop.Template[Text] `star:"description,optional"`
	// DescriptionDone is shown when it ended.
	DescriptionDone prop.Template[Text] `star:"descriptionDone,optional"`
	// DescriptionSuffix is appended to both.
	DescriptionSuffix prop.Template[Text] `star:"descriptionSuffix,optional"`
	// UpdateBuildSummaryPolicy says for which results the step's text becomes part
	// of the build's: True, False or a list of results.
	UpdateBuildSummaryPolicy any `star:"updateBuildSummaryPolicy,optional"`
	// Locks are held while the step runs.
	Locks prop.Template[config.LockAccesses] `star:"locks,optional"`
	// Workdir is the directory on the worker, relative to the builder's; default: the factory's.
	Workdir prop.Template[string] `star:"workdir,optional"`
}

// Text is a description: a string or a list of strings, joined with spaces.
type Text string

// FromValue reads a string or a list of strings.
func (t *Text) FromValue(v any) error {
	s, err := prop.Convert[string](v)
	if err == nil {
		*t = Text(s)
		return nil
	}
	l, lerr := prop.Convert[[]string](v)
	if lerr != nil {
		return err
	}
	for i, s := range l {
		if i > 0 {
			*t += " "
		}
		*t += Text(s)
	}
	return nil
}
