package engine

import (
	"errors"
	"strings"

	"buildstar/engine/dist"
	"buildstar/state"
)

// noteWaiters adds to the reasons of a request what a decision does not know: that the
// build in the way waits for builds it triggered, perhaps for this very one. Such a
// build keeps its worker and its locks (docs/requirements.md C4, Trigger).
func noteWaiters(tx state.ReadTx, requestID int64, x *dist.Explanation) error {
	var above map[int64]bool // builds that wait for the request; nil: not asked yet
	for i := range x.Reasons {
		r := &x.Reasons[i]
		if r.BuildID == 0 {
			continue
		}
		waits, err := waitsForBuilds(tx, r.BuildID)
		if err != nil {
			return err
		}
		if !waits {
			continue
		}
		if above == nil {
			if above, err = waitersFor(tx, requestID); err != nil {
				return err
			}
		}
		text := r.Text + ", which waits for builds it triggered"
		if above[r.BuildID] {
			text = r.Text + ", which waits for this build"
			r.Unblock = "someone stops one of them, or there is room for both"
		}
		x.Summary = strings.Replace(x.Summary, r.Text, text, 1)
		r.Text = text
	}
	return nil
}

// waitsForBuilds reports whether a build waits for one that it triggered.
func waitsForBuilds(tx state.ReadTx, buildID int64) (bool, error) {
	sets, err := tx.Buildsets(state.Where("parent_buildid", buildID, "complete", false))
	if err != nil {
		return false, err
	}
	for _, bs := range sets {
		n, err := tx.Count("buildrequests", state.Where("buildsetid", bs.ID, "waited_for", true, "complete", false))
		if err != nil || n > 0 {
			return n > 0, err
		}
	}
	return false, nil
}

// waitersFor returns the builds that wait for a request: the one that triggered it, the
// one that triggered that, and so on.
func waitersFor(tx state.ReadTx, requestID int64) (map[int64]bool, error) {
	builds := map[int64]bool{}
	for {
		r, err := state.One(tx.BuildRequests(state.Where("buildrequestid", requestID)))
		if err != nil || !r.WaitedFor {
			return builds, ignoreMissing(err)
		}
		bs, err := state.One(tx.Buildsets(state.Where("bsid", r.BuildsetID)))
		if err != nil || bs.ParentBuildID == 0 {
			return builds, ignoreMissing(err)
		}
		b, err := state.One(tx.Builds(state.Where("buildid", bs.ParentBuildID)))
		if err != nil {
			return builds, ignoreMissing(err)
		}
		builds[b.ID] = true
		requestID = b.RequestID
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	return err
}
