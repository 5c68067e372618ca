package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildstar/latent"
	"buildstar/latent/latenttest"
)

// files is a provider whose instances are files, made and removed by programs.
const files = `
def name(ctx):
    return "%s-%s-%d" % (ctx.tag, ctx.worker, ctx.instance)

def start(ctx):
    r = ctx.exec(["sh", "-c", "sleep 0.05; touch $DIR/$NAME; sleep 0.05"], env = {"DIR": "{DIR}", "NAME": name(ctx)})
    if r.rc != 0:
        fail_to_substantiate(r.stderr)
    return name(ctx)

def stop(ctx, handle, fast):
    r = ctx.exec(["rm", "-f", "{DIR}/" + (handle or name(ctx))])
    if r.rc != 0:
        fail_to_substantiate(r.stderr)

def check(ctx, handle):
    return ctx.exec(["test", "-e", "{DIR}/" + handle]).rc == 0, "it is gone"

def instances(ctx):
    return [n for n in ctx.exec(["ls", "{DIR}"]).stdout.split() if n.startswith(ctx.tag + "-")]
`

func TestConformance(t *testing.T) {
	latenttest.Exercise(t, func(t *testing.T) latenttest.Subject {
		t.Parallel()
		dir := latenttest.Inherited()
		if dir == "" {
			dir = t.TempDir()
		}
		w := node(t, strings.ReplaceAll(files, "{DIR}", dir), ", check_instance = check, list_instances = instances")
		return latenttest.Subject{
			Params: w.Latent.Backend.(latent.Params), Env: latent.Env{Master: "tag", Basedir: dir}, Seed: dir,
			Alive: func(t *testing.T) int {
				all, err := filepath.Glob(filepath.Join(dir, "tag-*"))
				if err != nil {
					t.Fatal(err)
				}
				return len(all)
			},
			Kill: func(t *testing.T, ref latent.Ref) {
				if err := os.Remove(filepath.Join(dir, ref.Handle)); err != nil {
					t.Error(err)
				}
			},
		}
	})
}
