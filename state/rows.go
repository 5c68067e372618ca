package state

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
)

// Time is an instant in milliseconds since 1970, UTC; 0 is "not yet". The REST API
// and JSON show whole seconds, as Buildbot does, and null for 0.
type Time int64

// Now returns the current Time.
func Now() Time { return Time(time.Now().UnixMilli()) }

// At returns t as a Time.
func At(t time.Time) Time { return Time(t.UnixMilli()) }

// Time returns t as a time.Time.
func (t Time) Time() time.Time { return time.UnixMilli(int64(t)) }

// AppendJSON appends whole seconds or null.
func (t Time) AppendJSON(dst []byte) []byte {
	if t == 0 {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, int64(t)/1000, 10)
}

// MarshalJSON returns whole seconds or null.
func (t Time) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// UnmarshalJSON reads whole seconds or null.
func (t *Time) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*t = 0
		return nil
	}
	seconds, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil || seconds < math.MinInt64/1000 || seconds > math.MaxInt64/1000 {
		return fmt.Errorf("read a time: want whole seconds or null, got %.40s", data)
	}
	*t = Time(seconds * 1000)
	return nil
}

// Property is a property with the label of who set it. REST shows [value, source]; what
// encoding/json writes and reads, and the database keeps, is [value, source, secrets] if
// there are any.
type Property struct {
	Value  any
	Source string
	// Secrets are the names of secrets that the value holds: in their places stands <NAME>.
	// Who builds puts them back in. Only builds make such properties.
	Secrets []string
}

// UnmarshalJSON reads [value, source] or [value, source, secrets]; integers become int64.
func (p *Property) UnmarshalJSON(data []byte) error { return unmarshalProperty(data, p) }

// Properties is a set of properties by name.
type Properties map[string]Property

// The rows. Field names in JSON, and in queries, are Buildbot's (docs/requirements.md C10,
// docs/ui-contract.md section 2). Fields without a JSON name are ours alone.

// Master is this master; there is one row.
type Master struct {
	ID         int64  `json:"masterid"`
	Name       string `json:"name"`
	Active     bool   `json:"active"`
	LastActive Time   `json:"last_active"`
}

// Builder is a builder that is or was configured. Names are never reused for
// another id, so a builder that comes back has its history.
type Builder struct {
	ID                int64    `json:"builderid"`
	Name              string   `json:"name"`
	Description       string   `json:"description"`
	DescriptionFormat string   `json:"description_format"`
	ProjectID         int64    `json:"projectid"` // 0: none
	Tags              []string `json:"tags"`
	Active            bool     `json:"-"` // in the current configuration
}

// Project groups builders.
type Project struct {
	ID                int64  `json:"projectid"`
	Name              string `json:"name"`
	Slug              string `json:"slug"`
	Description       string `json:"description"`
	DescriptionFormat string `json:"description_format"`
	Active            bool   `json:"active"`
}

// Worker is a worker that is or was configured, and what is known of it.
type Worker struct {
	ID             int64      `json:"workerid"`
	Name           string     `json:"name"`
	Paused         bool       `json:"paused"`
	PauseReason    string     `json:"pause_reason"`
	PausedBy       string     `json:"-"`
	PausedAt       Time       `json:"-"`
	Graceful       bool       `json:"graceful"` // will be told to exit once it builds nothing
	GracefulReason string     `json:"graceful_reason"`
	GracefulBy     string     `json:"-"`
	GracefulAt     Time       `json:"-"`
	GracefulLife   string     `json:"-"` // the process that shall exit; "": the one that is connected
	Quarantine     Quarantine `json:"-"`
	Info           prop.Facts `json:"workerinfo"` // admin, host, version, os_* ...; never the environment
	Connected      bool       `json:"-"`
	ChangedAt      Time       `json:"-"` // when Connected last changed; 0: never seen
	Active         bool       `json:"-"`
}

