package configtest_test

import (
	"testing"
	"time"

	"buildstar/builtins/changes"
	"buildstar/builtins/reporters"
	"buildstar/builtins/schedulers"
	"buildstar/builtins/secrets"
	"buildstar/builtins/steps"
	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/internal/evalcase"
	"buildstar/latent/docker"
	"buildstar/latent/ec2"
	"buildstar/latent/libvirt"
	"buildstar/latent/openstack"
	"buildstar/latent/script"
	"buildstar/starlark"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

var options = starlark.Options{
	Modules:  []*spec.Module{worker.Module.With(script.Worker, docker.Worker, ec2.Worker, openstack.Worker, libvirt.Worker), steps.Module, changes.Module, schedulers.Module, util.Module, secrets.Module, reporters.Module},
	Function: call.Renderable,
	Timeout:  5 * time.Minute,
}

func TestCases(t *testing.T) { evalcase.Run(t, "testdata", options) }

// thousand is the configuration of the limits that were measured: 1,000 builders
// of three steps and 500 workers.
const thousand = `
c = {}
c['workers'] = [worker.Worker("bot%d" % i, "secret", max_builds = 2) for i in range(500)]
def factory(i):
    f = util.BuildFactory()
    for target in ["all", "test", "install"]:
        f.addStep(steps.ShellCommand(name = target, command = ["make", "-j4", target, "N=%d" % i]))
    return f
c['builders'] = []
for i in range(1000):
    c['builders'].append(util.BuilderConfig(
        name = "builder%d" % i,
        workernames = ["bot%d" % ((i + k) % 500) for k in range(5)],
        factory = factory(i),
    ))
c['schedulers'] = [schedulers.ForceScheduler("force", [b.name for b in c['builders']])]
c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}
`

// BenchmarkLoad measures an evaluation with its graph phase and content hashes.
func BenchmarkLoad(b *testing.B) {
	input := []config.Input{{Path: "master.star", Data: []byte(thousand)}}
	b.ReportAllocs()
	for b.Loop() {
		s, _, err := starlark.Replay(b.Context(), input, nil, options)
		if err != nil {
			b.Fatal(err)
		}
		if len(s.Builders) != 1000 || len(s.Builders[999].Factory.Steps) != 3 {
			b.Fatal("the snapshot is not complete")
		}
	}
}
