package dist

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"buildstar/config"
	"buildstar/state"
)

// collapse lets a new request absorb the older ones of its builder that ask for
// the same (docs/requirements.md C2): equal sources and, unlike Buildbot, equal properties.
// Requests that someone waits for are left alone (D1 pain 19).
func (d *Distributor) collapse(ctx context.Context, e *entry) {
	b, q := d.builders[e.BuilderID], d.index.builders[e.BuilderID]
	if b == nil || !b.collapse {
		q.keys, q.unkeyed = nil, nil
		return
	}
	if e.row.WaitedFor || len(q.ready)+len(q.delayed) < 2 {
		return
	}
	if err := d.keys(ctx, q); err != nil {
		d.o.Logger.Error("read the sources of waiting requests", "builder", b.Name, "error", err)
		return
	}
	if e.key == "" {
		return
	}
	var same []*entry
	for _, id := range q.keys[e.key] {
		if o := d.index.byID[id]; o != nil && o.key == e.key && o.ID < e.ID && !o.row.WaitedFor {
			same = append(same, o)
		}
	}
	for _, o := range same {
		if err := d.absorb(ctx, o.row, e.ID); err != nil {
			if !errors.Is(err, state.ErrNotFound) {
				d.o.Logger.Error("collapse request", "request", o.ID, "into", e.ID, "error", err)
			}
			continue
		}
		d.index.remove(o.ID)
	}
}

// absorb completes a request as SKIPPED, with a link to the one that stands for it.
func (d *Distributor) absorb(ctx context.Context, row state.BuildRequest, by int64) error {
	return d.o.Store.Update(ctx, func(tx state.Tx) error {
		now := state.Now()
		if err := tx.Claim(now, row.ID); err != nil {
			return err
		}
		row, err := state.One(tx.BuildRequests(state.Where("buildrequestid", row.ID)))
		if err != nil {
			return err
		}
		row.CollapsedTo = by
		if err := tx.PutRequest(row); err != nil {
			return err
		}
		return tx.CompleteRequest(row.ID, config.Skipped, now)
	})
}

// keys gives every request of a queue the key by which equal ones are found.
func (d *Distributor) keys(ctx context.Context, q *queue) error {
	if q.keys == nil {
		q.keys, q.unkeyed = map[string][]int64{}, q.entries()
	}
	return d.o.Store.View(ctx, func(tx state.ReadTx) error {
		for _, e := range q.unkeyed {
			if d.index.byID[e.ID] != e {
				continue
			}
			bs, err := state.One(tx.Buildsets(state.Where("bsid", e.row.BuildsetID)))
			if err != nil {
				return err
			}
			if e.key, err = key(bs); err != nil {
				return err
			}
			q.keys[e.key] = append(q.keys[e.key], e.ID)
		}
		q.unkeyed = nil
		return nil
	})
}

// key is equal for buildsets that ask for the same.
func key(bs state.Buildset) (string, error) {
	stamps := slices.Clone(bs.SourceStamps)
	for i := range stamps {
		stamps[i].ID, stamps[i].CreatedAt = 0, 0
	}
	slices.SortFunc(stamps, func(a, b state.SourceStamp) int { return cmp.Compare(a.Codebase, b.Codebase) })
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for _, v := range []any{stamps, bs.Properties} {
		if err := enc.Encode(v); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}
