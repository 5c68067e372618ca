package instance

import (
	"time"

	"buildstar/config"
	"buildstar/latent"
	"buildstar/state"
)

// feed gives the machine an event and carries out what it says.
func (a *actor) feed(e latent.Event) {
	was := a.machine.State
	var actions []latent.Action
	a.machine, actions = a.machine.Next(e)
	if a.machine.State != was {
		a.entered()
	}
	for _, action := range actions {
		a.do(action)
	}
	if len(actions) > 0 || a.machine.State != was {
		a.changed()
	}
}

func (a *actor) do(action latent.Action) {
	c := a.latent()
	switch action {
	case latent.DoStart:
		a.start()
	case latent.DoCheck:
		a.look()
	case latent.DoStop:
		a.stop()
	case latent.Cancel:
		if a.cancel != nil {
			a.cancel()
		}
	case latent.Serve:
		a.serve()
	case latent.Refuse:
		a.refuse()
	case latent.Disconnect:
		a.l.o.Disconnect(a.name, "its instance is being stopped")
	case latent.TimeAttach:
		a.arm(latent.Late, c.Missing)
	case latent.TimeReturn:
		a.arm(latent.Late, a.config.Return)
	case latent.TimeIdle:
		a.arm(latent.Idle, c.BuildWait)
	case latent.TimeRetry:
		a.arm(latent.RetryDue, a.l.o.Backoff(a.row.Failures))
	case latent.TimeCheck:
		a.armCheck(c.CheckEvery)
	case latent.Disarm:
		a.disarm()
	}
}

// latent is what the configuration says; of an instance whose worker is unknown nothing.
func (a *actor) latent() *config.Latent {
	if a.config.Worker == nil {
		return &config.Latent{}
	}
	return a.config.Worker.Latent
}

// phase tells a build that waits what it waits for.
func (a *actor) phase(w *want) {
	if w.served || w.Phase == nil {
		return
	}
	text, until := "", a.until
	switch {
	case a.machine.State == latent.Stopping:
		text, until = "waiting for its last instance to stop", time.Time{}
	case a.machine.Attached:
		text, until = "waiting for builds that need another instance", time.Time{}
	case a.machine.State == latent.Up:
		text = "waiting for it to connect again"
	case a.machine.Call == latent.StartCall:
		text = "starting an instance"
	case a.row.Handle != "":
		text = "waiting for instance " + a.row.Handle + " to connect"
	default:
		text = "waiting for it to connect"
	}
	w.tell(func() { w.Phase(text, until) })
}

// changed tells the others how the instance is.
func (a *actor) changed() {
	a.mu.Lock()
	s := Status{State: a.machine.State, Since: a.now.Since, ID: a.row.ID, Handle: a.row.Handle, Outdated: a.outdated()}
	if a.row.Failures > 0 {
		s.Failure, s.Stops = a.row.Failure, a.row.Failures
	}
	if a.now.State != s.State || s.Since == 0 {
		s.Since = state.Now()
	}
	same := a.now == s
	a.now, a.next = s, a.foresee()
	a.mu.Unlock()
	if !same {
		a.l.o.Changed(a.name, s)
	}
	for _, w := range a.wants {
		a.phase(w)
	}
}
