package dist

import (
	"fmt"

	"buildstar/engine/run"
	"buildstar/latent"
)

// closed is a gate that keeps a builder from a worker, without words: most
// decisions are never explained.
type closed struct {
	code    string
	worker  *Worker // nil: not configured, or it concerns the master
	name    string  // of the worker
	place   *Place  // the build in the way
	blocker *run.Blocker
	request int64 // that alone is kept from the worker; 0: all of the builder are
	view    *View
	builds  int
}

// master is the gate before all others.
func (d *decision) master() (closed, bool) {
	switch {
	case d.view.Stopping:
		return closed{code: "stopping"}, false
	case d.view.DiskFull != 0:
		return closed{code: "disk-full", view: d.view}, false
	}
	return closed{}, true
}

// gates asks whether a build of b may start on w, in the order of docs/requirements.md C2,
// and returns the first gate that is closed. why is filled in only then.
func (d *decision) gates(b *Builder, w *Worker, why *closed) bool {
	code := ""
	switch {
	case w.cold():
		code = w.cannotStart()
	case !w.Connected:
		code = "not-connected"
	case w.Settling:
		code = "settling"
	}
	placed := d.placed[w.Name]
	if code == "" {
		for _, list := range [2][]Place{w.Running, placed} {
			for i := range list {
				if list[i].Builder == b.Name {
					*why = closed{code: "worker-busy", worker: w, name: w.Name, place: &list[i]}
					return false
				}
			}
		}
	}
	builds := len(w.Running) + len(placed)
	switch {
	case code != "":
	case w.Graceful:
		code = "graceful"
	case w.Paused:
		code = "paused"
	case w.Quarantine.Until != 0:
		code = "quarantined"
	case w.MaxBuilds > 0 && builds >= w.MaxBuilds:
		oldest := placed
		if len(w.Running) > 0 {
			oldest = w.Running
		}
		*why = closed{code: "max-builds", worker: w, name: w.Name, place: &oldest[0], builds: builds}
		return false
	}
	if code != "" {
		*why = closed{code: code, worker: w, name: w.Name}
		return false
	}
	locks := holds(b, w)
	if len(locks) == 0 {
		return true
	}
	blocker, ok := d.lockState().Free(locks, w.Name)
	if !ok {
		*why = closed{code: "lock", worker: w, name: w.Name, blocker: &blocker}
	}
	return ok
}

// cannotStart is the gate of a latent worker that is not connected, or "".
func (w *Worker) cannotStart() string {
	switch {
	case w.Instance.Failure != "":
		return "stop-failing"
	case w.Instance.Full != "" && w.Instance.State == latent.Down && len(w.Running) == 0:
		return "instance-cap"
	}
	return ""
}

// reason puts a closed gate into words.
func (c *closed) reason() Reason {
	r := Reason{Code: c.code, Worker: c.name}
	switch c.code {
	case "stopping":
		r.Text, r.Unblock = "the master is shutting down", "the master starts again"
	case "disk-full":
		r.Text, r.Unblock, r.Since = "the master's disk is full", "space is freed on the master", c.view.DiskFull
	case "no-such-worker":
		r.Text, r.Unblock = fmt.Sprintf("worker %q is not configured", c.name), "the configuration is changed"
	case "not-connected":
		r.Text, r.Unblock, r.Since = fmt.Sprintf("worker %q is not connected", c.name), "the worker connects", c.worker.ChangedAt
		if c.worker.ChangedAt == 0 {
			r.Text = fmt.Sprintf("worker %q was never connected", c.name)
		}
	case "stop-failing":
		r.Text = fmt.Sprintf("the last instance of worker %q cannot be stopped: %s", c.name, c.worker.Instance.Failure)
		r.Unblock, r.Since = "its provider says that it is gone; the stop is tried again and again", c.worker.Instance.Since
	case "instance-cap":
		r.Text = fmt.Sprintf("worker %q cannot be started: %s", c.name, c.worker.Instance.Full)
		r.Unblock = "an instance that counts for the cap goes, or the configuration is changed"
	case "instance-starting":
		r.Text = fmt.Sprintf("the instance of worker %q is there for %v, and not connected yet", c.name, *c.place)
		r.BuildID, r.Since, r.Unblock = c.place.BuildID, c.place.Since, "it connects, and serves this build too"
	case "instance-asked":
		r.Text = fmt.Sprintf("the instance of worker %q is asked whether it serves this build", c.name)
		r.Unblock = "the answer comes"
	case "other-instance":
		r.Text = fmt.Sprintf("worker %q is building %v on an instance that does not serve this build", c.name, *c.place)
		c.busy(&r)
	case "settling":
		r.Text = fmt.Sprintf("worker %q is ending what an earlier build left running", c.name)
		r.Unblock, r.Since = "the worker answered", c.worker.ChangedAt
	case "worker-busy":
		r.Text = fmt.Sprintf("worker %q is building %v", c.name, *c.place)
		c.busy(&r)
	case "max-builds":
		r.Text = fmt.Sprintf("worker %q has %d of at most %d builds, the oldest is %v", c.name, c.builds, c.worker.MaxBuilds, *c.place)
		c.busy(&r)
	case "graceful":
		r.Text, r.Unblock = fmt.Sprintf("worker %q takes no more builds and will shut down", c.name), "the worker connects again"
	case "paused":
		r.Text, r.Unblock, r.Since = pausedText(c.worker), "someone unpauses the worker", c.worker.PausedAt
	case "quarantined":
		q := c.worker.Quarantine
		r.Text = fmt.Sprintf("worker %q is in quarantine: %s", c.name, q.Cause)
		r.Unblock = "its time ends at " + q.Until.Time().UTC().Format("15:04:05") + " UTC, or someone unpauses the worker"
		r.BuildID, r.Since = q.BuildID, q.Since
	case "lock":
		r.Text, r.BuildID, r.Since = c.blocker.String(), c.blocker.By.BuildID, c.blocker.Since
		r.Unblock = c.blocker.By.Name + " releases it"
		if c.blocker.Never {
			r.Unblock = "the configuration is changed"
		}
	}
	return r
}

func (c *closed) busy(r *Reason) {
	r.BuildID, r.Since, r.Unblock = c.place.BuildID, c.place.Since, c.place.String()+" finishes"
}

func pausedText(w *Worker) string {
	text := fmt.Sprintf("worker %q is paused", w.Name)
	if w.PausedBy != "" {
		text += " by " + w.PausedBy
	}
	if w.PauseReason != "" {
		text += ": " + w.PauseReason
	}
	return text
}

// String names the build as the page does.
func (p Place) String() string {
	if p.BuildID == 0 {
		return "a build of " + p.Builder
	}
	return fmt.Sprintf("%s #%d", p.Builder, p.Number)
}
