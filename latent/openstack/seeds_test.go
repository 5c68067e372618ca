package openstack

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"buildstar/builtins/schedulers"
	"buildstar/builtins/util"
	"buildstar/builtins/worker"
	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/starlark"
	"buildstar/starlark/call"
	"buildstar/starlark/spec"
)

// The examples of the documents that Buildbot 0.8 had, with the name that the class has now.
var examples = map[string]string{
	"an image by its id": `
c['workers'] = [worker.OpenStackLatentWorker('bot2', 'sekrit',
                flavor=1, image='8ac9d4a4-5e03-48b0-acde-77a0345a9ab1',
                os_username='user', os_password='password',
                os_tenant_name='tenant',
                os_auth_url='http://127.0.0.1:35357/v2.0')]
`,
	"a function": `
def find_image(images):
    # Sort oldest to newest.
    cmp_fn = lambda x,y: cmp(x.created, y.created)
    candidate_images = sorted(images, cmp=cmp_fn)
    # Return the oldest candiate image.
    return candidate_images[0]

c['workers'] = [worker.OpenStackLatentWorker('bot2', 'sekrit',
                flavor=1, image=find_image,
                os_username='user', os_password='password',
                os_tenant_name='tenant',
                os_auth_url='http://127.0.0.1:35357/v2.0')]
`,
}

const rest = `
c['protocols'] = {'msgpack_experimental_v7': {'port': 9989}}
c['builders'] = [util.BuilderConfig(name = 'b', workernames = ['bot2'], factory = util.BuildFactory([]))]
c['schedulers'] = [schedulers.Triggerable(name = 't', builderNames = ['b'])]
`

// load evaluates a whole master.star.
func load(t *testing.T, text string) (*config.Snapshot, error) {
	t.Helper()
	s, _, err := starlark.Replay(t.Context(), []config.Input{{Path: "master.star", Data: []byte("c = {}\n" + text + rest)}}, nil,
		starlark.Options{Modules: []*spec.Module{worker.Module.With(Worker), util.Module, schedulers.Module}, Function: call.Renderable})
	return s, err
}

// docs/requirements.md A12: they start servers as they stand.
func TestSeedsOpenStack(t *testing.T) {
	for name, text := range examples {
		synctest.Test(t, func(t *testing.T) {
			s, err := load(t, text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			f := newFake(t)
			f.password = "password"
			f.images[0]["id"] = "8ac9d4a4-5e03-48b0-acde-77a0345a9ab1"
			f.addImage("newer", time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), 1)
			f.flavorID = "1"
			r := &rig{t: t, ctx: t.Context(), env: latent.Env{Master: "M"}}
			w := s.Worker("bot2")
			p := *w.Latent.Backend.(*Params)
			p.transport = f
			r.open(&p)
			ref, started, err := r.tryStart(nil)
			if err != nil || started.Info[2] != "debian" {
				t.Fatalf("%s: %q, %v", name, started.Info, err)
			}
			r.stop(ref)
		})
	}
}

// The old names of the class say what to write.
func TestSeedsOpenStackOldNames(t *testing.T) {
	for old, want := range map[string]string{
		"worker.OpenStackLatentBuildSlave": "write worker.OpenStackLatentWorker(name, password, flavor, ...)",
		"OpenStackLatentBuildSlave":        "write worker.OpenStackLatentWorker(name, password, flavor, ...)",
	} {
		_, err := load(t, strings.Replace(examples["an image by its id"], "worker.OpenStackLatentWorker", old, 1))
		var problems prop.Problems
		if !errors.As(err, &problems) || !slices.ContainsFunc(problems, func(p prop.Problem) bool { return strings.Contains(p.Hint, want) }) {
			t.Errorf("%s: %v", old, err)
		}
	}
}
