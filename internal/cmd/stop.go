package cmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

var stop = command{
	name: "stop", args: "[DIR]",
	short: "stop a running master",
	long: `Running builds on workers that cannot outlive the master are interrupted and
queued again; that takes at most 20 seconds. With --now nothing is waited for.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		now := fs.Bool("now", false, "do not wait for builds to be interrupted")
		noWait := fs.Bool("no-wait", false, "return at once, before the master has ended")
		return func(ctx context.Context, a *app, args []string) error {
			dir, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			r, err := findRunning(dir)
			if err != nil {
				return err
			}
			if err := terminate(r.PID, *now); err != nil {
				return err
			}
			if *noWait {
				return nil
			}
			if err := waitStopped(ctx, dir); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "buildstar stopped (pid %d)\n", r.PID)
			return nil
		}
	},
}

var restart = command{
	name: "restart", args: "[DIR|FILE]",
	short: "stop a running master and start it again, in the foreground",
	long: `Builds on our own workers go on; this may be a newer version (docs/upgrade.md). A master
that does not run is just started. Under systemd use 'systemctl restart' instead. The flags are those of start.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		run := start.setup(fs)
		return func(ctx context.Context, a *app, args []string) error {
			dir, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			var none errNotRunning
			switch r, err := findRunning(dir); {
			case errors.As(err, &none):
			case err != nil:
				return err
			default:
				if err := terminate(r.PID, false); err != nil {
					return err
				}
				if err := waitStopped(ctx, dir); err != nil {
					return err
				}
			}
			return run(ctx, a, args)
		}
	},
}

// terminate asks a master to stop. A second signal means at once; it is another one,
// because the kernel folds two equal ones.
func terminate(pid int, now bool) error {
	signals := []syscall.Signal{syscall.SIGTERM}
	if now {
		signals = append(signals, syscall.SIGINT)
	}
	for _, s := range signals {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop pid %d: %w", pid, err)
		}
	}
	return nil
}

// stopWait is how long a master may take: 20 s for its builds, and the rest for a
// slow disk.
const stopWait = 40 * time.Second

// waitStopped returns when the lock of a basedir is free.
func waitStopped(ctx context.Context, dir string) error {
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		dir = filepath.Dir(dir)
	}
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	for {
		// Polling, because a blocking flock cannot be interrupted.
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the master on %s has not stopped after %v; 'buildstar stop --now' does not wait for builds", dir, stopWait)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
