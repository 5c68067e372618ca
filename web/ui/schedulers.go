package ui

import (
	"net/http"
	"strconv"

	"buildstar/engine/sched"
	"buildstar/state"
)

// schedulersModel is /schedulers: those that are configured, in their order.
type schedulersModel struct {
	Rows []schedulerRow `json:"schedulers"`
}

type schedulerRow struct {
	ID      int64      `json:"schedulerid"`
	Name    string     `json:"name"`
	Kind    string     `json:"kind"` // of schedulers.X
	URL     string     `json:"url"`
	Enabled bool       `json:"enabled"`
	Waits   string     `json:"waits_for,omitempty"` // "changes"; nothing while it is disabled
	Until   state.Time `json:"waits_until"`
	ActedAt state.Time `json:"acted_at"`
	Error   string     `json:"error,omitempty"`
	ErrorAt state.Time `json:"error_at"`
}

func (rq *request) schedulers() (any, error) {
	rq.page = "schedulers"
	var m schedulersModel
	err := rq.view(func(tx state.ReadTx) error {
		s := &rq.shell
		s.Section, s.Heading = "/schedulers", "Schedulers"
		s.Live = []string{"schedulers/*/*", "buildsets/*/*"}
		rows, err := tx.Schedulers(state.Where("active", true))
		if err != nil {
			return err
		}
		byName := make(map[string]state.Scheduler, len(rows))
		for _, row := range rows {
			byName[row.Name] = row
		}
		snap := rq.control.Snapshot()
		if snap == nil {
			return nil
		}
		for _, c := range snap.Schedulers {
			row, ok := byName[c.Key().Name]
			if !ok {
				continue // it is being configured
			}
			r := schedulerRow{
				ID: row.ID, Name: row.Name, Kind: c.Type(), URL: "/schedulers/" + strconv.FormatInt(row.ID, 10), Enabled: row.Enabled,
				ActedAt: row.ActedAt, Error: row.Error, ErrorAt: row.ErrorAt,
			}
			if row.Enabled {
				w, err := waits(tx, c, row.ID)
				if err != nil {
					return err
				}
				r.Waits, r.Until = w.For, w.Until
			}
			m.Rows = append(m.Rows, r)
		}
		return nil
	})
	return m, err
}

// waits says what a scheduler waits for.
func waits(tx state.ReadTx, c any, id int64) (sched.Wait, error) {
	switch c := c.(type) {
	case sched.Waiter:
		return c.Waits(tx, id)
	case sched.Forcer:
		return sched.Wait{For: "somebody who asks for a build"}, nil
	case sched.Triggerer:
		return sched.Wait{For: "a step that triggers it"}, nil
	}
	return sched.Wait{}, nil
}

// switchScheduler returns the action that enables or disables a scheduler.
func switchScheduler(enabled bool) action {
	return func(rq *request) (any, error) {
		id, err := strconv.ParseInt(rq.PathValue("id"), 10, 64)
		if err != nil {
			return nil, missing{what: "Schedulers are numbered; " + quoted(rq.PathValue("id")) + " is no number.", near: []link{{"all schedulers", "/schedulers"}}}
		}
		if err := rq.control.EnableScheduler(rq.Context(), id, enabled, rq.user()); err != nil {
			return nil, err
		}
		return nil, redirect{"/schedulers", http.StatusSeeOther}
	}
}
