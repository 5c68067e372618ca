package cmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"buildstar/builtins/schedulers"
	"buildstar/builtins/secrets"
	"buildstar/builtins/steps"
	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark/spec"
)

// clinic is a backend whose only use is to be examined.
type clinic struct {
	Health string
}

type clinicWorker struct {
	Name     string           `star:"name"`
	Password *prop.Credential `star:"password"`
	clinic
	Room          string `star:"room,optional"`
	worker.Latent `star:",kw"`
}

var clinicClass = &spec.Class{
	Module: "worker", Name: "ClinicWorker",
	New: func() any { return &clinicWorker{Latent: worker.LatentDefaults()} },
}

func (w *clinicWorker) Make(c *spec.Call) any {
	return w.LatentNode(c, "ClinicWorker", w.Name, w.Password, &clinic{w.Room}, false)
}

func (*clinic) Kind() string { return "clinic" }
func (*clinic) Varies() bool { return false }
func (*clinic) Render(context.Context, prop.Props) (latent.Arguments, error) {
	return nil, nil
}
func (c *clinic) Open(latent.Env) (latent.Backend, error) {
	if c.Health == "closed" {
		return nil, errors.New("the clinic is closed")
	}
	return c, nil
}
func (*clinic) Start(context.Context, latent.Launch) (latent.Started, error) {
	return latent.Started{}, errors.New("nothing starts here")
}
func (*clinic) Stop(context.Context, latent.Ref, bool) error { return nil }

func (c *clinic) Examine(_ context.Context, report func(latent.Finding)) {
	report(latent.Finding{Check: "reach it", Text: "version 1"})
	if c.Health == "quota" {
		report(latent.Finding{Check: "quota", Health: latent.Doubtful, Text: "1 of 10\nleft", Fix: "ask for more"})
	}
}

func TestDoctor(t *testing.T) {
	tests := []struct {
		name, workers string
		args          []string
		status        int
		want          string
	}{
		{"none", `worker.Worker("w", "p")`, nil, 0, "There are no latent workers to examine.\n"},
		{"alike", `worker.ClinicWorker("a", None), worker.ClinicWorker("b", None), worker.ClinicWorker("c", None, room = "quota")`, nil, 0, `a, b (clinic)
  fine      reach it: version 1

c (clinic)
  fine      reach it: version 1
  doubtful  quota: 1 of 10 left
            ask for more
`},
		{"ill", `worker.ClinicWorker("a", util.Secret("lost"), room = "closed")`, nil, 1, `a (clinic)
  ill       password: secret "lost": c['secretsProviders'] lists no provider
  ill       open the backend: the clinic is closed
`},
		{"json", `worker.ClinicWorker("a", None)`, []string{"--json"}, 0, `[
  {
    "workers": [
      "a"
    ],
    "kind": "clinic",
    "findings": [
      {
        "check": "reach it",
        "health": "fine",
        "text": "version 1"
      }
    ]
  }
]
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "master.star")
			text := "c = {}\nBuildmasterConfig = c\n" +
				"c['schedulers'] = [schedulers.ForceScheduler('force', builderNames = ['b'])]\n" +
				"c['workers'] = [" + tt.workers + "]\n" +
				"c['builders'] = [util.BuilderConfig(name = 'b', workernames = [w.name for w in c['workers']], factory = util.BuildFactory([steps.ShellCommand(command = 'true')]))]\n" +
				"c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1'}}\n"
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			var out, wrong bytes.Buffer
			a := &app{out: &out, err: &wrong, getenv: func(string) string { return "" }, Plugins: Plugins{
				Modules: []*spec.Module{worker.Module.With(clinicClass), steps.Module, schedulers.Module, util.Module, secrets.Module},
			}}
			status := a.main(t.Context(), append([]string{"doctor", file}, tt.args...))
			if status != tt.status || out.String() != tt.want {
				t.Errorf("status %d, want %d; got\n%s\nwant\n%s\nstderr:\n%s", status, tt.status, out.String(), tt.want, wrong.String())
			}
		})
	}
}
