package instance

import (
	"context"
	"slices"
	"strings"

	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/state"
)

// entered writes a transition to the ledger. Down is written by gone, before it may lead to
// the next start.
func (a *actor) entered() {
	if a.settled != nil && a.machine.State != latent.Starting {
		close(a.settled)
		a.settled = nil
	}
	switch now := state.Now(); a.machine.State {
	case latent.Up:
		a.row.State = state.InstanceUp
		if a.row.ConnectedAt == 0 {
			a.row.ConnectedAt = now
		}
		a.write()
	case latent.Stopping:
		a.row.State = state.InstanceStopping
		if a.row.StoppingAt == 0 {
			a.row.StoppingAt = now
		}
		if a.reason != nil {
			a.row.Failure = a.reason.Reason
		}
		a.write()
		a.abandon()
	case latent.Starting:
		a.reason = nil
	}
}

// abandon forgets the builds that have the worker: it is being taken from them.
func (a *actor) abandon() {
	n := len(a.wants)
	a.wants = slices.DeleteFunc(a.wants, func(w *want) bool { return w.served })
	for range n - len(a.wants) {
		a.machine, _ = a.machine.Next(latent.Release) // while it stops this only counts
	}
}

// gone closes the row of an instance, and ends what it could log in with.
func (a *actor) gone() {
	a.row.State, a.row.GoneAt, a.row.Password = state.InstanceGone, state.Now(), ""
	a.write()
	a.row, a.made, a.backend, a.broken, a.reason = state.Instance{}, Config{}, nil, nil, nil
	for _, w := range a.wants {
		w.fit = unknown
	}
	a.mu.Lock()
	a.password = ""
	a.mu.Unlock()
}

// write puts the row as it is. A row that cannot be written now is written by the next
// transition; until then the ledger errs by having too much.
func (a *actor) write() {
	if a.row.ID == 0 {
		return
	}
	row := a.row
	if err := a.l.o.Store.Update(context.Background(), func(tx state.Tx) error { return tx.PutInstance(row) }); err != nil {
		a.l.o.Logger.Error("write instance", "worker", a.name, "instance", row.ID, "state", row.State, "error", err)
	}
}

func (a *actor) ref() latent.Ref {
	return latent.Ref{Worker: a.name, Attempt: a.row.ID, Handle: a.row.Handle, Arguments: a.row.Arguments}
}

// enroll adds the instance to the ledger, if the caps allow it.
func (a *actor) enroll(w *want) error {
	c := w.Config.Worker.Latent
	row := state.Instance{
		Worker: a.name, Kind: c.Backend.Kind(), State: state.InstanceStarting, Password: w.Password,
		Arguments: w.Arguments, Generation: w.Config.Generation, BuildID: w.BuildID, CreatedAt: state.Now(),
	}
	if row.Password == "" {
		row.Password = randomPassword()
	}
	for _, limit := range c.Caps {
		row.Caps = append(row.Caps, limit.Name)
	}
	err := a.l.o.Store.Update(context.Background(), func(tx state.Tx) (err error) {
		if err := full(tx, c.Caps, row.CreatedAt); err != nil {
			return err
		}
		row.ID, err = tx.AddInstance(row)
		return err
	})
	if err != nil {
		return err
	}
	a.row = row
	a.mu.Lock()
	a.password = prop.Password(row.Password)
	a.log = strings.Builder{}
	a.mu.Unlock()
	return nil
}
