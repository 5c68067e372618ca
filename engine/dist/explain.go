// Package dist decides which request is built on which worker now, and says why
// the others wait. The decision is the pure function assign; the explanation is
// what assign returned, so it can never disagree with the decision
// (docs/architecture.md section 4, docs/requirements.md D1 pain 11).
package dist

import "buildstar/state"

// Reason is one thing that keeps a request waiting: the first gate that each of
// the builder's workers fails, or one that concerns the builder or the master.
type Reason struct {
	Code    string     `json:"code"` // "no-worker-connected", "worker-busy", "paused", "max-builds", "lock", ...
	Text    string     `json:"text"` // a sentence: `worker "alpha" is building linux #12`
	Worker  string     `json:"worker,omitempty"`
	BuildID int64      `json:"buildid,omitempty"` // the build that holds what is missing
	Since   state.Time `json:"since,omitempty"`
	Unblock string     `json:"unblock,omitempty"` // what would end it: `linux #12 finishes`
}

// Explanation answers "why is it pending?" for one request.
type Explanation struct {
	RequestID int64      `json:"buildrequestid"`
	Builder   string     `json:"builder"`
	State     string     `json:"state"`              // "waiting", "building" or "complete"
	Summary   string     `json:"summary"`            // one line for lists
	Position  int        `json:"position,omitempty"` // in the builder's queue, from 1
	BuildID   int64      `json:"buildid,omitempty"`  // when building or complete
	At        state.Time `json:"at"`                 // when it was decided
	Reasons   []Reason   `json:"reasons"`
}
