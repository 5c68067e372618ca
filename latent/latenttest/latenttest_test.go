package latenttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"buildstar/config/prop"
	"buildstar/latent"
)

// cloud is a provider in memory. It has no Seed: its masters die as threads.
type cloud struct {
	mu   sync.Mutex
	runs map[string]latent.Ref // by handle
}

func (*cloud) Kind() string { return "cloud" }
func (*cloud) Varies() bool { return false }
func (*cloud) Render(context.Context, prop.Props) (latent.Arguments, error) {
	return latent.Arguments{"image": "a"}, nil
}
func (c *cloud) Open(latent.Env) (latent.Backend, error) { return c, nil }

func (c *cloud) Start(_ context.Context, in latent.Launch) (latent.Started, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ref := in.Ref
	ref.Handle = fmt.Sprint("i-", in.Attempt)
	c.runs[ref.Handle] = ref
	return latent.Started{Handle: ref.Handle}, nil
}

func (c *cloud) Stop(_ context.Context, in latent.Ref, _ bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.runs, func(handle string, r latent.Ref) bool {
		return handle == in.Handle || in.Handle == "" && r.Attempt == in.Attempt
	})
	return nil
}

func (c *cloud) Check(_ context.Context, in latent.Ref) (good bool, message string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, good = c.runs[in.Handle]
	return good, "", nil
}

func (c *cloud) List(context.Context) ([]latent.Ref, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.runs)), nil
}

func TestCloud(t *testing.T) {
	Exercise(t, func(t *testing.T) Subject {
		t.Parallel()
		c := &cloud{runs: map[string]latent.Ref{}}
		return Subject{
			Params: c, Env: latent.Env{Master: "tag"},
			Alive: func(*testing.T) int {
				c.mu.Lock()
				defer c.mu.Unlock()
				return len(c.runs)
			},
			Kill: func(_ *testing.T, ref latent.Ref) {
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.runs, ref.Handle)
			},
		}
	})
}
