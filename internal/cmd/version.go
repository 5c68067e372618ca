package cmd

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

var version = command{
	name: "version", short: "print the version",
	setup: func(*flag.FlagSet) func(context.Context, *app, []string) error {
		return func(_ context.Context, a *app, args []string) error {
			if len(args) > 0 {
				return usageError{"version takes no arguments"}
			}
			fmt.Fprintf(a.out, "buildstar %s%s, %s %s/%s\n", a.Version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		}
	},
}

// revision returns the commit the binary was built from, if Go recorded it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var rev, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			rev = " (" + s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = ", modified"
		}
	}
	if rev == "" {
		return ""
	}
	return rev + dirty + ")"
}
