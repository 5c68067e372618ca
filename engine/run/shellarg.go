package run

import (
	"encoding/binary"
	"fmt"

	"buildstar/config"
	"buildstar/config/prop"
)

// CommandLine is what a command argument renders to: a string for a shell, or words.
type CommandLine struct{ V any }

// TypeName is what messages call it.
func (CommandLine) TypeName() string { return "string or list of strings" }

// AppendCanonical appends the words; content hashes need it for every step.
func (c CommandLine) AppendCanonical(dst []byte) []byte { return prop.AppendValue(dst, c.V) }

// FromValue reads a string, or a list of strings and such lists.
func (c *CommandLine) FromValue(v any) error {
	switch v := v.(type) {
	case string:
		c.V = v
		return nil
	case []any:
		words, err := flatten(make([]any, 0, len(v)), v)
		if err != nil {
			return err
		}
		if len(words) == 0 {
			return fmt.Errorf("the command has no words")
		}
		c.V = words
		return nil
	}
	return fmt.Errorf("want a string or a list of strings, got %s", prop.Describe(v))
}

func flatten(words, list []any) ([]any, error) {
	var err error
	for i, e := range list {
		switch e := e.(type) {
		case string:
			words = append(words, e)
		case []any:
			if words, err = flatten(words, e); err != nil {
				return nil, fmt.Errorf("item %d: %w", i+1, err)
			}
		default:
			return nil, fmt.Errorf("item %d: want a string, got %s", i+1, prop.Describe(e))
		}
	}
	return words, nil
}

// ShellArg is one command of a ShellSequence step (docs/requirements.md C4).
type ShellArg struct {
	Where prop.Pos `star:"-"`
	// Command is a string for the worker's shell, or a list of words. An empty one is
	// left out.
	Command prop.Template[SomeCommand] `star:"command"`
	// Logname is the log of what the command prints; the default is "stdio". Commands
	// of one logname share it.
	Logname prop.Template[*string] `star:"logname,optional"`
	// HaltOnFailure ends the sequence when this command fails.
	HaltOnFailure bool `star:"haltOnFailure,optional"`
	// FlunkOnWarnings makes the step fail when this command ends with warnings.
	FlunkOnWarnings bool `star:"flunkOnWarnings,optional"`
	// FlunkOnFailure makes the step fail when this command fails.
	FlunkOnFailure bool `star:"flunkOnFailure,optional"`
	// WarnOnWarnings makes the step end with warnings when this command does.
	WarnOnWarnings bool `star:"warnOnWarnings,optional"`
	// WarnOnFailure makes the step end with warnings when this command fails, unless it
	// flunks.
	WarnOnFailure bool `star:"warnOnFailure,optional"`
}

// Judge applies flunkOnFailure and friends of the command: the result of the step
// after it, and whether it was the last.
func (a *ShellArg) Judge(overall, result config.Result) (config.Result, bool) {
	return judge(overall, result, &Common{
		HaltOnFailure: a.HaltOnFailure, FlunkOnFailure: a.FlunkOnFailure, FlunkOnWarnings: a.FlunkOnWarnings,
		WarnOnWarnings: a.WarnOnWarnings, WarnOnFailure: a.WarnOnFailure,
	})
}

// AppendCanonical appends the content.
func (a *ShellArg) AppendCanonical(dst []byte) []byte {
	dst = a.Logname.AppendCanonical(a.Command.AppendCanonical(dst))
	return fmt.Appendf(dst, "%t,%t,%t,%t,%t;", a.HaltOnFailure, a.FlunkOnWarnings, a.FlunkOnFailure, a.WarnOnWarnings, a.WarnOnFailure)
}

// SomeCommand is a [CommandLine] that may also be empty: "", [] or None.
type SomeCommand struct{ CommandLine }

// FromValue reads what [CommandLine] does, or what is empty.
func (c *SomeCommand) FromValue(v any) error {
	if !prop.Truthy(v) {
		c.V = nil
		return nil
	}
	return c.CommandLine.FromValue(v)
}

// ShellArgs are the commands of a ShellSequence.
type ShellArgs []*ShellArg

// FromValue reads a list of util.ShellArg.
func (l *ShellArgs) FromValue(v any) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("want a list of util.ShellArg, got %s", prop.Describe(v))
	}
	out := make(ShellArgs, 0, len(list))
	for i, e := range list {
		a, ok := e.(*ShellArg)
		if !ok {
			return fmt.Errorf("item %d: want a util.ShellArg, got %s", i+1, prop.Describe(e))
		}
		out = append(out, a)
	}
	*l = out
	return nil
}

// TypeName is what messages call it.
func (ShellArgs) TypeName() string { return "list of util.ShellArg" }

// AppendCanonical appends the commands.
func (l ShellArgs) AppendCanonical(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(l)))
	for _, a := range l {
		dst = a.AppendCanonical(dst)
	}
	return dst
}
