package instance

import (
	"context"
	"fmt"
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
		_ = a.write()
	case latent.Stopping:
		a.row.State = state.InstanceStopping
		if a.row.StoppingAt == 0 {
			a.row.StoppingAt = now
		}
		if a.reason != nil {
			a.row.Failure = a.reason.Reason
		}
		_ = a.write()
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

// gone closes the row of an instance, and ends what it could log in with. As long as it
// fails the instance counts as there: the next one would have a second open row.
func (a *actor) gone() error {
	open := a.row
	a.row.State, a.row.GoneAt, a.row.Password = state.InstanceGone, state.Now(), ""
	if err := a.write(); err != nil {
		a.row = open
		return err
	}
	a.row, a.made, a.backend, a.broken, a.reason = state.Instance{}, Config{}, nil, nil, nil
	for _, w := range a.wants {
		w.fit = unknown
	}
	a.mu.Lock()
	a.password = ""
	a.mu.Unlock()
	return nil
}

// write puts the row as it is, and in the same transaction what people should hear of it. A
// row that cannot be written now, which is logged, is written by the next transition; until
// then the ledger errs by having too much.
func (a *actor) write() error {
	if a.row.ID == 0 {
		return nil
	}
	t := Trouble{Instance: a.row, Worker: a.config.Worker, Missing: a.missing}
	tell := a.l.o.Trouble != nil && (t.Missing != "" || a.stuck)
	err := a.l.o.Store.Update(context.Background(), func(tx state.Tx) error {
		err := tx.PutInstance(t.Instance)
		if err == nil && tell {
			err = a.l.o.Trouble(tx, t)
		}
		return err
	})
	if err != nil {
		a.l.o.Logger.Error("write instance", "worker", a.name, "instance", a.row.ID, "state", a.row.State, "error", err)
		return fmt.Errorf("write it down: %w", err)
	}
	a.missing, a.stuck = "", false
	return nil
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
