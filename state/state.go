// Package state says what the master remembers, and how the rest of it asks.
//
// A [Store] has one writer, so updates are serial, and many readers. Every row
// that changes is published as an [Event] after the commit that made it durable,
// in commit order ("no row without its event", docs/architecture.md section 4).
// state/sqlite implements Store, state/logfile implements [LogStore];
// state/statetest holds the suite both must pass.
package state

import (
	"context"
	"errors"

	"buildstar/config"
)

// ErrNotFound is returned for a row that does not exist.
var ErrNotFound = errors.New("not found")

// ErrFull is wrapped by what Update and LogSegment.Append return when the disk is
// full. The master stops starting builds until a write succeeds again.
var ErrFull = errors.New("disk full")

// Store is everything the master remembers. All methods are safe for concurrent
// use.
type Store interface {
	// Update runs fn in a transaction and, once it is on disk, publishes the events
	// fn recorded, in order. If fn fails nothing is written or published. fn runs on
	// the writer's goroutine: it must not wait, and a nested Update panics.
	// Transactions that queue up while the disk is busy share one commit. ctx is
	// checked only before fn starts.
	Update(ctx context.Context, fn func(Tx) error) error
	// Defer is Update without waiting for the commit, for rows that a crash may
	// lose (step progress): they are durable before any later Update returns, and
	// after 10 ms without one. The error of fn goes to done, which may be nil; done
	// is called on the writer's goroutine as soon as fn ran, before the commit, and
	// must not wait. If the commit then fails the rows are lost, and done is called
	// once more, with the error. A View sees the rows, and subscribers the events,
	// only after the commit.
	Defer(fn func(Tx) error, done func(error))
	// After calls fn, on the writer's goroutine, once everything that Update and Defer
	// were called for before is durable, or lost (which its own done was told). fn must
	// not wait. After the end of the store fn is not called.
	After(fn func())
	// View runs fn on a consistent snapshot of what was committed before the call.
	// fn must not call View.
	View(ctx context.Context, fn func(ReadTx) error) error
	// Subscribe returns the events that match any of the patterns, from now on.
	// It ends with ctx.
	Subscribe(ctx context.Context, patterns ...Pattern) *Subscription
	// Resume is Subscribe from just after a position, if the ring still has it; ok
	// is false if it does not, and the caller must read state again.
	Resume(ctx context.Context, after Position, patterns ...Pattern) (s *Subscription, ok bool)
	// Publish sends events that no row stands behind: a log grew. They come after
	// those of every Update and Defer called before.
	Publish(events ...Event)
	// Position is that of the newest event published.
	Position() Position
	// Version is the sequence number of the newest event whose key starts with the
	// resource ("builds", "steps" ...): what was rendered at that version is still
	// true.
	Version(resource string) uint64
	Close() error
}

// ReadTx reads. Rows come in the order of the query, by default by id.
type ReadTx interface {
	Masters(Query) ([]Master, error)
	Builders(Query) ([]Builder, error)
	Projects(Query) ([]Project, error)
	Workers(Query) ([]Worker, error)
	Schedulers(Query) ([]Scheduler, error)
	ChangeSources(Query) ([]ChangeSource, error)
	Instances(Query) ([]Instance, error)
	Interruptions(Query) ([]Interruption, error)
	SourceStamps(Query) ([]SourceStamp, error)
	Changes(Query) ([]Change, error)
	Buildsets(Query) ([]Buildset, error) // with SourceStamps and Properties
	BuildRequests(Query) ([]BuildRequest, error)
	Builds(Query) ([]Build, error) // with Properties only if Query.Properties
	Steps(Query) ([]Step, error)
	Logs(Query) ([]Log, error)
	Commands(buildID int64) ([]Command, error) // in the order they were sent
	// Generation returns a configuration that is in force or that a running build
	// started with; id 0 is the one in force.
	Generation(id int64) (Generation, error)
	// HasGeneration reports whether Generation would find it, without reading its
	// inputs.
	HasGeneration(id int64) (bool, error)
	// SchedulerChanges returns the changes that wait in a scheduler, by change id.
	SchedulerChanges(schedulerID int64) ([]SchedulerChange, error)
	// Recall reads into what owner, a service, remembered under a name, as JSON; found
	// is false, and into as it was, if there is nothing.
	Recall(owner config.Key, name string, into any) (found bool, err error)
	// Count counts the rows a query over a resource ("builds") would return without
	// its limit and offset.
	Count(resource string, q Query) (int64, error)
	// BuildProperties returns the properties of a build.
	BuildProperties(buildID int64) (Properties, error)
	// BuildSecrets returns the names of the secrets that a build asked for, sorted.
	BuildSecrets(buildID int64) ([]string, error)
}

