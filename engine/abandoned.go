package engine

import (
	"errors"

	"buildstar/state"
)

// abandoned reports whether a request was triggered by a build that waited for it and
// is over: nobody wants its result (docs/requirements.md C4, Trigger). Builds are asked for
// in the order of their ids, so that whoever triggered one is closed before it.
func abandoned(tx state.ReadTx, requestID int64) (bool, error) {
	r, err := state.One(tx.BuildRequests(state.Where("buildrequestid", requestID)))
	if errors.Is(err, state.ErrNotFound) || err == nil && !r.WaitedFor {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	set, err := state.One(tx.Buildsets(state.Where("bsid", r.BuildsetID)))
	if err != nil || set.ParentBuildID == 0 {
		return false, err
	}
	parent, err := state.One(tx.Builds(state.Where("buildid", set.ParentBuildID)))
	if errors.Is(err, state.ErrNotFound) {
		return true, nil
	}
	return parent.Complete, err
}

// cancelAbandoned ends the requests that wait and are abandoned.
func cancelAbandoned(tx state.Tx) error {
	rows, err := tx.BuildRequests(state.Where("waited_for", true, "claimed", false, "complete", false))
	if err != nil {
		return err
	}
	for _, r := range rows {
		left, err := abandoned(tx, r.ID)
		if err == nil && left {
			err = cancelWaiting(tx, r.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
