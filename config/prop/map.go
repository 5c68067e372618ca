package prop

import (
	"context"
	"fmt"
)

// Map is a Props that holds what it is asked. It is what schedulers render with,
// and tests; it must not change while it is in use.
type Map struct {
	Values  map[string]any
	Stamps  map[string]SourceStamp // by codebase
	Facts   map[string]any
	Secrets map[string]string
	URL     string
}

// Property returns Values[name].
func (m *Map) Property(name string) (any, bool) { v, ok := m.Values[name]; return v, ok }

// SourceStamp returns Stamps[codebase].
func (m *Map) SourceStamp(codebase string) (SourceStamp, bool) {
	s, ok := m.Stamps[codebase]
	return s, ok
}

// Fact returns Facts[name].
func (m *Map) Fact(name string) (any, bool) { v, ok := m.Facts[name]; return v, ok }

// Secret returns Secrets[name], or an error that names it.
func (m *Map) Secret(_ context.Context, name string) (string, error) {
	s, ok := m.Secrets[name]
	if !ok {
		return "", fmt.Errorf("there is no secret %q", name)
	}
	return s, nil
}

// BuildURL returns URL.
func (m *Map) BuildURL() string { return m.URL }
