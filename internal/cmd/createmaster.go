package cmd

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed sample.star
var sample []byte

const ignore = "state.sqlite*\nlogs/\nworkers/\nmaster.lock\nreload.json\n"

var createMaster = command{
	name: "create-master", args: "DIR",
	short: "make a directory for a new master, with a master.star to begin with",
	long: `What is there already is kept, so it is safe to run twice. 'buildstar start DIR'
then starts the master.`,
	setup: func(fs *flag.FlagSet) func(context.Context, *app, []string) error {
		force := fs.Bool("f", false, "replace a master.star that is there")
		return func(_ context.Context, a *app, args []string) error {
			dir, err := oneArg(args, "")
			if err != nil {
				return err
			}
			if dir == "" {
				return usageError{"which directory?"}
			}
			return a.createMaster(dir, *force)
		}
	},
}

func (a *app) createMaster(dir string, force bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := a.create(filepath.Join(dir, configName), sample, force); err != nil {
		return err
	}
	if err := a.create(filepath.Join(dir, ".gitignore"), []byte(ignore), false); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\nNow: buildstar start %s\n", dir)
	return nil
}

// create writes a file and says so, or says that it kept the one there.
func (a *app) create(path string, data []byte, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		fmt.Fprintf(a.out, "kept    %s\n", path)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "created %s\n", path)
	return nil
}
