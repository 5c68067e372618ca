package ui

import (
	"cmp"
	"errors"
	"slices"

	"buildstar/config"
	"buildstar/engine/dist"
	"buildstar/state"
)

// buildRow is a build as lists show it.
type buildRow struct {
	ID       int64         `json:"buildid"`
	Builder  string        `json:"builder"`
	Number   int64         `json:"number"`
	Results  config.Result `json:"results"` // -1 while running
	Complete bool          `json:"complete"`
	Text     string        `json:"state_string"`
	Start    state.Time    `json:"started_at"`
	End      state.Time    `json:"complete_at"`
	Worker   string        `json:"worker"`
	Usual    int64         `json:"usual_ms"` // how long builds of this builder take; 0: unknown
	Stopping bool          `json:"stopping"` // someone asked it to stop
	URL      string        `json:"url"`
}

func (b buildRow) Status() string { return status(b.Results, b.Complete) }
func (b buildRow) Millis() int64  { return int64(b.End - b.Start) }

func (rq *request) buildRow(b state.Build) buildRow {
	name := rq.names.builder(b.BuilderID).Name
	return buildRow{
		ID: b.ID, Builder: name, Number: b.Number, Results: b.Results, Complete: b.Complete, Text: b.StateString,
		Start: b.StartedAt, End: b.CompleteAt, Worker: rq.names.worker(b.WorkerID).Name,
		Stopping: b.StopReason != "" && !b.Complete, URL: buildURL(name, b.Number),
	}
}

// waitingRow is a request that is not built yet.
type waitingRow struct {
	ID       int64         `json:"buildrequestid"`
	Builder  string        `json:"builder"`
	Priority int64         `json:"priority"`
	Since    state.Time    `json:"submitted_at"`
	Retries  int64         `json:"retries"`
	Asked    string        `json:"reason"` // why it was asked for
	Summary  string        `json:"summary"`
	Position int           `json:"position,omitempty"`
	Reasons  []dist.Reason `json:"reasons"`
	URL      string        `json:"url"`
}

// overviewModel is /: what needs someone now.
type overviewModel struct {
	Broken      []brokenRow  `json:"broken"`
	BrokenTotal int          `json:"broken_total"`
	Running     []buildRow   `json:"running"`
	Waiting     []waitingRow `json:"waiting"`
	WaitTotal   int64        `json:"waiting_total"`
	Finished    []buildRow   `json:"finished"`
	Builders    int          `json:"builders"`
	Workers     int          `json:"workers"`
	Slots       int          `json:"slots"`           // how many builds could run; 0: no limit
	First       *firstBuild  `json:"first,omitempty"` // until there is a build
}

// brokenRow is a builder whose newest result is bad.
type brokenRow struct {
	Builder string `json:"builder"`
	URL     string `json:"url"`
	Newest  past   `json:"newest"`
	Since   past   `json:"since"`
	Count   int    `json:"count"` // failures in a row, at most ringSize
	AtLeast bool   `json:"at_least,omitempty"`
}

func (b brokenRow) BuildURL() string { return buildURL(b.Builder, b.Newest.Number) }
func (b brokenRow) SinceURL() string { return buildURL(b.Builder, b.Since.Number) }

// firstBuild is the card of a master that has not built anything.
type firstBuild struct {
	Connected bool     `json:"connected"` // a worker is
	Builders  bool     `json:"builders"`
	Connect   *connect `json:"connect,omitempty"`
	ForceURL  string   `json:"force_url,omitempty"`
	Builder   string   `json:"builder,omitempty"`
	Waiting   bool     `json:"waiting"` // a build is asked for
}

const (
	overviewBroken   = 50
	overviewWaiting  = 12
	overviewFinished = 12
)

