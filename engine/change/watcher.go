package change

import (
	"context"
	"log/slog"

	"buildstar/config"
	"buildstar/config/prop"
)

// A Watcher is a change source that looks for changes by itself (docs/requirements.md
// C7).
type Watcher interface {
	config.ChangeSource
	// Run looks for changes until ctx ends; then it returns soon, and leaves no process
	// behind. When it returns earlier, or panics, it is run again after a while.
	Run(ctx context.Context, h Host) error
}

// Host is the master as one Watcher sees it. Methods are safe for concurrent use.
type Host interface {
	// Basedir is the master's directory, absolute.
	Basedir() string
	// Logger says which change source it is.
	Logger() *slog.Logger
	// Props is what arguments are rendered with: there is no build, but there are
	// secrets.
	Props() prop.Props
	// Recall reads into what Add remembered last, as JSON; found is false if there is
	// nothing.
	Recall(ctx context.Context, into any) (found bool, err error)
	// Add adds changes in this order, and remembers a value, in one transaction: after a
	// crash there is all of it or nothing.
	Add(ctx context.Context, remember any, changes ...Input) error
	// Report says why changes cannot be found, or with nil that they can. Only what is
	// new is logged and shown.
	Report(ctx context.Context, problem error)
	// Asked receives when somebody wants the source to look now.
	Asked() <-chan struct{}
}
