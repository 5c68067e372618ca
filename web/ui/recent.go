package ui

import (
	"cmp"
	"slices"
	"sync"

	"buildstar/config"
	"buildstar/state"
)

// ringSize is how many results of a builder are remembered: what the row of a
// builder shows.
const ringSize = 15

// past is a build that is complete.
type past struct {
	ID      int64         `json:"buildid"`
	Number  int64         `json:"number"`
	Results config.Result `json:"results"`
	Start   state.Time    `json:"started_at"`
	End     state.Time    `json:"complete_at"`
	Text    string        `json:"state_string"`
}

func (p past) Status() string { return status(p.Results, true) }
func (p past) Millis() int64  { return int64(p.End - p.Start) }

// recent remembers the newest complete builds of each builder, so that a list of
// builders costs no queries and never depends on how busy the others are. It
// catches up by reading only builds that are newer than what it has seen, or that
// were not complete then.
type recent struct {
	mu     sync.Mutex
	primed bool
	maxID  int64
	open   map[int64]struct{}
	rings  map[int64][]past // by builder, newest first; read when first asked for
	done   []state.Build    // the newest completions, for rings that an older view reads
}

// doneSize bounds recent.done: a request whose view is older than this many
// completions does not exist.
const doneSize = 1024

// refresh takes in what tx sees. A page calls it before [recent.of].
func (c *recent) refresh(tx state.ReadTx) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.primed {
		return c.prime(tx)
	}
	fresh, err := tx.Builds(state.Query{
		Where: []state.Filter{{Field: "buildid", Op: state.Gt, Values: []any{c.maxID}}},
		Limit: 5001,
	})
	if err != nil {
		return err
	}
	if len(fresh) > 5000 {
		return c.prime(tx)
	}
	if len(c.open) > 0 {
		ids := make([]any, 0, len(c.open))
		for id := range c.open {
			ids = append(ids, id)
		}
		for part := range slices.Chunk(ids, 500) {
			rows, err := tx.Builds(state.Query{Where: []state.Filter{{Field: "buildid", Op: state.Eq, Values: part}}})
			if err != nil {
				return err
			}
			fresh = append(fresh, rows...)
		}
	}
	for _, b := range fresh {
		c.maxID = max(c.maxID, b.ID)
		if !b.Complete {
			c.open[b.ID] = struct{}{}
			continue
		}
		delete(c.open, b.ID)
		c.done = append(c.done, b)
		if ring, ok := c.rings[b.BuilderID]; ok {
			c.rings[b.BuilderID] = push(ring, b)
		}
	}
	if len(c.done) > 2*doneSize {
		c.done = slices.Clone(c.done[len(c.done)-doneSize:])
	}
	return nil
}

func (c *recent) prime(tx state.ReadTx) error {
	newest, err := tx.Builds(state.Query{Order: []state.Order{{Field: "buildid", Desc: true}}, Limit: 1})
	if err != nil {
		return err
	}
	running, err := tx.Builds(state.Where("complete", false))
	if err != nil {
		return err
	}
	c.primed, c.maxID, c.open, c.rings, c.done = true, 0, map[int64]struct{}{}, map[int64][]past{}, nil
	if len(newest) > 0 {
		c.maxID = newest[0].ID
	}
	for _, b := range running {
		c.open[b.ID] = struct{}{}
	}
	return nil
}

// of returns the newest complete builds of a builder, newest first, at most
// [ringSize]. The slice is not to be changed.
func (c *recent) of(tx state.ReadTx, builderID int64) ([]past, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ring, ok := c.rings[builderID]; ok {
		return ring, nil
	}
	var ring []past
	if c.maxID > 0 {
		q := state.Where("builderid", builderID, "complete", true)
		q.Order, q.Limit = []state.Order{{Field: "number", Desc: true}}, ringSize
		rows, err := tx.Builds(q)
		if err != nil {
			return nil, err
		}
		for _, b := range rows {
			ring = push(ring, b)
		}
		// tx may be older than the last refresh.
		for _, b := range c.done {
			if b.BuilderID == builderID {
				ring = push(ring, b)
			}
		}
	}
	c.rings[builderID] = ring
	return ring, nil
}

// push returns a new ring with b at its place.
func push(ring []past, b state.Build) []past {
	i, found := slices.BinarySearchFunc(ring, b.Number, func(p past, n int64) int { return cmp.Compare(n, p.Number) })
	if found || i >= ringSize {
		return ring
	}
	p := past{ID: b.ID, Number: b.Number, Results: b.Results, Start: b.StartedAt, End: b.CompleteAt, Text: b.StateString}
	next := make([]past, 0, ringSize+1)
	next = append(append(append(next, ring[:i]...), p), ring[i:]...)
	return next[:min(len(next), ringSize)]
}

// median is the usual time of a build, in milliseconds: that of the successful
// ones, or of all that came to an end by themselves. 0 is unknown.
func median(ring []past) int64 {
	var good, all []int64
	for _, p := range ring {
		switch p.Results {
		case config.Success, config.Warnings:
			good = append(good, p.Millis())
			all = append(all, p.Millis())
		case config.Failure:
			all = append(all, p.Millis())
		}
	}
	if len(good) == 0 {
		good = all
	}
	if len(good) == 0 {
		return 0
	}
	slices.Sort(good)
	return good[len(good)/2]
}

// red returns how many of the newest builds failed, and the first of those. Builds
// that say nothing of the source (retried, cancelled, skipped) do not count.
func red(ring []past) (n int, newest, first past) {
	for _, p := range ring {
		switch p.Results {
		case config.Retry, config.Cancelled, config.Skipped:
		case config.Failure, config.Exception:
			if n == 0 {
				newest = p
			}
			n++
			first = p
		default:
			return n, newest, first
		}
	}
	return n, newest, first
}
