package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
)

// maxRetries is how often a request is built again because its build was lost
// (docs/requirements.md D1 pain 13).
const maxRetries = 5

// finish writes how a build ended, and ends its request or gives it back. While
// the disk is full it tries again: nothing else knows of the result.
func (m *Master) finish(a *active, o run.Order, out run.Outcome) {
	judged := m.fleet.judge(a.start.Worker, a.start.Builder, out)
	if again(out.Row.Results) {
		m.dist.Retrying(a.start.Request, a.start.Worker, out.Again)
	}
	if out.DiskFull {
		m.disk.note(state.ErrFull)
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := m.o.Store.Update(context.Background(), func(tx state.Tx) error { return m.settle(tx, o, out, judged) })
		if err == nil {
			return
		}
		m.disk.note(err)
		m.log.Error("write the end of a build; it is tried again", "build", o.Row.ID, "error", err)
		if errors.Is(err, state.ErrClosed) {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-m.hard.Done():
			timer.Stop()
			return // the next start closes it
		}
	}
}

// settle is the last transaction of a build.
func (m *Master) settle(tx state.Tx, o run.Order, out run.Outcome, judged bool) error {
	if judged {
		if err := m.writeWorker(tx, o.Worker.Name, func(*state.Worker) error { return nil }, "state_updated"); err != nil {
			return err
		}
	}
	request, err := state.One(tx.BuildRequests(state.Where("buildrequestid", o.Row.RequestID)))
	if err != nil {
		return err
	}
	if again(out.Row.Results) && !out.Again && request.Retries >= maxRetries {
		if err := giveUp(tx, &out); err != nil {
			return err
		}
	}
	if err := out.Write(tx); err != nil {
		return err
	}
	if again(out.Row.Results) {
		return tx.Unclaim(!out.Again, request.ID)
	}
	return tx.CompleteRequest(request.ID, out.Row.Results, out.Row.CompleteAt)
}

// giveUp turns one RETRY too many into an EXCEPTION that names the whole chain.
func giveUp(tx state.Tx, out *run.Outcome) error {
	builds, err := tx.Builds(state.Where("buildrequestid", out.Row.RequestID))
	if err != nil {
		return err
	}
	var chain []string
	for _, b := range builds {
		chain = append(chain, fmt.Sprintf("#%d", b.Number))
	}
	out.Row.Results = config.Exception
	out.Row.StateString = fmt.Sprintf("gave up after %d retries (builds %s); the last: %s",
		maxRetries, strings.Join(chain, ", "), out.Row.StateString)
	return nil
}
