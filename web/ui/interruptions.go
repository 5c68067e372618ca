package ui

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"buildstar/state"
)

// maxInterruptions bounds how many the pages of a build and of a log show: the newest.
const maxInterruptions = 50

// interruption is a time in which a build was out of touch, as people read it.
type interruption struct {
	ID    int64      `json:"interruptionid"`
	Cause string     `json:"cause"`
	Start state.Time `json:"started_at"`
	End   state.Time `json:"ended_at"`
	Times int64      `json:"times"`
	Line  int64      `json:"line,omitempty"` // of the log of the page, from 1: the first that came later
	// worker is its name.
	worker string
}

// Text says what happened, with the zone.
func (i interruption) Text() string {
	const day, clock = "2006-01-02 15:04:05", "15:04:05"
	start := i.Start.Time().UTC()
	text := "out of touch with worker " + i.worker
	if i.Cause == state.MasterAway {
		text = "master restarted, out of touch with worker " + i.worker
	}
	if i.End == 0 {
		return text + " since " + start.Format(day) + " UTC"
	}
	end := i.End.Time().UTC()
	layout := day
	if start.Format(time.DateOnly) == end.Format(time.DateOnly) {
		layout = clock
	}
	text += " from " + start.Format(day) + " to " + end.Format(layout) + " UTC (" + duration(int64(i.End-i.Start))
	if i.Times > 1 {
		text += ", " + strconv.FormatInt(i.Times, 10) + " times"
	}
	return text + ")"
}

// readInterruptions returns the newest interruptions of a build, oldest first.
func (rq *request) readInterruptions(tx state.ReadTx, b state.Build) ([]interruption, error) {
	return rq.interruptions(tx, b, func(state.Interruption) (int64, bool) { return 0, true })
}

// interruptionsIn returns those that fell in the time in which a log was written.
func (rq *request) interruptionsIn(tx state.ReadTx, b state.Build, logID int64) ([]interruption, error) {
	rows, err := rq.interruptions(tx, b, func(i state.Interruption) (int64, bool) {
		lines, in := i.Lines[logID]
		return lines + 1, in
	})
	slices.SortStableFunc(rows, func(a, b interruption) int { return cmp.Compare(a.Line, b.Line) })
	return rows, err
}

func (rq *request) interruptions(tx state.ReadTx, b state.Build, line func(state.Interruption) (int64, bool)) ([]interruption, error) {
	rq.shell.Live = append(rq.shell.Live, "builds/"+strconv.FormatInt(b.ID, 10)+"/interruptions/*/*")
	q := state.Where("buildid", b.ID)
	q.Order, q.Limit = []state.Order{{Field: "interruptionid", Desc: true}}, maxInterruptions
	rows, err := tx.Interruptions(q)
	var all []interruption
	for _, row := range slices.Backward(rows) {
		n, ok := line(row)
		if !ok {
			continue
		}
		i := interruption{ID: row.ID, Cause: row.Cause, Start: row.StartedAt, End: row.EndedAt, Times: row.Times, Line: n,
			worker: rq.names.worker(b.WorkerID).Name}
		all = append(all, i)
	}
	return all, err
}
