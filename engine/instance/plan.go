package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"buildstar/latent"
	"buildstar/state"
)

// listTimeout bounds the question what a provider runs.
const listTimeout = time.Minute

// remembered is how many instances of a kind say where to look for more.
const remembered = 1000

// Stray is an instance that a provider runs for this master and the ledger does not know.
type Stray struct {
	Kind string
	Ref  latent.Ref
	// Unsure says that it may be one that is being started: its provider does not say which
	// start it is of, and one has not returned a handle yet.
	Unsure bool
	stop   func(ctx context.Context) error
}

// Plan asks every provider of the configuration, and of the instances there are, what it
// runs, and returns what the ledger does not know. The error says which could not be asked;
// the others count nevertheless.
func (l *Ledger) Plan(ctx context.Context) (strays []Stray, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	seen := map[string]bool{}
	var errs []error
	for _, c := range l.configs() {
		kind := c.Worker.Latent.Backend.Kind()
		b, refs, err := l.list(ctx, c)
		errs = append(errs, err)
		known, err := l.known(ctx) // after the list: rows come before instances
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			if at := kind + " " + ref.Handle; !seen[at] && !known[kind+fmt.Sprint(" #", ref.Attempt)] && !known[at] {
				seen[at] = true
				strays = append(strays, Stray{Kind: kind, Ref: ref, Unsure: ref.Attempt == 0 && known[kind],
					stop: func(ctx context.Context) error { return b.Stop(ctx, ref, false) }})
			}
		}
	}
	return strays, errors.Join(errs...)
}

// list asks what the provider of a worker runs; none if it cannot tell. What it names counts
// also if there is an error.
func (l *Ledger) list(ctx context.Context, c Config) (latent.Backend, []latent.Ref, error) {
	p, err := c.params()
	if err != nil {
		return nil, nil, err
	}
	b, err := p.Open(l.env(p.Kind()))
	lister, ok := b.(latent.Lister)
	if err != nil || !ok {
		return b, nil, err
	}
	refs, err := lister.List(ctx)
	if err != nil {
		err = fmt.Errorf("list the instances of worker %q: %w", c.Worker.Name, err)
	}
	return b, refs, err
}

// env is what a backend of a kind may use.
func (l *Ledger) env(kind string) latent.Env {
	e := l.o.Env
	e.Instances = func(ctx context.Context) (refs []latent.Ref, err error) {
		err = l.o.Store.View(ctx, func(tx state.ReadTx) error {
			q := state.Where("kind", kind)
			q.Order, q.Limit = []state.Order{{Field: "instanceid", Desc: true}}, remembered
			rows, err := tx.Instances(q)
			for _, r := range rows {
				refs = append(refs, latent.Ref{Worker: r.Worker, Attempt: r.ID, Handle: r.Handle, Arguments: r.Arguments})
			}
			return err
		})
		return refs, err
	}
	return e
}

// finder returns the backend of any worker there is that sees an instance whose own cannot
// be had any more; why says why not. One that only does not complain would lose it.
func (l *Ledger) finder(ctx context.Context, kind string, in latent.Ref, why error) (latent.Backend, error) {
	errs := []error{why}
	for _, c := range l.configs() {
		if c.Worker.Latent.Backend.Kind() != kind {
			continue
		}
		b, refs, err := l.list(ctx, c)
		errs = append(errs, err)
		for _, ref := range refs {
			if in.Handle != "" && ref.Handle == in.Handle || ref.Attempt != 0 && ref.Attempt == in.Attempt {
				return b, nil
			}
		}
	}
	return nil, fmt.Errorf("no %s worker of the configuration finds it; have one that does: %w", kind, errors.Join(errs...))
}

// Reap stops what Plan finds, and returns that, but for what it could not stop. What is
// unsure it leaves alone.
func (l *Ledger) Reap(ctx context.Context) (found []Stray, err error) {
	strays, err := l.Plan(ctx)
	errs := []error{err}
	for _, s := range strays {
		if s.Unsure {
			found = append(found, s)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, l.o.StopTimeout)
		err := s.stop(ctx)
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("stop %s instance %s: %w", s.Kind, s.Ref.Handle, err))
			continue
		}
		l.o.Logger.Warn("stopped an instance that the ledger does not know", "kind", s.Kind, "handle", s.Ref.Handle, "worker", s.Ref.Worker)
		found = append(found, s)
	}
	return found, errors.Join(errs...)
}

// configs returns the workers that there are.
func (l *Ledger) configs() (cs []Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.actors {
		a.mu.Lock()
		if a.known.Worker != nil {
			cs = append(cs, a.known)
		}
		a.mu.Unlock()
	}
	return cs
}

// known returns the handles and the ids of the instances in the ledger, and the kinds of
// those that have no handle.
func (l *Ledger) known(ctx context.Context) (map[string]bool, error) {
	known := map[string]bool{}
	err := l.o.Store.View(ctx, func(tx state.ReadTx) error {
		rows, err := tx.Instances(state.Where("gone_at", nil))
		for _, r := range rows {
			known[r.Kind+fmt.Sprint(" #", r.ID)] = true
			if r.Handle != "" {
				known[r.Kind+" "+r.Handle] = true
			} else {
				known[r.Kind] = true
			}
		}
		return err
	})
	return known, err
}
