package run

import (
	"context"
	"log/slog"
	"time"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/state"
)

// Order is all that one build needs. The build's row is open already, with the
// state "preparing worker"; the worker's locks and plain ones of the builder are held
// under Ticket.
type Order struct {
	Store   state.Store
	Logs    state.LogStore
	Locks   *Locks
	Logger  *slog.Logger
	Session conn.Session // of the worker; nil for a build that goes on, and with Instances
	// Instances starts the worker; nil: it is there.
	Instances Instances
	// Link is where the next session comes from; nil: the build ends with its connection.
	Link Link
	// ResumeTimeout is how long the worker may be away.
	ResumeTimeout time.Duration
	// Past is what an earlier run of the master did; nil for a new build.
	Past *Past

	Snapshot *config.Snapshot // the configuration the build started with
	Builder  *config.Builder
	Worker   *config.Worker

	Ticket    Ticket
	Row       state.Build
	Buildset  state.Buildset // with source stamps and properties
	Changes   []state.Change // of the source stamps, by id
	ProjectID int64
	BuildURL  string
	Basedir   string // of the master, absolute
	// Triggers carries out what steps trigger; nil: they can trigger nothing.
	Triggers Triggers
	// Secret returns a secret by name; nil: there are none.
	Secret func(ctx context.Context, name string) (string, error)
}

// Outcome is how a build ended. It must be written with Write, in the transaction
// that also completes or gives back the request.
type Outcome struct {
	// Row is complete, but not yet written.
	Row state.Build
	// Again says that a build that ended RETRY was interrupted for the master's sake;
	// it does not count as a try.
	Again bool
	// Blame is what the worker did wrong; "" if the build went well, or badly for
	// another reason.
	Blame string
	// DiskFull says that the build ended because the master could not write.
	DiskFull bool
	// Suspended says that the build has not ended: nothing is to be written.
	Suspended bool

	repair func(state.Tx) error
}

// Write writes the build's last row, and those of its steps and logs that could
// not be written when it was their time. It may be called again if the
// transaction failed.
func (o Outcome) Write(tx state.Tx) error {
	if o.repair != nil {
		if err := o.repair(tx); err != nil {
			return err
		}
	}
	return tx.PutBuild(o.Row, "finished")
}
