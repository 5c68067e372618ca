package steps

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	star "go.starlark.net/starlark"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
)

// SetPropertyFromCommand is steps.SetPropertyFromCommand (docs/requirements.md C4).
var SetPropertyFromCommand = class("SetPropertyFromCommand", func() any {
	return &setPropertyFromCommand{
		Shell: Shell{Base: base("SetPropertyFromCommand", "setproperty"), ShellOptions: shellDefaults()},
		Strip: true, IncludeStdout: true,
	}
})

// setPropertyFromCommand runs a command on the worker and makes properties of what it
// prints.
type setPropertyFromCommand struct {
	Shell `star:",kw"`
	// Property is the property that is set to the output, if the command succeeds.
	Property prop.Template[*string] `star:"property,optional"`
	// Extract is called with the exit status, the standard output and the standard error
	// instead, also if the command fails, and returns a dict of properties.
	Extract star.Callable `star:"extract_fn,optional"`
	// Strip removes blanks and newlines around the output that becomes a property.
	Strip bool `star:"strip,optional"`
	// IncludeStdout takes standard output.
	IncludeStdout bool `star:"includeStdout,optional"`
	// IncludeStderr takes standard error; extract_fn always gets it.
	IncludeStderr bool `star:"includeStderr,optional"`
	// Function is Extract as a renderable.
	Function prop.Renderable
}

// Make makes the step.
func (s *setPropertyFromCommand) Make(c *spec.Call) any {
	s.Shell.Make(c)
	if v, plain := s.Property.Plain(); plain && v != nil && *v == "" {
		c.Problem("bad-value", "property", "it is empty", "")
	}
	v, plain := s.Property.Plain()
	if given := !plain || v != nil; given == (s.Extract != nil) {
		c.Problem("bad-value", "", "give property or extract_fn, and not both", "")
	}
	if s.Extract != nil {
		s.Function = c.Function(spec.Function{
			Callable: s.Extract, First: spec.FirstNothing, Args: []prop.Renderable{commandResult(0), commandResult(1), commandResult(2)},
		})
		s.Extract = nil // its content is that of Function
	}
	return s
}

// Run implements run.Step.
func (s *setPropertyFromCommand) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	property, err := run.Render(ctx, r, "property", s.Property)
	if err != nil {
		return config.Exception, err
	}
	if s.Function == nil && (property == nil || *property == "") {
		return config.Exception, fmt.Errorf("render property: it is empty")
	}
	out := capture{stdout: s.IncludeStdout, stderr: s.IncludeStderr || s.Function != nil}
	result, command, err := s.run(ctx, r, out.take)
	if err == nil {
		err = out.err
	}
	if err != nil || ctx.Err() != nil {
		return result, err
	}
	var values map[string]any
	switch {
	case s.Function != nil:
		if values, err = s.extract(ctx, r, command, &out); err != nil {
			return config.Exception, err
		}
	case !command.Succeeded():
		return result, nil
	default:
		text := out.o.String() + out.e.String()
		if s.Strip {
			text = strings.TrimSpace(text)
		}
		values = map[string]any{*property: text}
		r.Because("property " + *property + " set")
	}
	if err := setAll(r, values, r.StepName()); err != nil {
		return config.Exception, err
	}
	return result, changes(r, values)
}

// extraction is the Props of extract_fn: they know what the command did.
type extraction struct {
	*run.Running
	results [3]any // exit status, standard output, standard error
}

// commandResult is an argument of extract_fn.
type commandResult int

// Render implements prop.Renderable.
func (n commandResult) Render(_ context.Context, p prop.Props) (any, error) {
	return p.(extraction).results[n], nil
}

// AppendCanonical implements prop.Renderable.
func (n commandResult) AppendCanonical(dst []byte) []byte { return append(dst, byte(n)) }

func (s *setPropertyFromCommand) extract(ctx context.Context, r *run.Running, command run.CommandResult, out *capture) (map[string]any, error) {
	var rc any
	if command.RC != nil {
		rc = *command.RC
	}
	v, err := s.Function.Render(ctx, extraction{r, [3]any{rc, out.o.String(), out.e.String()}})
	if err != nil {
		return nil, fmt.Errorf("call extract_fn: %w", err)
	}
	values, err := prop.Convert[map[string]any](v)
	if err != nil {
		return nil, fmt.Errorf("extract_fn: it returned no dict of properties: %w", err)
	}
	r.Because(fmt.Sprintf("%d properties set", len(values)))
	return values, nil
}

// changes writes the properties that were set to a log.
func changes(r *run.Running, values map[string]any) error {
	if len(values) == 0 {
		return nil
	}
	l, err := r.AddLog("property changes", "t")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s: %s\n", name, prop.Repr(values[name]))
	}
	return l.Write('t', b.String())
}

// maxCapture is how much output becomes a property or an argument of a function.
const maxCapture = 16 << 20

// capture keeps the output of a command.
type capture struct {
	stdout, stderr bool // which is kept
	o, e           strings.Builder
	err            error
}

func (c *capture) take(stream byte, text []byte) {
	b := &c.o
	if stream == 'e' {
		b = &c.e
	}
	if stream == 'o' && !c.stdout || stream == 'e' && !c.stderr || c.err != nil {
		return
	}
	if c.o.Len()+c.e.Len()+len(text) > maxCapture {
		c.err = fmt.Errorf("the command printed more than the %d MiB that a property can hold", maxCapture>>20)
		return
	}
	b.Write(text)
}
