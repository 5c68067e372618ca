package engine

import (
	"context"
	"slices"

	"buildstar/config"
)

// A Part is a service outside the engine that follows the configuration, such as
// the web server with its port (docs/architecture.md section 5).
type Part interface {
	// Prepare makes ready what a snapshot needs and what may fail, without a visible
	// effect. Calls never overlap. Unless it fails, exactly one function of the Change
	// is called, once.
	Prepare(ctx context.Context, s *config.Snapshot) (Change, error)
}

// A Change is a prepared change of a [Part]. Neither function may fail or wait for
// people; nil does nothing.
type Change struct{ Commit, Discard func() }

// changes are those of all parts, in the order in which they were prepared.
type changes []Change

func (cs changes) commit() {
	for _, c := range cs {
		if c.Commit != nil {
			c.Commit()
		}
	}
}

func (cs changes) discard() {
	for _, c := range cs {
		if c.Discard != nil {
			c.Discard()
		}
	}
}

// Follow puts the configuration in force into a part, and every later one until
// leave is called. It fails if the part cannot prepare for it.
func (m *Master) Follow(ctx context.Context, p Part) (leave func(), err error) {
	m.apply.Lock()
	defer m.apply.Unlock()
	c, err := p.Prepare(ctx, m.Snapshot())
	if err != nil {
		return nil, err
	}
	changes{c}.commit()
	m.parts = append(m.parts, &p)
	return func() {
		m.apply.Lock()
		defer m.apply.Unlock()
		m.parts = slices.DeleteFunc(m.parts, func(o *Part) bool { return o == &p })
	}, nil
}

// prepareParts prepares all parts, or none.
func (m *Master) prepareParts(ctx context.Context, s *config.Snapshot) (changes, error) {
	var cs changes
	for _, p := range m.parts {
		c, err := (*p).Prepare(ctx, s)
		if err != nil {
			cs.discard()
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}
