package cmd

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
)

var checkConfig = command{
	name: "checkconfig", args: "[DIR|FILE]",
	short: "check a configuration and list everything that is wrong with it",
	long: `Nothing is started, no network is used, no database is opened. The exit status is 1
if there is a problem.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		asJSON := fs.Bool("json", false, "print the problems as a JSON list")
		return func(ctx context.Context, a *app, args []string) error {
			arg, err := oneArg(args, ".")
			if err != nil {
				return err
			}
			_, file, err := locate(arg)
			if err != nil {
				return err
			}
			snapshot, err := a.load(ctx, file)
			if *asJSON {
				return a.problemsJSON(err)
			}
			if err != nil {
				return a.report(err, file)
			}
			fmt.Fprintf(a.out, "%s is good: %s, %s, %s\n", filepath.Base(file),
				count(len(snapshot.Workers), "worker"), count(len(snapshot.Builders), "builder"), count(len(snapshot.Schedulers), "scheduler"))
			return nil
		}
	},
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