func (rq *request) overview() (any, error) {
	rq.page = "overview"
	var m overviewModel
	var waiting []state.BuildRequest
	err := rq.view(func(tx state.ReadTx) (err error) {
		rq.shell.Section, rq.shell.Heading = "/", rq.shell.Site
		rq.shell.Live = []string{"builds/*/*", "buildrequests/*/*", "workers/*/*", "builders/*/*"}
		if err := rq.recent.refresh(tx); err != nil {
			return err
		}
		if err := rq.runningAndFinished(tx, &m); err != nil {
			return err
		}
		if err := rq.broken(tx, &m); err != nil {
			return err
		}
		waiting, err = rq.pending(tx, overviewWaiting, 0)
		if err != nil {
			return err
		}
		m.Waiting, err = rq.waitingRows(tx, waiting)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.WaitTotal = rq.shell.Queue
	rq.explain(m.Waiting)
	builders := rq.names.activeBuilders()
	m.Builders, m.Workers, m.Slots = len(builders), rq.shell.Workers, rq.slots()
	if len(m.Running) == 0 && len(m.Finished) == 0 {
		m.First = rq.firstBuild(m.WaitTotal > 0)
	}
	switch {
	case len(m.Broken) > 0:
		rq.shell.Status = m.Broken[0].Newest.Status()
	case len(m.Running) > 0:
		rq.shell.Status = "running"
	}
	return m, nil
}

func (rq *request) runningAndFinished(tx state.ReadTx, m *overviewModel) error {
	running, err := tx.Builds(state.Where("complete", false))
	if err != nil {
		return err
	}
	for _, b := range running {
		row := rq.buildRow(b)
		ring, err := rq.recent.of(tx, b.BuilderID)
		if err != nil {
			return err
		}
		row.Usual = median(ring)
		m.Running = append(m.Running, row)
	}
	q := state.Where("complete", true)
	q.Order, q.Limit = []state.Order{{Field: "buildid", Desc: true}}, overviewFinished
	done, err := tx.Builds(q)
	if err != nil {
		return err
	}
	for _, b := range done {
		m.Finished = append(m.Finished, rq.buildRow(b))
	}
	return nil
}

func (rq *request) broken(tx state.ReadTx, m *overviewModel) error {
	for _, b := range rq.names.activeBuilders() {
		ring, err := rq.recent.of(tx, b.ID)
		if err != nil {
			return err
		}
		if n, newest, first := red(ring); n > 0 {
			m.Broken = append(m.Broken, brokenRow{
				Builder: b.Name, URL: builderURL(b.Name), Newest: newest, Since: first, Count: n,
				AtLeast: len(ring) == ringSize && first.ID == ring[len(ring)-1].ID,
			})
		}
	}
	slices.SortStableFunc(m.Broken, func(a, b brokenRow) int { return cmp.Compare(b.Newest.End, a.Newest.End) })
	m.BrokenTotal = len(m.Broken)
	m.Broken = m.Broken[:min(len(m.Broken), overviewBroken)]
	return nil
}

// slots is how many builds the connected workers run at once, 0 if one of them has
// no limit.
func (rq *request) slots() int {
	snap, n := rq.control.Snapshot(), 0
	for _, w := range rq.names.activeWorkers() {
		if !w.Connected || closed(w) || snap == nil {
			continue
		}
		c := snap.Worker(w.Name)
		if c == nil {
			continue
		}
		if c.MaxBuilds == 0 {
			return 0
		}
		n += c.MaxBuilds
	}
	return n
}

func (rq *request) firstBuild(waiting bool) *firstBuild {
	f := &firstBuild{Waiting: waiting, Builders: len(rq.names.activeBuilders()) > 0}
	for _, w := range rq.names.activeWorkers() {
		f.Connected = f.Connected || w.Connected
		if f.Connect == nil && !w.Connected {
			f.Connect = rq.connect(w)
		}
	}
	for _, b := range rq.names.activeBuilders() {
		if len(rq.forms(b.Name)) > 0 {
			f.Builder, f.ForceURL = b.Name, builderURL(b.Name)+"/force"
			break
		}
	}
	return f
}

// pending reads requests that wait, in the order they are served.
func (rq *request) pending(tx state.ReadTx, limit, offset int64) ([]state.BuildRequest, error) {
	q := state.Where("complete", false, "claimed", false)
	q.Order = []state.Order{{Field: "priority", Desc: true}, {Field: "submitted_at"}}
	q.Limit, q.Offset = limit, offset
	return tx.BuildRequests(q)
}

// waitingRows reads why the requests were made.
func (rq *request) waitingRows(tx state.ReadTx, brs []state.BuildRequest) ([]waitingRow, error) {
	rows := make([]waitingRow, 0, len(brs))
	sets := map[int64]string{}
	for _, br := range brs {
		asked, ok := sets[br.BuildsetID]
		if !ok {
			bs, err := state.One(tx.Buildsets(state.Where("bsid", br.BuildsetID)))
			if err != nil && !errors.Is(err, state.ErrNotFound) {
				return nil, err
			}
			asked = bs.Reason
			sets[br.BuildsetID] = asked
		}
		rows = append(rows, waitingRow{
			ID: br.ID, Builder: rq.names.builder(br.BuilderID).Name, Priority: br.Priority, Since: br.SubmittedAt,
			Retries: br.Retries, Asked: asked, URL: requestURL(br.ID),
		})
	}
	return rows, nil
}

// explain asks the distributor why each of the rows waits. It is called outside
// the view: it may read the store itself.
func (rq *request) explain(rows []waitingRow) {
	for i := range rows {
		e, err := rq.control.Explain(rq.Context(), rows[i].ID)
		if err != nil {
			rows[i].Summary = "no explanation: " + err.Error()
			continue
		}
		rows[i].Summary, rows[i].Position, rows[i].Reasons = e.Summary, e.Position, e.Reasons
	}
}
