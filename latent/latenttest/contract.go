package latenttest

import (
	"context"
	"slices"
	"time"

	"buildstar/latent"
)

func (x *exercise) life() {
	for i, fast := range []bool{false, true} {
		ref := x.start("w", int64(i+1))
		x.alive(1)
		x.stop(x.b, ref, fast)
		x.alive(0)
		x.stop(x.b, ref, fast) // again
	}
}

func (x *exercise) nothing() {
	x.stop(x.b, x.launch("w", 1).Ref, false)
	x.stop(x.b, x.launch("w", 1).Ref, true)
}

func (x *exercise) noHandle() {
	ref := x.start("w", 1)
	ref.Handle = ""
	x.stop(x.b, ref, false)
	x.alive(0)
}

func (x *exercise) cut() {
	for i, after := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(x.ctx, after)
		in := x.launch("w", int64(i+1))
		s, err := x.b.Start(ctx, in)
		cancel()
		ref := in.Ref
		if err == nil {
			ref.Handle = s.Handle
		}
		x.stop(x.b, ref, false)
		x.alive(0)
	}
}

func (x *exercise) restart() {
	ref := x.start("w", 1)
	x.stop(x.open(), ref, false)
	x.alive(0)
}

func (x *exercise) apart() {
	a, b := x.start("w", 1), x.start("v", 2)
	x.alive(2)
	if a.Handle == b.Handle {
		x.t.Errorf("both are %q", a.Handle)
	}
	x.stop(x.b, a, false)
	x.alive(1)
	b.Handle = ""
	x.stop(x.b, b, false)
	x.alive(0)
}

func (x *exercise) list() {
	lister, ok := x.b.(latent.Lister)
	if !ok {
		return
	}
	want := []string{x.start("w", 1).Handle, x.start("v", 2).Handle}
	refs, err := lister.List(x.ctx)
	if err != nil {
		x.t.Fatal(err)
	}
	var got []string
	for _, r := range refs {
		got = append(got, r.Handle)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		x.t.Errorf("listed %q, want %q", got, want)
	}
	for _, r := range refs {
		x.stop(x.b, r, false) // without arguments, as the ledger stops what it does not know
	}
	x.alive(0)
}

func (x *exercise) dead() {
	checker, ok := x.b.(latent.Checker)
	if !ok || x.Kill == nil {
		return
	}
	ref := x.start("w", 1)
	if good, message, err := checker.Check(x.ctx, ref); !good || err != nil {
		x.t.Errorf("one that lives: %s, %v", message, err)
	}
	x.Kill(x.t, ref)
	x.wait("one that is dead is bad", func() bool {
		good, _, err := checker.Check(x.ctx, ref)
		return !good || err != nil
	})
	x.stop(x.b, ref, false)
	x.alive(0)
}

func (x *exercise) equal() {
	a, b := x.launch("w", 1), x.launch("w", 2)
	if !a.Ref.Arguments.Equal(b.Ref.Arguments) {
		x.t.Errorf("%v is not %v", a.Ref.Arguments, b.Ref.Arguments)
	}
}
