package state

import "strings"

// Event says that a row changed (or a log grew). Keys are Buildbot's routing keys
// with slashes: "builds/12/finished" (docs/requirements.md C10).
//
// Events live in memory: a ring of the newest 10,000. They are totally ordered by
// commit. A subscriber sees every event that matches, in that order and without
// gaps, or its channel closes with [ErrSlow] and it must read state again.
// Publishing never waits for a subscriber. After a restart the epoch differs, so
// no old position can be resumed.
type Event struct {
	Seq     uint64   // given by the bus
	Key     string   // the resource's own path and verb: "builds/12/new"
	Aliases []string // the same event under its nested paths: "builders/3/builds/12/new"
	Row     any      // a Build, Step, Worker ... by value, never to be changed
}

// Position is a place in the stream of events.
type Position struct {
	Epoch int64
	Seq   uint64
}

// Pattern matches keys: slash-separated words, "*" is any one word.
type Pattern string

// Match reports whether p matches a key of an event.
func (p Pattern) Match(key string) bool {
	pat := string(p)
	for {
		pw, prest, pmore := strings.Cut(pat, "/")
		kw, krest, kmore := strings.Cut(key, "/")
		if pw != "*" && pw != kw || pmore != kmore {
			return false
		}
		if !pmore {
			return true
		}
		pat, key = prest, krest
	}
}
