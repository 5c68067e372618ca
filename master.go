// Buildstar is a continuous-integration master: master.star says what to build, and
// workers that dial in build it. What it can be told is the list of modules below.
package main

import (
	"context"
	"os"

	"buildstar/builtins/changes"
	"buildstar/builtins/reporters"
	"buildstar/builtins/schedulers"
	"buildstar/builtins/secrets"
	"buildstar/builtins/steps"
	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/internal/cmd"
	"buildstar/latent/docker"
	"buildstar/latent/ec2"
	"buildstar/latent/libvirt"
	"buildstar/latent/openstack"
	"buildstar/latent/script"
	"buildstar/starlark/spec"
)

// version is that of the next release.
const version = "0.1.0-dev"

func main() {
	os.Exit(cmd.Main(context.Background(), cmd.Plugins{
		Version: version,
		Modules: []*spec.Module{
			worker.Module.With(script.Worker, docker.Worker, ec2.Worker, openstack.Worker, libvirt.Worker),
			steps.Module,
			changes.Module,
			schedulers.Module,
			util.Module,
			secrets.Module,
			reporters.Module,
		},
	}, os.Args[1:]))
}
