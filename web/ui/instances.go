package ui

import (
	"time"

	"buildstar/engine"
	"buildstar/engine/sched"
	"buildstar/state"
)

// instancesModel is /instances: the ledger, and what providers run besides.
type instancesModel struct {
	Rows []*instanceRow `json:"instances"` // that exist
	Gone []*instanceRow `json:"gone"`      // the newest that do not any more
	Look *look          `json:"look"`      // nil: nobody looked lately
}

// look is the newest answer of the providers to the question what they run for this master.
type look struct {
	At      state.Time `json:"at"`
	Strays  []strayRow `json:"strays"` // what the ledger does not know
	Reaped  bool       `json:"reaped"` // they were stopped
	Trouble string     `json:"trouble,omitempty"`
}

// lookLife is how long a look is shown, in milliseconds.
const lookLife = state.Time(10 * time.Minute / time.Millisecond)

type strayRow struct {
	engine.Stray
	URL string `json:"url,omitempty"` // of its worker
}

// goneLimit is how many instances that are gone the page shows.
const goneLimit = 25

func (rq *request) instances() (any, error) {
	rq.page = "instances"
	var m instancesModel
	err := rq.view(func(tx state.ReadTx) (err error) {
		s := &rq.shell
		s.Section, s.Heading = "/instances", "Instances"
		s.Live = []string{"instances/*/*", "builds/*/*"}
		alive := state.Where("gone_at", nil)
		alive.Order = []state.Order{{Field: "instanceid"}}
		if m.Rows, err = rq.instanceRows(tx, alive); err != nil {
			return err
		}
		gone := state.Where("state", state.InstanceGone)
		gone.Order, gone.Limit = []state.Order{{Field: "instanceid", Desc: true}}, goneLimit
		m.Gone, err = rq.instanceRows(tx, gone)
		return err
	})
	if l := rq.pages.look.Load(); l != nil && state.Now()-l.At < lookLife {
		m.Look = l
	}
	return m, err
}

// instanceRows returns rows with what comes next for those that exist.
func (rq *request) instanceRows(tx state.ReadTx, q state.Query) (rows []*instanceRow, err error) {
	instances, err := tx.Instances(q)
	for _, i := range instances {
		r := newInstanceRow(i)
		if i.GoneAt == 0 {
			next := rq.control.InstanceOutlook(i.Worker)
			r.Next, r.Until, r.Check, r.Log = next.Text, next.Until, next.Check, next.Log
		}
		rows = append(rows, r)
	}
	return rows, err
}

// findStrays asks the providers, and has what it finds stopped if stop is set. The page shows
// the answer for a while.
func findStrays(stop bool) action {
	return func(rq *request) (any, error) {
		if stop && rq.PostFormValue("sure") == "" {
			return nil, badRequest("tick that nobody needs them, to have instances stopped that the ledger does not know")
		}
		strays, err := rq.control.StrayInstances(rq.Context(), stop, sched.User{})
		l := &look{At: state.Now(), Reaped: stop, Strays: []strayRow{}}
		if err != nil {
			l.Trouble = err.Error()
		}
		for _, s := range strays {
			r := strayRow{Stray: s}
			if s.Worker != "" {
				r.URL = workerURL(s.Worker)
			}
			l.Strays = append(l.Strays, r)
		}
		rq.pages.look.Store(l)
		return nil, see("/instances")
	}
}
