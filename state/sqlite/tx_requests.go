package sqlite

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"buildstar/config"
	"buildstar/state"
)

// stampDigest is over everything that makes source stamps equal.
func stampDigest(s state.SourceStamp) []byte {
	var data []byte
	for _, v := range []*string{s.Branch, s.Revision, &s.Project, &s.Repository, &s.Codebase} {
		if v == nil {
			data = append(data, "null"...)
		} else {
			data = state.AppendString(data, *v)
		}
		data = append(data, ',')
	}
	sum := sha256.Sum256(data)
	return sum[:]
}

// AddBuildset implements state.Tx. One without requests is complete at once, with
// SUCCESS.
func (t *tx) AddBuildset(bs state.Buildset, requests []state.BuildRequest) (int64, []int64, error) {
	bs.Complete, bs.CompleteAt, bs.Results = false, 0, config.Unfinished
	props := string(bs.Properties.AppendKept(nil))
	var err error
	bs.ID, err = t.c.insert(`INSERT INTO buildsets (external_id, reason, scheduler, submitted_at, complete, complete_at, results, parent_build_id, parent_step, parent_seq, parent_relationship, rebuilt_build_id, properties)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		bs.ExternalID, bs.Reason, bs.Scheduler, int64(bs.SubmittedAt), bs.Complete, int64(bs.CompleteAt), int64(bs.Results),
		bs.ParentBuildID, bs.ParentStep, bs.ParentSeq, bs.ParentRelationship, bs.RebuiltBuildID, props)
	if err != nil {
		return 0, nil, fmt.Errorf("add buildset: %w", explain(err))
	}
	bs.SourceStamps = slices.Clone(bs.SourceStamps)
	for i := range bs.SourceStamps {
		if err := t.addBuildsetStamp(bs.ID, i, &bs.SourceStamps[i]); err != nil {
			return 0, nil, err
		}
	}
	t.record(bs.Event("new"))
	ids := make([]int64, len(requests))
	for i, r := range requests {
		if ids[i], err = t.addRequest(bs, r); err != nil {
			return 0, nil, err
		}
	}
	if len(requests) == 0 {
		return bs.ID, ids, t.completeBuildset(bs.ID, config.Success, bs.SubmittedAt)
	}
	return bs.ID, ids, nil
}

// addBuildsetStamp links a stamp, given by its id, and reads its row for the event.
func (t *tx) addBuildsetStamp(bsid int64, position int, s *state.SourceStamp) error {
	id := s.ID
	if err := scanStamp(t.c.row("SELECT "+stampColumns+" FROM sourcestamps WHERE id=?", id), s); err != nil {
		return fmt.Errorf("add buildset: source stamp %d: %w", id, missing(err))
	}
	_, err := t.c.exec("INSERT INTO buildset_sourcestamps (buildset_id, position, sourcestamp_id) VALUES (?,?,?)", bsid, position, id)
	if err != nil {
		return fmt.Errorf("add buildset: %w", explain(err))
	}
	return nil
}

func (t *tx) addRequest(bs state.Buildset, r state.BuildRequest) (int64, error) {
	r.BuildsetID = bs.ID
	if r.SubmittedAt == 0 {
		r.SubmittedAt = bs.SubmittedAt
	}
	r.Claimed, r.ClaimedAt, r.Complete, r.CompleteAt, r.Results = false, 0, false, 0, config.Unfinished
	var err error
	r.ID, err = t.c.insert(`INSERT INTO buildrequests (buildset_id, builder_id, priority, claimed, claimed_at, complete, complete_at, results, submitted_at, waited_for, retries, collapsed_to)
		VALUES (?,?,?,0,0,0,0,?,?,?,?,?)`,
		r.BuildsetID, r.BuilderID, r.Priority, int64(r.Results), int64(r.SubmittedAt), r.WaitedFor, r.Retries, r.CollapsedTo)
	if err != nil {
		return 0, fmt.Errorf("add request for builder %d: %w", r.BuilderID, explain(err))
	}
	t.record(r.Event("new"))
	return r.ID, nil
}

// Claim implements state.Tx.
func (t *tx) Claim(at state.Time, ids ...int64) error {
	for _, id := range ids {
		if len(ids) == 1 {
			break // the UPDATE checks it too; of several, none may be claimed if one cannot be
		}
		var free bool
		err := t.c.row("SELECT claimed=0 AND complete=0 FROM buildrequests WHERE id=?", id).Scan(&free)
		if err == nil && !free {
			err = state.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("claim request %d: %w", id, missing(err))
		}
	}
	for _, id := range ids {
		_, err := t.changeRequest("claimed", id, "UPDATE buildrequests SET claimed=1, claimed_at=? WHERE id=? AND claimed=0 AND complete=0", int64(at), id)
		if err != nil {
			return fmt.Errorf("claim %w", err)
		}
	}
	return nil
}

// Unclaim implements state.Tx. A request that is complete or does not exist is
// ErrNotFound.
func (t *tx) Unclaim(retry bool, ids ...int64) error {
	more := 0
	if retry {
		more = 1
	}
	for _, id := range ids {
		_, err := t.changeRequest("unclaimed", id, "UPDATE buildrequests SET claimed=0, claimed_at=0, retries=retries+? WHERE id=? AND complete=0", more, id)
		if err != nil {
			return fmt.Errorf("unclaim %w", err)
		}
	}
	return nil
}

// CompleteRequest implements state.Tx. A request that is complete already or does
// not exist is ErrNotFound.
func (t *tx) CompleteRequest(id int64, r config.Result, at state.Time) error {
	row, err := t.changeRequest("complete", id, "UPDATE buildrequests SET complete=1, complete_at=?, results=? WHERE id=? AND complete=0", int64(at), int64(r), id)
	if err != nil {
		return fmt.Errorf("complete %w", err)
	}
	type end struct{ complete, results int64 }
	ends, err := rowsOf(t.reader, func(s scanner, e *end) error { return s.Scan(&e.complete, &e.results) },
		"SELECT complete, results FROM buildrequests WHERE buildset_id=?", row.BuildsetID)
	if err != nil {
		return fmt.Errorf("complete request %d: %w", id, err)
	}
	worst := config.Success
	for _, e := range ends {
		if e.complete == 0 {
			return nil
		}
		worst = config.Worst(worst, config.Result(e.results))
	}
	return t.completeBuildset(row.BuildsetID, worst, at)
}

func (t *tx) completeBuildset(id int64, r config.Result, at state.Time) error {
	if err := t.change("buildset", id, "UPDATE buildsets SET complete=1, complete_at=?, results=? WHERE id=?", int64(at), int64(r), id); err != nil {
		return err
	}
	bs, err := state.One(t.Buildsets(state.Where("bsid", id)))
	if err != nil {
		return err
	}
	t.record(bs.Event("complete"))
	return nil
}

// PutRequest implements state.Tx.
func (t *tx) PutRequest(r state.BuildRequest) error {
	_, err := t.changeRequest("update", r.ID, "UPDATE buildrequests SET priority=?, collapsed_to=? WHERE id=?", r.Priority, r.CollapsedTo, r.ID)
	if err != nil {
		return fmt.Errorf("write %w", err)
	}
	return nil
}

// changeRequest runs an UPDATE of one request and records its event.
func (t *tx) changeRequest(verb string, id int64, query string, args ...any) (r state.BuildRequest, err error) {
	if err := scanRequest(t.c.row(query+" RETURNING "+requestColumns, args...), &r); err != nil {
		return r, fmt.Errorf("request %d: %w", id, missing(err))
	}
	t.record(r.Event(verb))
	return r, nil
}
