// Package prop holds what is below every other package: properties, the values
// that may depend on them, and places in configuration files.
//
// A property value is what JSON can say: nil, bool, int64, float64, string,
// []any and map[string]any of the same. A [Renderable] makes such a value from
// the properties of a build; a [Template] is a Go value of one type that a user
// gave either plainly or as a Renderable (docs/requirements.md C3).
//
// Renderables are immutable and may be rendered from many goroutines.
package prop

import "context"

// A Renderable makes a value when a build (or another holder of properties)
// needs it.
type Renderable interface {
	// Render returns a property value: nil, bool, int64, float64, string, []any or
	// map[string]any. It honours ctx: a user's function is bounded by it.
	Render(ctx context.Context, p Props) (any, error)
	// AppendCanonical appends an encoding that is equal for two Renderables only if
	// they render equally for the same Props. It feeds the content hash of a config
	// node, so it must not depend on positions or comments.
	AppendCanonical(dst []byte) []byte
}

// Props is what a Renderable may ask. Implementations are safe for concurrent
// use.
type Props interface {
	// Property returns the value of a property and whether it is set.
	Property(name string) (value any, ok bool)
	// SourceStamp returns the source stamp of a codebase.
	SourceStamp(codebase string) (SourceStamp, bool)
	// Fact returns what the worker said about itself: admin, host, version, os_id,
	// numcpus ... (docs/requirements.md A2.6, B1).
	Fact(name string) (value any, ok bool)
	// Secret returns a secret by name.
	Secret(ctx context.Context, name string) (string, error)
	// BuildURL is the address of the build's page, "" outside a build.
	BuildURL() string
}

// SourceStamp says what source a build uses. A nil Branch is the default branch, a
// nil Revision the newest one.
type SourceStamp struct {
	Codebase, Repository, Project string
	Branch, Revision              *string
	Changes                       []any // for %(src:X:changes)s
}

// Attr returns an attribute by its name in Interpolate: branch, revision,
// repository, project, codebase or changes. Absent values are nil; ok is false
// for a name that is no attribute.
func (s SourceStamp) Attr(name string) (value any, ok bool) {
	str := func(p *string) any {
		if p == nil {
			return nil
		}
		return *p
	}
	switch name {
	case "branch":
		return str(s.Branch), true
	case "revision":
		return str(s.Revision), true
	case "repository":
		return s.Repository, true
	case "project":
		return s.Project, true
	case "codebase":
		return s.Codebase, true
	case "changes":
		return s.Changes, true
	}
	return nil, false
}

// Truthy reports whether v counts as true in Python's sense: not nil, false,
// zero, or empty.
func Truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true // an object, such as a lock
}
