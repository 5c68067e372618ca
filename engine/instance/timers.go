package instance

import (
	"fmt"
	"time"

	"buildstar/latent"
	"buildstar/state"
)

// arm replaces the timer of the life.
func (a *actor) arm(e latent.Event, d time.Duration) {
	if a.life != nil {
		a.life.Stop()
	}
	a.until = time.Now().Add(d)
	var mine *time.Timer
	mine = time.AfterFunc(d, func() {
		a.post(func() {
			if a.life != mine {
				return
			}
			if e == latent.Late {
				a.late(d)
			}
			a.feed(e)
		})
	})
	a.life = mine
	for _, w := range a.wants {
		a.phase(w)
	}
}

// late says what an instance is stopped for that did not connect in time.
func (a *actor) late(d time.Duration) {
	a.missing = fmt.Sprintf("it did not connect within %v", d)
	if a.row.ConnectedAt != 0 {
		a.missing = fmt.Sprintf("its connection was lost and did not come back within %v", d)
	}
	a.reason = &Refusal{Reason: a.missing}
}

func (a *actor) armCheck(d time.Duration) {
	if a.check != nil {
		a.check.Stop()
	}
	a.looks = time.Now().Add(d)
	var mine *time.Timer
	mine = time.AfterFunc(d, func() {
		a.post(func() {
			if a.check == mine {
				a.feed(latent.CheckDue)
			}
		})
	})
	a.check = mine
}

func (a *actor) disarm() {
	for _, t := range []*time.Timer{a.life, a.check} {
		if t != nil {
			t.Stop()
		}
	}
	a.life, a.check, a.until, a.looks = nil, nil, time.Time{}, time.Time{}
}

// foresee says what comes next.
func (a *actor) foresee() (o Outlook) {
	m := a.machine
	if m.State == latent.Down {
		return o
	}
	if !a.until.IsZero() {
		o.Until = state.At(a.until)
	}
	if m.State == latent.Starting && m.Call == latent.NoCall && !a.looks.IsZero() {
		o.Check = state.At(a.looks)
	}
	switch {
	case m.State == latent.Starting && m.Call == latent.StartCall:
		o.Text = "it is being started"
	case m.State == latent.Starting:
		o.Text = "its worker is to connect"
	case m.State == latent.Stopping && m.Call == latent.NoCall:
		o.Text = "to stop it is tried again"
	case m.State == latent.Stopping:
		o.Text = "it is being stopped"
	case !m.Attached:
		o.Text = "its connection was lost and is to come back"
	case m.Builds > 0:
		o.Text = "it builds"
	case m.Keep == latent.KeepAlways:
		o.Text = "it waits for builds, as long as the master runs"
	default:
		o.Text = "it waits for builds"
	}
	return o
}
