// Package config is the graph that master.star evaluates to: workers, builders,
// schedulers and what they refer to, as plain immutable Go values.
//
// A [Snapshot] is one validated configuration. It never changes; a reload makes
// another, and [Compare] says by content what differs. Nothing here starts a
// goroutine, opens a file or knows Starlark.
package config

import (
	"iter"
	"time"

	"buildstar/config/prop"
)

// A Key names a node: its kind and its name, unique within the kind.
type Key struct{ Kind, Name string }

// The kinds of nodes.
const (
	KindWorker       = "worker"
	KindBuilder      = "builder"
	KindScheduler    = "scheduler"
	KindChangeSource = "change source"
	KindProject      = "project"
	KindMachine      = "machine"
	KindLock         = "lock"
)

// String returns the key as people write it: builder "linux".
func (k Key) String() string { return k.Kind + ` "` + k.Name + `"` }

// A Node is one declared thing. Nodes never change after their snapshot is made.
type Node interface {
	Key() Key
	// Refs yields the nodes this one names, with the parameter that names each, so
	// that a reference to nothing is reported at the user's line.
	Refs() iter.Seq2[string, Key]
	Pos() prop.Pos
}

// Step is what the graph knows of a build step: enough to list and hash it. Its
// behaviour is engine/run's Step, which embeds this.
type Step interface {
	Type() string // the class: "ShellCommand"
	Pos() prop.Pos
}

// Triggering is a Step that triggers schedulers.
type Triggering interface {
	Step
	// Triggers returns the names of the schedulers, as far as they do not depend on
	// the build.
	Triggers() []string
	// WaitsForTriggered reports whether the step ends only after what it triggers.
	WaitsForTriggered() bool
}

// SecretsProvider is what the graph knows of where secrets are kept. Its behaviour is
// engine/secret's Provider.
type SecretsProvider interface {
	Type() string // the class: "SecretInAFile"
	Pos() prop.Pos
}

// Reporter is what the graph knows of who tells others what happens. Its behaviour is
// on a higher floor: engine/mail's Notifier.
type Reporter interface {
	Type() string // the class: "MailNotifier"
	Pos() prop.Pos
}

// Scheduler is what the graph knows of a scheduler.
type Scheduler interface {
	Node
	Type() string // the class: "ForceScheduler"
	Builders() []string
}

// ChangeSource is what the graph knows of a change source. Its behaviour is
// engine/change's Source, which embeds this.
type ChangeSource interface {
	Node
	Type() string // the class: "GitPoller"
}

// Chooser is a scheduler that may choose its builders when it fires: then Builders
// does not name all.
type Chooser interface{ ChoosesBuilders() bool }

// Triggerable is a Scheduler that steps can trigger.
type Triggerable interface {
	Scheduler
	Triggerable()
}

// At is where a node was declared; nodes embed it. It is not part of a node's
// content: moving a line changes nothing.
type At struct{ Where prop.Pos }

// Pos returns the place.
func (a At) Pos() prop.Pos { return a.Where }

// SetPos is called once by the binder.
func (a *At) SetPos(p prop.Pos) { a.Where = p }

// Worker is one configured worker (docs/requirements.md A1, A2, B1, B2).
type Worker struct {
	At
	Class             string // "Worker" or "LocalWorker"
	Name              string
	Password          prop.Password
	PasswordSecret    string        // name of the secret that is the password, instead
	MaxBuilds         int           // 0: no limit
	Keepalive         time.Duration // between keepalives; 0: none, and no pings
	Properties        map[string]any
	DefaultProperties map[string]any
	Locks             LockAccesses  // held by every build on it
	NotifyOnMissing   []string      // mail addresses
	MissingTimeout    time.Duration // 0: never missing
	Machine           string        // "": none
	Local             bool          // runs inside the master, over an in-memory pipe
	Workdir           string        // of a local worker, absolute or below basedir; "": workers/NAME below basedir
	Latent            *Latent       // nil: somebody else starts it
}

func (w *Worker) Key() Key { return Key{KindWorker, w.Name} }

// Refs yields the worker's machine.
func (w *Worker) Refs() iter.Seq2[string, Key] {
	return func(yield func(string, Key) bool) {
		if w.Machine != "" {
			yield("machine_name", Key{KindMachine, w.Machine})
		}
	}
}

// Latent says how the master starts and stops the instances of a worker
// (docs/requirements.md A8, B3).
type Latent struct {
	Backend Backend
	// BuildWait is how long an idle instance is kept; negative: until the master stops.
	BuildWait time.Duration
	// CheckEvery is the time between checks of an instance that has not connected yet.
	CheckEvery time.Duration
	// Missing is how long an instance may take to connect.
	Missing time.Duration
	// MasterFQDN is the host that instances dial, maybe with a port (latent.SplitMaster);
	// "": found out.
	MasterFQDN string
	Caps       []InstanceCap
	// MayBeIncompatible says whether an instance may not serve every build
	// (builds_may_be_incompatible).
	MayBeIncompatible bool
}