// Quarantine is how a worker misbehaved, and until when it gets no builds for that
// (docs/requirements.md A6).
type Quarantine struct {
	Since   Time
	Until   Time   // 0: it gets builds
	Count   int64  // of misbehaviours since a build there went well
	Cause   string // of the newest
	BuildID int64  // the build that showed it; 0: none did
}

// Scheduler is a scheduler that is or was configured.
type Scheduler struct {
	ID      int64  `json:"schedulerid"`
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
	Active  bool   `json:"-"`
	// Error is its newest problem, and ErrorAt when that was; "" if it asked for builds
	// since. ActedAt is when it last did something. They are ours.
	Error   string `json:"error"`
	ErrorAt Time   `json:"error_at"`
	ActedAt Time   `json:"acted_at"`
}

// ChangeSource is a change source that is or was configured.
type ChangeSource struct {
	ID     int64  `json:"changesourceid"`
	Name   string `json:"name"`
	Error  string `json:"error"` // why it cannot do its work, "" if it can; ours
	Active bool   `json:"-"`
}

// SourceStamp is a source to build. Equal stamps share one row.
type SourceStamp struct {
	ID         int64   `json:"ssid"`
	Branch     *string `json:"branch"`
	Revision   *string `json:"revision"`
	Project    string  `json:"project"`
	Repository string  `json:"repository"`
	Codebase   string  `json:"codebase"`
	CreatedAt  Time    `json:"created_at"`
}

// Change is what somebody did to a source: a commit, as its poller, hook or sender
// told it (docs/requirements.md C7).
type Change struct {
	ID          int64       `json:"changeid"`
	Author      string      `json:"author"`
	Committer   *string     `json:"committer"`
	Comments    string      `json:"comments"`
	Branch      *string     `json:"branch"`
	Revision    *string     `json:"revision"`
	Category    *string     `json:"category"`
	RevLink     *string     `json:"revlink"`
	When        Time        `json:"when_timestamp"` // of the commit
	ReceivedAt  Time        `json:"-"`              // by this master; timers of schedulers count from here
	Codebase    string      `json:"codebase"`
	Project     string      `json:"project"`
	Repository  string      `json:"repository"`
	Files       []string    `json:"files"`
	Properties  Properties  `json:"properties"`
	ParentIDs   []int64     `json:"parent_changeids"` // none or one
	SourceStamp SourceStamp `json:"sourcestamp"`
}

// SchedulerChange is a change that waits, in one scheduler, for its tree to be stable.
type SchedulerChange struct {
	ChangeID   int64
	Important  bool // can start a build by itself
	Branch     *string
	Repository string
	Project    string
	Codebase   string
	ReceivedAt Time
}

// Buildset is one ask for builds: a request per builder, over the same sources.
type Buildset struct {
	ID                 int64         `json:"bsid"`
	ExternalID         *string       `json:"external_idstring"`
	Reason             string        `json:"reason"`
	Scheduler          string        `json:"-"`
	SubmittedAt        Time          `json:"submitted_at"`
	Complete           bool          `json:"complete"`
	CompleteAt         Time          `json:"complete_at"`
	Results            config.Result `json:"results"`        // -1 while unfinished
	ParentBuildID      int64         `json:"parent_buildid"` // 0: none, null in JSON
	ParentStep         int64         `json:"-"`              // the number of the step of it that triggered this one; 0: none
	ParentSeq          int64         `json:"-"`              // counts within that step, from 0
	ParentRelationship string        `json:"parent_relationship"`
	RebuiltBuildID     int64         `json:"rebuilt_buildid"` // 0: none, null in JSON
	SourceStamps       []SourceStamp `json:"sourcestamps"`
	Properties         Properties    `json:"-"`
}

