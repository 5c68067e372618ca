package docker

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"buildstar/latent"
	"buildstar/latent/latenttest"
)

func TestConformance(t *testing.T) {
	latenttest.Exercise(t, func(t *testing.T) latenttest.Subject {
		t.Parallel()
		r := newRig(t, `image="GUEST"`)
		if seed := latenttest.Inherited(); seed != "" {
			r.env.Master = seed
		}
		return latenttest.Subject{
			Params: r.params, Env: r.env, Seed: r.env.Master,
			Alive: func(t *testing.T) int {
				found, err := r.api.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", labelMaster+"="+r.env.Master))})
				if err != nil {
					t.Fatal(err)
				}
				return len(found)
			},
			Kill: func(t *testing.T, ref latent.Ref) {
				id, _, _ := strings.Cut(ref.Handle, "@")
				if err := r.api.ContainerKill(t.Context(), id, "KILL"); err != nil {
					t.Error(err)
				}
			},
		}
	})
}
