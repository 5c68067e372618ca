// Package cmd is the command line: one file per subcommand, named as a Buildbot
// user knows them (docs/requirements.md C13).
package cmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"buildstar/config/prop"
	"buildstar/starlark/spec"
)

// Plugins is what master.go plugs in.
type Plugins struct {
	Modules []*spec.Module // the vocabulary of master.star
	Version string
}

// command is one subcommand.
type command struct {
	name  string
	args  string // how its arguments are written: "[DIR|FILE]"
	short string // one line for the list
	long  string // the rest of its help
	// setup declares the flags and returns what runs once they are parsed.
	setup func(fs *flag.FlagSet) func(ctx context.Context, a *app, args []string) error
}

// app is what a subcommand has: the streams and the plugins.
type app struct {
	Plugins
	out, err io.Writer
	getenv   func(string) string
}

func commands() []command {
	return []command{createMaster, checkConfig, start, stop, restart, reconfig, sendchange, workerCommand, workersCommand, instancesCommand, doctor, explain, version}
}

// errStatus ends the program with a status after everything was said.
type errStatus int

func (e errStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a mistake on the command line: exit status 2, with the way to the
// help.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// Main runs the program and returns its exit status: 0 done, 1 failed, 2 wrong
// use.
func Main(ctx context.Context, p Plugins, args []string) int {
	a := &app{Plugins: p, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	return a.main(ctx, args)
}

func (a *app) main(ctx context.Context, args []string) int {
	if len(args) == 0 {
		a.help(a.err)
		return 2
	}
	name := args[0]
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, name) {
		if len(args) > 1 && name == "help" {
			return a.main(ctx, []string{args[1], "--help"})
		}
		a.help(a.out)
		return 0
	}
	if name == "--version" || name == "-version" {
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return a.run(ctx, c, args[1:])
		}
	}
	fmt.Fprintf(a.err, "buildstar: there is no command %q", name)
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	if near := prop.Nearest(name, names); near != "" {
		fmt.Fprintf(a.err, "; did you mean %q?", near)
	}
	fmt.Fprintln(a.err, "\nRun 'buildstar help' for the list.")
	return 2
}

func (a *app) run(ctx context.Context, c command, args []string) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	run := c.setup(fs)
	pos, err := parse(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help(a.out, fs)
		return 0
	case err != nil:
		err = usageError{err.Error()}
	default:
		err = run(ctx, a, pos)
	}
	var status errStatus
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		fmt.Fprintf(a.err, "buildstar %s: %v\nusage: buildstar %s\nRun 'buildstar %s --help' for more.\n", c.name, err, c.usage(), c.name)
		return 2
	}
	fmt.Fprintf(a.err, "buildstar %s: %v\n", c.name, err)
	return 1
}

// parse parses flags wherever they stand, so that "start DIR -v" works too.
func parse(fs *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if len(rest) == 0 {
			return positional, nil
		}
		if len(args) > len(rest) && args[len(args)-len(rest)-1] == "--" {
			return append(positional, rest...), nil
		}
		positional = append(positional, rest[0])
		args = rest[1:]
	}
}

func (a *app) help(w io.Writer) {
	fmt.Fprint(w, "buildstar is a continuous-integration master in one binary.\n\nusage: buildstar COMMAND [arguments]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-14s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nRun 'buildstar COMMAND --help' for the arguments of a command.\nTo begin: buildstar create-master DIR, then buildstar start DIR.\n")
}

func (c command) usage() string { return strings.TrimSpace(c.name + " [flags] " + c.args) }

func (c command) help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "usage: buildstar %s\n\n%s\n", c.usage(), c.short)
	if c.long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.long))
	}
	any := false
	fs.VisitAll(func(*flag.Flag) { any = true })
	if any {
		fmt.Fprint(w, "\nFlags:\n")
		fs.SetOutput(w)
		fs.PrintDefaults()
	}
}

// oneArg returns the only positional argument, or def if there is none.
func oneArg(args []string, def string) (string, error) {
	switch len(args) {
	case 0:
		return def, nil
	case 1:
		return args[0], nil
	}
	return "", usageError{fmt.Sprintf("too many arguments: %q", args[1:])}
}
