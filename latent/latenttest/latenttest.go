// Package latenttest holds the suite that every backend of latent workers must pass, against
// its real server where there is one (docs/requirements.md A9, D1 pain 2).
//
// The contract is tried on the backend alone. Then it gets a ledger, faults between the two
// (a reply that is lost, a stop that hangs), workers that come too early, twice or not at all,
// and masters that are killed at each point of the life of an instance. Whatever happens, the
// provider's own list is empty in the end, and so is the ledger.
package latenttest

import (
	"context"
	"os"
	"testing"
	"time"

	"buildstar/config/prop"
	"buildstar/latent"
)

// patience bounds what the suite waits for.
const patience = 2 * time.Minute

// Subject is a backend under test, whose instances need not connect.
type Subject struct {
	Params latent.Params
	Env    latent.Env // Master is unique to the test
	Props  prop.Props // of a build that an instance can be started for; nil: none
	// Alive returns how many instances of Env.Master the provider itself says there are.
	Alive func(t *testing.T) int
	// Kill ends an instance behind the backend's back; nil: that cannot be done.
	Kill func(t *testing.T, ref latent.Ref)
	// Seed is what newSubject makes the same subject from in a process of its own, where
	// Inherited returns it. That process is the master that is killed. Without a Seed a
	// master that is killed is one that does nothing any more.
	Seed string
}

// Inherited returns the Seed of the subject that newSubject must make once more; "" asks for
// a new one.
func Inherited() string { return inherited().Seed }

// Exercise runs the suite; each test gets a subject of its own, and is parallel if newSubject
// says so.
func Exercise(t *testing.T, newSubject func(t *testing.T) Subject) {
	if os.Getenv(variable) != "" {
		die(t, newSubject(t))
		return
	}
	tests := []struct {
		name string
		run  func(*exercise)
	}{
		{"an instance lives from start to stop", (*exercise).life},
		{"a stop of nothing succeeds", (*exercise).nothing},
		{"a start whose handle was lost is stopped without it", (*exercise).noHandle},
		{"a start that is cut leaves nothing after its stop", (*exercise).cut},
		{"another backend of the same arguments stops it", (*exercise).restart},
		{"instances are told apart", (*exercise).apart},
		{"the provider's list is complete", (*exercise).list},
		{"a dead instance is noticed", (*exercise).dead},
		{"equal builds need equal instances", (*exercise).equal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(begin(t, newSubject(t))) })
	}
	for _, tt := range lives {
		t.Run(tt.name, func(t *testing.T) { begin(t, newSubject(t)).lead(tt.run) })
	}
	for _, p := range points {
		t.Run("the master is killed "+p.String(), func(t *testing.T) { begin(t, newSubject(t)).killed(p) })
	}
}

// exercise is one test.
type exercise struct {
	t *testing.T
	Subject
	b   latent.Backend
	ctx context.Context
}

func begin(t *testing.T, s Subject) *exercise {
	x := prepare(t, s)
	x.b = x.open()
	if n := s.Alive(t); n != 0 {
		t.Fatalf("there are %d instances before the test", n)
	}
	return x
}

func prepare(t *testing.T, s Subject) *exercise {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	if s.Props == nil {
		s.Props = &prop.Map{}
	}
	return &exercise{t: t, Subject: s, ctx: ctx}
}

func (x *exercise) open() latent.Backend {
	x.t.Helper()
	b, err := x.Params.Open(x.Env)
	if err != nil {
		x.t.Fatal(err)
	}
	return b
}

func (x *exercise) launch(worker string, attempt int64) latent.Launch {
	x.t.Helper()
	arguments, err := x.Params.Render(x.ctx, x.Props)
	if err != nil {
		x.t.Fatal(err)
	}
	settled := make(chan struct{})
	x.t.Cleanup(func() { close(settled) })
	return latent.Launch{
		Ref: latent.Ref{Worker: worker, Attempt: attempt, Arguments: arguments}, Password: "secret", Host: "127.0.0.1", Port: 9,
		Properties: map[string]any{}, Log: func(string) {}, Settled: settled,
	}
}

// start starts an instance and returns how the ledger knows it.
func (x *exercise) start(worker string, attempt int64) latent.Ref {
	x.t.Helper()
	in := x.launch(worker, attempt)
	s, err := x.b.Start(x.ctx, in)
	if err != nil || s.Handle == "" {
		x.t.Fatalf("start: %+v, %v", s, err)
	}
	ref := in.Ref
	ref.Handle = s.Handle
	return ref
}

func (x *exercise) stop(b latent.Backend, ref latent.Ref, fast bool) {
	x.t.Helper()
	if err := b.Stop(x.ctx, ref, fast); err != nil {
		x.t.Fatalf("stop %+v: %v", ref, err)
	}
}

// wait waits until something is true.
func (x *exercise) wait(what string, is func() bool) {
	x.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-x.ctx.Done():
			x.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// alive waits until the provider has so many instances: a fast stop may take its time.
func (x *exercise) alive(want int) {
	x.t.Helper()
	got := -1
	defer func() {
		if got != want {
			x.t.Errorf("the provider has %d instances, want %d", got, want)
		}
	}()
	x.wait("the provider's list", func() bool {
		got = x.Alive(x.t)
		return got == want
	})
}
