package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/state"
)

// Reloaded is what a reload did.
type Reloaded struct {
	Generation int64
	Diff       config.Diff
}

// Reload evaluates the configuration again and puts it in force, or fails and
// changes nothing; [Health] then keeps the problems until a reload works. The
// evaluation begins after the call: during a reload, all who call wait for one more.
// The error is a prop.Problems, without source lines, if the configuration is at
// fault. When ctx ends, the reload goes on.
func (m *Master) Reload(ctx context.Context) (Reloaded, error) {
	r := m.reloads.ask(m)
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		return Reloaded{}, ctx.Err()
	}
}

// reloads runs one reload at a time.
type reloads struct {
	mu            sync.Mutex
	current, next *reload
	closed        bool
	wg            sync.WaitGroup
}

// reload is one of them, and what came of it once done is closed.
type reload struct {
	done   chan struct{}
	result Reloaded
	err    error
}

// ask returns a reload that has not begun yet.
func (rs *reloads) ask(m *Master) *reload {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := &reload{done: make(chan struct{})}
	switch {
	case rs.closed:
		r.err = fmt.Errorf("reload: %w: %w", ErrConflict, errClosing)
		close(r.done)
	case rs.current == nil:
		rs.current = r
		rs.wg.Go(func() { rs.run(m) })
	case rs.next == nil:
		rs.next = r
	default:
		return rs.next
	}
	return r
}

// run carries out reloads until none is asked for.
func (rs *reloads) run(m *Master) {
	for r := rs.current; r != nil; {
		r.result, r.err = m.reload()
		close(r.done)
		rs.mu.Lock()
		rs.current, rs.next = rs.next, nil
		r = rs.current
		rs.mu.Unlock()
	}
}

// close lets no reload begin any more and waits for the one that runs.
func (rs *reloads) close() {
	rs.mu.Lock()
	rs.closed = true
	rs.mu.Unlock()
	rs.wg.Wait()
}

func (m *Master) reload() (done Reloaded, err error) {
	ctx := m.living
	select {
	case <-m.ready:
	case <-ctx.Done():
		return done, fmt.Errorf("reload: %w: %w", ErrConflict, errClosing)
	}
	s, err := m.o.Load(ctx)
	if err == nil {
		done, err = m.put(ctx, s)
	} else {
		m.fail(err)
	}
	if err = withoutSource(err); err != nil {
		m.log.Error("the new configuration was not loaded; the old one stays in force",
			"generation", m.current.Load().generation, "problems", err)
	}
	if m.o.Reloaded != nil {
		m.o.Reloaded(done, err)
	}
	m.touch()
	return done, err
}

// fail remembers why the newest configuration is not in force.
func (m *Master) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = withoutSource(err)
}

// withoutSource drops the source lines of problems: they can hold passwords, and
// what is kept of them is shown on pages and logged.
func withoutSource(err error) error {
	var ps prop.Problems
	if !errors.As(err, &ps) {
		return err
	}
	ps = slices.Clone(ps)
	for i := range ps {
		ps[i].Source = ""
	}
	return ps
}

// touch changes the row of the master, so that pages that are open show its health
// anew.
func (m *Master) touch() {
	m.o.Store.Defer(func(tx state.Tx) error {
		_, err := tx.PutMaster(state.Master{Name: m.o.Name, Active: true, LastActive: state.Now()})
		return err
	}, func(err error) {
		if err != nil {
			m.log.Debug("write the master", "error", err)
		}
	})
}

// shown is how many names of a kind of change are logged.
const shown = 20

// logged describes a difference for the log.
func logged(d config.Diff) []any {
	if d.Empty() {
		return []any{"changed", "nothing"}
	}
	var attrs []any
	add := func(verb string, keys []config.Key) {
		if len(keys) == 0 {
			return
		}
		var names []string
		for _, k := range keys[:min(len(keys), shown)] {
			names = append(names, k.String())
		}
		if more := len(keys) - len(names); more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		attrs = append(attrs, verb, strings.Join(names, ", "))
	}
	add("added", d.Added)
	add("removed", d.Removed)
	add("changed", d.Changed)
	if d.Master {
		attrs = append(attrs, "top level", "changed")
	}
	return attrs
}