// BuildRequest asks one builder for one build.
type BuildRequest struct {
	ID          int64         `json:"buildrequestid"`
	BuildsetID  int64         `json:"buildsetid"`
	BuilderID   int64         `json:"builderid"`
	Priority    int64         `json:"priority"`
	Claimed     bool          `json:"claimed"`
	ClaimedAt   Time          `json:"claimed_at"`
	Complete    bool          `json:"complete"`
	CompleteAt  Time          `json:"complete_at"`
	Results     config.Result `json:"results"` // -1 while unfinished
	SubmittedAt Time          `json:"submitted_at"`
	WaitedFor   bool          `json:"waited_for"`
	Retries     int64         `json:"-"` // how many of its builds ended RETRY
	CollapsedTo int64         `json:"-"` // the request that absorbed this one; 0: none
}

// Build is one run of a builder's steps.
type Build struct {
	ID            int64         `json:"buildid"`
	Number        int64         `json:"number"` // counts per builder, from 1
	BuilderID     int64         `json:"builderid"`
	RequestID     int64         `json:"buildrequestid"`
	WorkerID      int64         `json:"workerid"`
	StartedAt     Time          `json:"started_at"`
	CompleteAt    Time          `json:"complete_at"`
	Complete      bool          `json:"complete"`
	LocksDuration int64         `json:"locks_duration_s"` // seconds
	StateString   string        `json:"state_string"`
	Results       config.Result `json:"results"` // -1, null in JSON, while running
	Properties    Properties    `json:"-"`
	Generation    int64         `json:"-"` // of the configuration it started with
	StopReason    string        `json:"-"` // set when someone asked it to stop
	Epoch         int64         `json:"-"` // of the master that started it; AddBuild sets it
	WorkerLife    string        `json:"-"` // conn.WorkerInfo.Life when it started; "": it ends with the connection
	Locked        bool          `json:"-"` // it holds locks of its builder that depend on properties
}

// URL is a link that a step shows.
type URL struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Step is one step of a build. Step 0 is worker_preparation.
type Step struct {
	ID              int64         `json:"stepid"`
	Number          int64         `json:"number"`
	Name            string        `json:"name"` // unique within the build
	BuildID         int64         `json:"buildid"`
	StartedAt       Time          `json:"started_at"`
	LocksAcquiredAt Time          `json:"locks_acquired_at"`
	Complete        bool          `json:"complete"`
	CompleteAt      Time          `json:"complete_at"`
	StateString     string        `json:"state_string"`
	Results         config.Result `json:"results"` // -1, null in JSON, while unfinished
	URLs            []URL         `json:"urls"`
	Hidden          bool          `json:"hidden"`
	Position        int64         `json:"-"` // in the factory, from 0; -1: worker_preparation. PutStep does not change it
}

// Log is one log of a step; its text is in the [LogStore].
type Log struct {
	ID       int64  `json:"logid"`
	Name     string `json:"name"`
	Slug     string `json:"slug"`
	StepID   int64  `json:"stepid"`
	Complete bool   `json:"complete"`
	NumLines int64  `json:"num_lines"` // of a log still being written: ask the LogStore
	Type     string `json:"type"`      // "s" stdio, "t" text, "h" html, "d" deleted
	BuildID  int64  `json:"-"`
}

// Command is one line of a build's journal: a command sent to a worker. The row is
// written before the command is sent; it is what resuming a build replays
// (docs/architecture.md section 4).
type Command struct {
	ID       string // unique for ever: <epoch>-<n>
	BuildID  int64
	StepID   int64
	Seq      int64 // counts within the step, from 0
	Worker   string
	ArgsHash []byte // of name and rendered arguments
	Done     bool
	RC       *int64
	Failure  string // the text of complete, "" if none
}

// Generation is one configuration that was in force. Its input files are kept
// while a build needs them.
type Generation struct {
	ID        int64
	CreatedAt Time
	Digest    []byte             // over Main, Inputs and Env
	Main      string             // the input that is evaluated: master.star
	Inputs    map[string][]byte  // path relative to master.star's directory -> content
	Env       map[string]*string // environment variables that were asked for
}
