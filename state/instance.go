package state

import "buildstar/config/prop"

// The states of an Instance.
const (
	InstanceStarting = "starting" // it is being started, or has not connected yet
	InstanceUp       = "up"       // its worker connected; it may have lost the connection since
	InstanceStopping = "stopping" // it is being stopped, until the provider says that it is gone
	InstanceGone     = "gone"
)

// Instance is one instance of a latent worker, from before it was asked for until long
// after it is gone: the ledger (docs/requirements.md D1 pain 2).
type Instance struct {
	ID     int64  `json:"instanceid"`
	Worker string `json:"worker"` // its name
	Kind   string `json:"kind"`   // of its backend
	State  string `json:"state"`
	Handle string `json:"handle"` // "" before Start returned one
	// Info are the short texts that the start gave.
	Info []string `json:"info"`
	// Password is what it logs in with. Once it is gone it is forgotten.
	Password prop.Password `json:"-"`
	// Arguments are those that its build's properties made.
	Arguments map[string]any `json:"-"`
	// Caps are the names of the caps that it counts for.
	Caps       []string `json:"caps"`
	Generation int64    `json:"-"`       // of the configuration that it was started by
	BuildID    int64    `json:"buildid"` // it was started for; 0: none
	CreatedAt  Time     `json:"created_at"`
	StartedAt  Time     `json:"started_at"`
	// ConnectedAt is when its worker first did.
	ConnectedAt Time `json:"connected_at"`
	StoppingAt  Time `json:"stopping_at"`
	GoneAt      Time `json:"gone_at"`
	// Failures counts the stops that failed, and Failure is what went wrong last.
	Failures int64  `json:"failures"`
	Failure  string `json:"failure"`
}

// Seconds is how long the instance has existed: what it costs.
func (i Instance) Seconds(now Time) int64 {
	if i.GoneAt != 0 {
		now = i.GoneAt
	}
	return max(0, int64(now-i.CreatedAt)/1000)
}

// Event returns the event of an instance: verb "new", "update" or "gone".
func (i Instance) Event(verb string) Event {
	return Event{Key: key(verb, "instances", i.ID), Row: i}
}

// AppendJSON appends the row, without its password.
func (i Instance) AppendJSON(dst []byte) []byte {
	o := object{dst: dst}
	o.int("instanceid", i.ID)
	o.string("worker", i.Worker)
	o.string("kind", i.Kind)
	o.string("state", i.State)
	o.text("handle", i.Handle)
	o.name("info")
	o.dst = appendStrings(o.dst, i.Info)
	o.name("caps")
	o.dst = appendStrings(o.dst, i.Caps)
	o.id("buildid", i.BuildID)
	o.time("created_at", i.CreatedAt)
	o.time("started_at", i.StartedAt)
	o.time("connected_at", i.ConnectedAt)
	o.time("stopping_at", i.StoppingAt)
	o.time("gone_at", i.GoneAt)
	o.int("failures", i.Failures)
	o.text("failure", i.Failure)
	return o.end()
}

// MarshalJSON is AppendJSON.
func (i Instance) MarshalJSON() ([]byte, error) { return i.AppendJSON(nil), nil }
