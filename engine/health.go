package engine

import (
	"errors"

	"buildstar/config/prop"
)

// Health implements Control.
func (m *Master) Health() Health {
	now := m.current.Load()
	h := Health{
		Version: m.o.Version, Started: m.started, Generation: now.generation, LoadedAt: now.at, DiskFull: m.disk.full(),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h.Stopping = m.stopping
	if m.problems != nil && !errors.As(m.problems, &h.ConfigProblems) {
		h.ConfigProblems = prop.Problems{{Code: "apply", Text: m.problems.Error()}}
	}
	return h
}
