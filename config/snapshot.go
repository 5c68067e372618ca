package config

import (
	"crypto/sha256"
	"slices"
)

// Snapshot is one validated configuration. It never changes after [New] made it
// and may be read from any goroutine.
type Snapshot struct {
	Master     Master
	Workers    []*Worker   // in the order of c['workers']
	Builders   []*Builder  // in the order of c['builders']
	Schedulers []Scheduler // in the order of c['schedulers']
	// ChangeSources are in the order of c['change_source'].
	ChangeSources []ChangeSource
	Projects      []*Project
	Machines      []*Machine
	Locks         []*Lock // every lock a builder or step names

	// Inputs are the files that were read and Env the environment variables that were
	// asked for: evaluating the same inputs again makes an equal snapshot
	// (docs/architecture.md, rule 3).
	Inputs []Input
	Env    map[string]*string

	workers    map[string]*Worker
	builders   map[string]*Builder
	schedulers map[string]Scheduler
	sources    map[string]ChangeSource
	hashes     map[Key]Digest
	master     Digest
}

// Digest is a SHA-256.
type Digest [sha256.Size]byte

// Input is one file that the evaluation read.
type Input struct {
	Path   string // relative to the directory of master.star, with slashes
	Data   []byte
	Digest Digest
}

// New indexes a snapshot whose fields are filled in and returns it. The caller
// has validated it: names are unique within their kind.
func New(s Snapshot) *Snapshot {
	s.workers = make(map[string]*Worker, len(s.Workers))
	s.builders = make(map[string]*Builder, len(s.Builders))
	s.schedulers = make(map[string]Scheduler, len(s.Schedulers))
	s.sources = make(map[string]ChangeSource, len(s.ChangeSources))
	s.hashes = make(map[Key]Digest, len(s.Workers)+len(s.Builders)+len(s.Schedulers))
	for _, w := range s.Workers {
		s.workers[w.Name] = w
		s.hashes[w.Key()] = Hash(w)
	}
	for _, b := range s.Builders {
		s.builders[b.Name] = b
		s.hashes[b.Key()] = Hash(b)
	}
	for _, c := range s.Schedulers {
		s.schedulers[c.Key().Name] = c
		s.hashes[c.Key()] = Hash(c)
	}
	for _, c := range s.ChangeSources {
		s.sources[c.Key().Name] = c
		s.hashes[c.Key()] = Hash(c)
	}
	for _, p := range s.Projects {
		s.hashes[p.Key()] = Hash(p)
	}
	for _, m := range s.Machines {
		s.hashes[m.Key()] = Hash(m)
	}
	for _, l := range s.Locks {
		s.hashes[l.Key()] = Hash(l)
	}
	s.master = Hash(s.Master)
	return &s
}

// Worker returns a worker by name, or nil.
func (s *Snapshot) Worker(name string) *Worker { return s.workers[name] }

// Builder returns a builder by name, or nil.
func (s *Snapshot) Builder(name string) *Builder { return s.builders[name] }

// Scheduler returns a scheduler by name, or nil.
func (s *Snapshot) Scheduler(name string) Scheduler { return s.schedulers[name] }

// ChangeSource returns a change source by name, or nil.
func (s *Snapshot) ChangeSource(name string) ChangeSource { return s.sources[name] }

// Digest returns the digest of the content of a node; ok is false if there is none.
func (s *Snapshot) Digest(k Key) (d Digest, ok bool) {
	d, ok = s.hashes[k]
	return d, ok
}

// BuildersOf returns the names of the builders that may use a worker, in order.
func (s *Snapshot) BuildersOf(worker string) []string {
	var names []string
	for _, b := range s.Builders {
		if slices.Contains(b.Workers, worker) {
			names = append(names, b.Name)
		}
	}
	return names
}
