package cmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"buildstar/config"
)

var reconfig = command{
	name: "reconfig", args: "[DIR]",
	short: "make a running master load its configuration again",
	long: `Running builds go on with the configuration they started with, and connected workers
stay. If the new configuration has a problem, the master goes on with the old one, the
problems are listed, and the exit status is 1. SIGHUP does the same.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		return func(ctx context.Context, a *app, args []string) error {
			dir, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			if st, err := os.Stat(dir); err == nil && !st.IsDir() {
				dir = filepath.Dir(dir)
			}
			r, err := findRunning(dir)
			if err != nil {
				return err
			}
			o, err := askReload(ctx, dir, r.PID)
			if err != nil {
				return err
			}
			return a.showOutcome(o, r.Config)
		}
	},
}

// reloadWait is how long a reload may take: two evaluations of 30 s, and the rest for
// a slow disk.
const reloadWait = 90 * time.Second

// askReload asks the master of a basedir to reload, and returns what came of the
// first reload that began after the call.
func askReload(ctx context.Context, dir string, pid int) (outcome, error) {
	before, err := readOutcome(dir)
	if err != nil {
		return outcome{}, err
	}
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		return outcome{}, fmt.Errorf("signal pid %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, reloadWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		o, err := readOutcome(dir)
		if err != nil {
			return outcome{}, err
		}
		if o.Ended > before.Began {
			return o, nil
		}
		var none errNotRunning
		if _, err := findRunning(dir); errors.As(err, &none) {
			return outcome{}, errors.New("the master ended before it had loaded the configuration")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return outcome{}, fmt.Errorf("the master (pid %d) did not say within %v what came of the reload; its log says more", pid, reloadWait)
		}
	}
}

// showOutcome prints what a reload did, or what kept it from it.
func (a *app) showOutcome(o outcome, file string) error {
	switch {
	case o.Error != "":
		return fmt.Errorf("%s was not loaded, the old configuration stays in force: %s", filepath.Base(file), o.Error)
	case len(o.Problems) > 0:
		return a.report(o.Problems, file)
	}
	what := "nothing changed"
	if !o.Diff.Empty() {
		what = described(o.Diff)
	}
	_, err := fmt.Fprintf(a.out, "%s was loaded (generation %d): %s\n", filepath.Base(file), o.Generation, what)
	return err
}

// described is a difference on one line, with the first names of each kind.
func described(d config.Diff) string {
	var parts []string
	add := func(verb string, keys []config.Key) {
		const shown = 5
		if len(keys) == 0 {
			return
		}
		var names []string
		for _, k := range keys[:min(len(keys), shown)] {
			names = append(names, k.String())
		}
		if more := len(keys) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		parts = append(parts, verb+" "+strings.Join(names, ", "))
	}
	add("added", d.Added)
	add("removed", d.Removed)
	add("changed", d.Changed)
	if d.Master {
		parts = append(parts, "changed the top level")
	}
	return strings.Join(parts, "; ")
}
