// Package engine is the master: it applies snapshots, owns the services, starts
// builds and shuts down. [Master] implements [Control], which is all that the
// page, the REST API and the command line know of it.
package engine

import (
	"context"
	"errors"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/change"
	"buildstar/engine/dist"
	"buildstar/engine/instance"
	"buildstar/engine/sched"
	"buildstar/state"
)

// Control is what outsiders may ask of a running master. Methods are safe for
// concurrent use. Errors wrap state.ErrNotFound for what does not exist and
// ErrConflict for what cannot be done in its present state; a *sched.FieldErrors
// says which fields of a force form are wrong.
type Control interface {
	Store() state.Store
	Logs() state.LogStore
	Snapshot() *config.Snapshot
	Health() Health

	// Force fires a force scheduler; builder 0 is all of its builders.
	Force(ctx context.Context, scheduler string, builderID int64, fields map[string]any, who sched.User) (Submitted, error)
	// Rebuild asks for the same build again.
	Rebuild(ctx context.Context, buildID int64, who sched.User) (Submitted, error)
	// StopBuild asks a running build to stop; it returns when that is recorded.
	StopBuild(ctx context.Context, buildID int64, reason string, who sched.User) error
	// CancelRequest ends a request: one that waits completes as CANCELLED, one that is
	// building is stopped.
	CancelRequest(ctx context.Context, requestID int64, reason string, who sched.User) error
	SetPriority(ctx context.Context, requestID, priority int64, who sched.User) error
	// AddChange adds a change that somebody told; one that is refused for what it is is
	// a *change.Invalid.
	AddChange(ctx context.Context, in change.Input) (state.Change, error)
	// PauseWorker keeps a worker from taking builds; UnpauseWorker lets it take them, also
	// out of quarantine (docs/requirements.md A5).
	PauseWorker(ctx context.Context, workerID int64, reason string, who sched.User) error
	UnpauseWorker(ctx context.Context, workerID int64, who sched.User) error
	// StopWorker lets a worker finish its builds and take no more; then its process is
	// told to exit. KillWorker interrupts its builds, which are built again, and has the
	// process exit now; it returns when that has begun.
	StopWorker(ctx context.Context, workerID int64, reason string, who sched.User) error
	KillWorker(ctx context.Context, workerID int64, reason string, who sched.User) error
	// EnableScheduler turns a scheduler on or off; the setting outlives restarts.
	EnableScheduler(ctx context.Context, schedulerID int64, enabled bool, who sched.User) error
	// PollChanges makes a change source look for changes now.
	PollChanges(ctx context.Context, name string, who sched.User) error
	// InstanceOutlook returns what comes next in the life of a latent worker's instance.
	InstanceOutlook(worker string) instance.Outlook
	// StrayInstances asks the providers of latent workers what they run for this master,
	// and returns what the ledger does not know; stop has these stopped, and returns those
	// that were. It takes as long as they do.
	StrayInstances(ctx context.Context, stop bool, who sched.User) ([]Stray, error)
	// Reload evaluates the configuration again and puts it in force, or changes nothing.
	Reload(ctx context.Context) (Reloaded, error)
	// Explain says why a request waits.
	Explain(ctx context.Context, requestID int64) (dist.Explanation, error)
}

// ErrConflict is wrapped when something cannot be done in its present state: to
// stop a build that is complete.
var ErrConflict = errors.New("not possible now")

// Submitted is the buildset that an action made, and its requests by builder id.
type Submitted struct {
	BuildsetID int64
	Requests   map[int64]int64
}

// Health is how the master is.
type Health struct {
	Version        string
	Started        state.Time
	Generation     int64
	LoadedAt       state.Time
	ConfigProblems prop.Problems // of the newest failed reload; nil after one that worked
	DiskFull       bool          // no new builds until a write succeeds again
	Stopping       bool
}
