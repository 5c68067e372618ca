package starlark_test

import (
	"testing"

	"buildstar/config"
	"buildstar/starlark"
)

func replayInput(text string) []config.Input {
	return []config.Input{{Path: "master.star", Data: []byte(text)}}
}

// thousand is the configuration of the limits that were measured: 1,000 builders
// of three steps and 500 workers.
const thousand = `
c = {}
c['workers'] = [worker.Worker("bot%d" % i, "secret", max_builds = 2) for i in range(500)]
def factory(i):
    f = util.BuildFactory()
    for target in ["all", "test", "install"]:
        f.addStep(steps.ShellCommand(command = ["make", "-j4", target, "N=%d" % i]))
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
	b.ReportAllocs()
	for b.Loop() {
		s, _, err := starlark.Replay(b.Context(), replayInput(thousand), nil, testOptions)
		if err != nil {
			b.Fatal(err)
		}
		if len(s.Builders) != 1000 {
			b.Fatal(len(s.Builders))
		}
	}
}
