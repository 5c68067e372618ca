package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/latent"
	"buildstar/state"
)

// cloud is both Params and Backend: its instances are started by the test.
type cloud struct {
	renders atomic.Int64
	asked   chan string // a Render of "slow" began
	answer  chan struct{}
	started chan string // what for
}

func (*cloud) Kind() string                                 { return "cloud" }
func (*cloud) Varies() bool                                 { return true }
func (c *cloud) Open(latent.Env) (latent.Backend, error)    { return c, nil }
func (*cloud) Stop(context.Context, latent.Ref, bool) error { return nil }
func (c *cloud) Render(ctx context.Context, p prop.Props) (latent.Arguments, error) {
	c.renders.Add(1)
	image, _ := p.Property("image")
	if image == "slow" {
		select {
		case c.asked <- "slow":
			<-c.answer
		case <-c.answer:
		}
	}
	return latent.Arguments{"image": image}, nil
}

func (c *cloud) Start(_ context.Context, in latent.Launch) (latent.Started, error) {
	c.started <- fmt.Sprint(in.Ref.Arguments["image"])
	return latent.Started{Handle: fmt.Sprint(in.Attempt)}, nil
}

// A request is compared with the instance before a worker is chosen, beside the distributor:
// a function of the user that takes its time holds up that request alone, and is called once
// for equal properties.
func TestFitting(t *testing.T) {
	c := &cloud{asked: make(chan string), answer: make(chan struct{}), started: make(chan string, 1)}
	s := remote([]string{"vm"}, ends("a", config.Success))
	s.Master.WorkerListen = []config.Listen{{Host: "127.0.0.1"}}
	s.Workers[0].Latent = &config.Latent{Backend: c, BuildWait: time.Hour, CheckEvery: time.Hour, Missing: time.Hour, MayBeIncompatible: true}
	r := newSite(t).start(config.New(*s))
	submit := func(image string) int64 {
		return r.submit("b", func(b *sched.Buildset) { b.Properties = state.Properties{"image": {Value: image, Source: "test"}} })
	}
	up := func(want string) (leave func()) {
		t.Helper()
		if got := <-c.started; got != want {
			t.Errorf("an instance for %s, want %s", got, want)
		}
		_, leave = r.attach("vm")
		return leave
	}
	build := func(request int64) {
		t.Helper()
		if b := r.finished(request); b.Results != config.Success {
			t.Errorf("%v: %s", b.Results, b.StateString)
		}
	}
	first := submit("fast")
	leave := up("fast")
	build(first)
	slow := submit("slow")
	<-c.asked
	x, err := r.Explain(context.Background(), slow)
	if err != nil || len(x.Reasons) != 1 || x.Reasons[0].Code != "instance-asked" {
		t.Errorf("%+v, %v", x, err)
	}
	build(submit("fast"))
	close(c.answer)
	leave2 := up("slow") // instead of the other
	leave()
	build(slow)
	before := c.renders.Load()
	build(submit("slow"))
	if n := c.renders.Load() - before; n != 1 {
		t.Errorf("rendered %d times for a build like the last one, want once, by the build", n)
	}
	leave2()
}