// Tx writes. Each method records the events of the rows it changes. Rows are
// written whole: read, change, put.
type Tx interface {
	ReadTx

	// PutMaster sets the row of this master and returns the epoch: how often the
	// store was opened by a master, counting from 1.
	PutMaster(m Master) (epoch int64, err error)
	// Alive writes LastActive of this master. There is no event.
	Alive(at Time) error
	// The Put methods of names insert or update by name and return the id; an id
	// given is ignored. They record an event only if something changed.
	PutBuilder(Builder) (id int64, err error)
	PutProject(Project) (id int64, err error)
	PutScheduler(Scheduler) (id int64, err error)
	PutChangeSource(ChangeSource) (id int64, err error)
	// PutWorker also takes the verb of its event: "configured", "connected",
	// "disconnected", "state_updated".
	PutWorker(w Worker, verb string) (id int64, err error)
	// Retire marks every builder, worker, scheduler, change source and project not
	// listed as no longer active.
	Retire(active map[string][]string) error // kind (config.KindBuilder ...) -> names

	// PutGeneration stores the inputs of a configuration, and returns the id of an
	// equal one if there is one. The newest generation is the one in force.
	PutGeneration(Generation) (id int64, err error)

	// AddInstance adds to the ledger; the ID of what is given is ignored. Ids are never used
	// again.
	AddInstance(Instance) (id int64, err error)
	// PutInstance writes how an instance is now: its state, handle, info, password, times,
	// and failures.
	PutInstance(Instance) error

	AddSourceStamp(SourceStamp) (id int64, err error)
	// AddChange adds a change and its source stamp. ID, ParentIDs and SourceStamp of
	// what is given are ignored: the parent is the newest earlier change of the same
	// branch, repository, project and codebase. A change without ReceivedAt arrived
	// now, and one without When was made as it arrived. Ids grow and are never used
	// again.
	AddChange(Change) (id int64, err error)
	// AddSchedulerChanges makes changes wait in a scheduler: change id -> important.
	// Of one that waits there already, importance is set anew. A change or scheduler
	// that does not exist is ErrNotFound.
	AddSchedulerChanges(schedulerID int64, important map[int64]bool) error
	// DropSchedulerChanges ends the waiting of these changes; those that do not wait
	// are ignored.
	DropSchedulerChanges(schedulerID int64, changeIDs ...int64) error
	// Remember keeps a value, as JSON, for a service under a name until it is set again,
	// whether the service is configured or not; nil deletes. There is no event.
	Remember(owner config.Key, name string, value any) error
	// AddBuildset adds a buildset over existing source stamps, and its requests, and
	// returns their ids. A second one of the same parent build, step and count within
	// the step is an error.
	AddBuildset(bs Buildset, requests []BuildRequest) (bsid int64, requestIDs []int64, err error)
	// Claim marks requests as claimed. It fails with ErrNotFound, changing nothing,
	// if one is complete or claimed already.
	Claim(at Time, requestIDs ...int64) error
	// Unclaim gives requests back to the queue and counts a retry if retry is set.
	Unclaim(retry bool, requestIDs ...int64) error
	// CompleteRequest ends a request and, with its last one, the buildset, whose
	// result is the worst of SUCCESS and those of its requests. A request that is
	// complete already is ErrNotFound.
	CompleteRequest(id int64, r config.Result, at Time) error
	// PutRequest writes priority and CollapsedTo.
	PutRequest(BuildRequest) error

	// AddBuild opens a build, giving it an id and the builder's next number.
	AddBuild(Build) (Build, error)
	// PutBuild writes a build but not its properties; verb is "update" or
	// "finished". With a build that is complete its interruption ends.
	PutBuild(b Build, verb string) error
	// AddInterruption notes that a build is out of touch since StartedAt, but not before it
	// last was in touch; ID, EndedAt and Times are ignored. Nothing changes if it is
	// already. One of the same cause that ended less than Flapping before goes on.
	AddInterruption(Interruption) error
	// EndInterruption notes that a build is in touch again. Nothing changes if it was.
	EndInterruption(buildID int64, at Time) error
	// SetProperties merges into a build's properties.
	SetProperties(buildID int64, set Properties) error
	// AddBuildSecret notes that a build asked for a secret, if it did not before. There is
	// no event.
	AddBuildSecret(buildID int64, name string) error
	// A step, and a log, must be given with the build it is of: an id that was lost with
	// its transaction is given again, and then means another's row (ErrNotFound).
	AddStep(Step) (id int64, err error)
	PutStep(s Step, verb string) error // "started", "updated" or "finished"
	AddLog(Log) (id int64, err error)
	PutLog(l Log) error // when it is complete: event "finished"
	// AddCommand and PutCommand write the journal; neither has events.
	AddCommand(Command) error
	PutCommand(Command) error
}
