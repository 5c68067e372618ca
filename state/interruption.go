package state

import (
	"maps"
	"slices"
	"strconv"
)

// Why a build and its worker were out of touch.
const (
	MasterAway = "master" // the master was down, or is up again and the worker is not back yet
	WorkerAway = "worker" // the connection was lost
)

// Flapping is how soon, in milliseconds, after an interruption another one of the same cause
// counts as the same: a bad network does not fill the table.
const Flapping = 10_000

// Interruption is a time in which a build that goes on without the connection (docs/upgrade.md)
// was out of touch with the master.
type Interruption struct {
	ID        int64  `json:"interruptionid"`
	BuildID   int64  `json:"buildid"`
	Cause     string `json:"cause"` // MasterAway or WorkerAway
	StartedAt Time   `json:"started_at"`
	EndedAt   Time   `json:"ended_at"` // 0: it has not ended
	Times     int64  `json:"times"`    // how often touch was lost in this time, from 1
	// Lines are how many lines the logs that were being written had then, by log id: what
	// came later was printed during the interruption or after it.
	Lines map[int64]int64 `json:"lines"`
}

// Event returns the event of an interruption: verb "new" or "update".
func (i Interruption) Event(verb string) Event {
	return Event{
		Key:     key(verb, "interruptions", i.ID),
		Aliases: []string{key(verb, "builds", i.BuildID, "interruptions", i.ID)},
		Row:     i,
	}
}

// AppendJSON appends the row.
func (i Interruption) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("interruptionid", i.ID)
	o.int("buildid", i.BuildID)
	o.string("cause", i.Cause)
	o.time("started_at", i.StartedAt)
	o.time("ended_at", i.EndedAt)
	o.int("times", i.Times)
	o.name("lines")
	o.dst = append(o.dst, '{')
	for n, id := range slices.Sorted(maps.Keys(i.Lines)) {
		if n > 0 {
			o.dst = append(o.dst, ',')
		}
		o.dst = append(strconv.AppendInt(append(o.dst, '"'), id, 10), `":`...)
		o.dst = strconv.AppendInt(o.dst, i.Lines[id], 10)
	}
	o.dst = append(o.dst, '}')
	return o.end()
}

// MarshalJSON is AppendJSON.
func (i Interruption) MarshalJSON() ([]byte, error) { return i.AppendJSON(nil), nil }
