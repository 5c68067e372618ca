package instance

import (
	"fmt"
	"time"

	"buildstar/latent"
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
	a.life, a.check, a.until = nil, nil, time.Time{}
}
