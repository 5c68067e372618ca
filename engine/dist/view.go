package dist

import (
	"slices"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/latent"
	"buildstar/state"
)

// Request is what the decision needs to know of a waiting request.
type Request struct {
	ID, BuilderID, Priority int64
	SubmittedAt             state.Time
	NotBefore               state.Time // after a RETRY it waits a little
	Avoid                   string     // the worker its last build was lost with
}

// before is the order of requests within a builder: highest priority, then oldest
// (docs/requirements.md C2).
func (r *Request) before(o *Request) bool {
	if r.Priority != o.Priority {
		return r.Priority > o.Priority
	}
	return r.ID < o.ID
}

// Builder is one builder with requests waiting.
type Builder struct {
	ID      int64
	Name    string
	Workers []string
	Locks   config.LockAccesses // those that depend on no properties
	Queue   Queue
}

// Queue yields the waiting requests of a builder in order; it stops when yield
// returns false.
type Queue func(yield func(*Request) bool)

// Place is a build on a worker, or one that is about to start there.
type Place struct {
	Builder string
	BuildID int64 // 0: about to start
	Number  int64
	Since   state.Time
}

// Worker is what the decision needs to know of a worker.
type Worker struct {
	Name      string
	Connected bool
	Settling  bool       // connected, but orphans of an earlier connection are being ended
	ChangedAt state.Time // when it connected or was lost; 0: never seen

	Paused      bool
	PauseReason string
	PausedBy    string
	PausedAt    state.Time
	Graceful    bool // will exit when idle
	Quarantine  state.Quarantine

	Latent   bool // it is started when a build needs it
	Varies   bool // its instances do not serve every build
	Instance Instance

	MaxBuilds int // 0: no limit
	Locks     config.LockAccesses
	Running   []Place
	drained   bool   // Options.Drained was told
	LastUsed  uint64 // order in which workers got their newest build; 0: never
}

// Instance is that of a latent worker.
type Instance struct {
	State   latent.State
	Since   state.Time
	Failure string // why it cannot be stopped
	Full    string // the cap that keeps a new one from being started
	// Outdated says that the configuration would start another one now: it gets no more builds.
	Outdated bool
}

// cold reports whether a build on the worker would have to wait for an instance.
func (w *Worker) cold() bool { return w.Latent && !w.Connected }

// holds returns the locks that a build of b on w holds from its start.
func holds(b *Builder, w *Worker) config.LockAccesses {
	if len(w.Locks) == 0 {
		return b.Locks
	}
	return slices.Concat(w.Locks, b.Locks)
}

// View is everything that a decision is made from. assign does not change it.
type View struct {
	Now      state.Time
	Stopping bool       // the master shuts down
	DiskFull state.Time // since when nothing can be written; 0: it can
	Builders []Builder  // those to look at
	Workers  map[string]*Worker
	Locks    *run.LockState
	// Fit says how the instance of a connected latent worker, whose instances vary, suits a
	// request; nil: every one does.
	Fit func(r *Request, worker string) Fit
}

// Assignment is a decision: this request is built on that worker now.
type Assignment struct {
	Request *Request
	Builder string
	Worker  string
	Locks   config.LockAccesses
}