// Backend is what the graph knows of what makes instances: its exported fields are
// content. Its behaviour is latent.Params, which embeds this.
type Backend interface {
	Kind() string // "docker"
}

// InstanceCap limits what the workers that name it may have together.
type InstanceCap struct {
	Name         string
	MaxInstances int     // at a time; 0: no limit
	HoursPerDay  float64 // of instances, within any 24 hours; 0: no limit
}

func noRefs(func(string, Key) bool) {}

// Builder is a way to build something, and the workers it may be built on
// (docs/requirements.md C2).
type Builder struct {
	At
	Name              string
	Workers           []string
	Factory           *Factory
	Builddir          string // directory below the master's basedir, and the default of WorkerBuilddir
	WorkerBuilddir    string // directory below the worker's basedir
	Tags              []string
	Description       string
	DescriptionFormat string // "" or "markdown"
	Project           string
	CollapseRequests  *bool // nil: the master's
	Locks             prop.Template[LockAccesses]
	Env               map[string]prop.Template[any]
	Properties        map[string]prop.Template[any]
	DefaultProperties map[string]prop.Template[any]
}

func (b *Builder) Key() Key { return Key{KindBuilder, b.Name} }

// Refs yields the builder's workers and project.
func (b *Builder) Refs() iter.Seq2[string, Key] {
	return func(yield func(string, Key) bool) {
		for _, w := range b.Workers {
			if !yield("workernames", Key{KindWorker, w}) {
				return
			}
		}
		if b.Project != "" {
			yield("project", Key{KindProject, b.Project})
		}
	}
}

// Factory is the list of steps of a build. Workdir is the default directory of
// its steps, relative to the builder's directory on the worker.
type Factory struct {
	At
	Steps   []Step
	Workdir prop.Template[string]
}

// Machine is a computer that workers share (docs/requirements.md B11).
type Machine struct {
	At
	Name string
}

func (m *Machine) Key() Key                     { return Key{KindMachine, m.Name} }
func (m *Machine) Refs() iter.Seq2[string, Key] { return noRefs }

// Project groups builders (docs/requirements.md C11).
type Project struct {
	At
	Name, Slug, Description, DescriptionFormat string
}

func (p *Project) Key() Key                     { return Key{KindProject, p.Name} }
func (p *Project) Refs() iter.Seq2[string, Key] { return noRefs }

// Lock limits how many builds or steps run at once (docs/requirements.md C5).
type Lock struct {
	At
	Name              string
	PerWorker         bool // WorkerLock: one real lock per worker
	MaxCount          int
	MaxCountForWorker map[string]int
}

func (l *Lock) Key() Key                     { return Key{KindLock, l.Name} }
func (l *Lock) Refs() iter.Seq2[string, Key] { return noRefs }

// LockAccess is one way of holding a lock: lock.access("counting").
type LockAccess struct {
	Lock      *Lock
	Exclusive bool
	Count     int // of a counting access; 0 always succeeds
}

// LockAccesses is a list of them; it is what a locks argument renders to.
type LockAccesses []LockAccess

// Master is the top level of the configuration (docs/requirements.md C1).
type Master struct {
	Title, TitleURL, BuildbotURL string
	Properties                   map[string]any
	CollapseRequests             bool
	ResumeTimeout                time.Duration // how long a build waits for its worker to come back
	WWW                          WWW
	// CodebaseGenerator is asked for the codebase of a change that has none, with the
	// change as a dict; not set: "".
	CodebaseGenerator prop.Template[string]
	// RevLink is asked for the link of a change that has none, with its revision and
	// repository; not set: what is known of the sites that many use.
	RevLink      prop.Template[*string]
	WorkerListen []Listen // protocols["msgpack_experimental_v7"]
	Secrets      []SecretsProvider
	Reporters    []Reporter
}

// WWW is c['www']. A nil Port means no web server.
type WWW struct {
	Port           *Listen
	ChangeHooks    []string                 // the dialects at /change_hook/
	ChangeHookAuth map[string]prop.Password // by user, for all of them; none: anybody
	HookPolls      HookPolls
}

// HookPolls are the change sources that the dialect poller may ask.
type HookPolls struct {
	All   bool
	Names []string
}

// Listen is an address to listen at. Host "" is all interfaces; Port 0 lets the
// system choose.
type Listen struct {
	Host string
	Port int
	TLS  *TLS // nil: plain
	Pos  prop.Pos
}

// TLS names the files, as PEM, of what a listener shows its clients. Relative paths are
// below the master's basedir. They are read when the configuration is put in force.
type TLS struct {
	Cert string // the certificate, and those between it and an authority
	Key  string
}
