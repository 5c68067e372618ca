package change

import (
	"slices"

	"buildstar/config"
	"buildstar/state"
)

const (
	// maxChanges is how many changes of each codebase a build is said to have.
	maxChanges = 500
	// maxEarlier is how many earlier successful builds are looked at.
	maxEarlier = 1000
	// earlierAtOnce is how many of them are read at once.
	earlierAtOnce = 50
)

// OfBuild returns the changes that a build has and its builder had not built
// successfully before, by codebase and newest first: those of its source stamps, and
// their parents down to the stamps of the newest earlier build that succeeded with
// the same branches and repositories. Without such a build it is all parents; but at
// most 500 for a codebase.
func OfBuild(tx state.ReadTx, b state.Build) ([]state.Change, error) {
	stamps, err := stampsOf(tx, []state.Build{b})
	if err != nil {
		return nil, err
	}
	mine := stamps[b.ID]
	before, err := lastSuccess(tx, b, mine)
	if err != nil {
		return nil, err
	}
	newest, err := changesOf(tx, slices.Concat(mine, before))
	if err != nil {
		return nil, err
	}
	var all []state.Change
	for _, s := range spans(mine, before, newest) {
		changes, err := tx.Changes(s.query())
		if err != nil {
			return nil, err
		}
		all = append(all, changes...)
	}
	return all, nil
}

// A span is a change and its parents after another change.
type span struct {
	newest state.Change
	after  int64 // the id of the first that does not belong; 0: all belong
}

// query finds the changes of the span. A parent is the newest earlier change of the
// same line, so the parents are all earlier changes of the line.
func (s span) query() state.Query {
	c := s.newest
	var branch any
	if c.Branch != nil {
		branch = *c.Branch
	}
	q := state.Where("repository", c.Repository, "branch", branch, "project", c.Project, "codebase", c.Codebase)
	q.Where = append(q.Where,
		state.Filter{Field: "changeid", Op: state.Le, Values: []any{c.ID}},
		state.Filter{Field: "changeid", Op: state.Gt, Values: []any{s.after}})
	q.Order, q.Limit = []state.Order{{Field: "changeid", Desc: true}}, maxChanges
	return q
}

// spans decides which changes belong to a build over the stamps mine, if its builder
// was successful with the stamps before; newest are the changes of both, by stamp.
// What was built before is not built now. Who goes back to an older revision builds
// that change and not those that came with it.
func spans(mine, before []state.SourceStamp, newest map[int64]state.Change) (all []span) {
	built := make(map[string]int64, len(before))
	for _, s := range before {
		built[s.Codebase] = newest[s.ID].ID
	}
	for _, s := range mine {
		c, ok := newest[s.ID]
		switch after := built[s.Codebase]; {
		case !ok || c.ID == after:
		case c.ID < after:
			all = append(all, span{c, c.ID - 1})
		default:
			all = append(all, span{c, after})
		}
	}
	return all
}

// changesOf returns the newest change of each stamp that has one.
func changesOf(tx state.ReadTx, stamps []state.SourceStamp) (map[int64]state.Change, error) {
	in := state.Filter{Field: "ssid", Op: state.Eq}
	for _, s := range stamps {
		in.Values = append(in.Values, s.ID)
	}
	changes, err := tx.Changes(state.Query{Where: []state.Filter{in}})
	byStamp := make(map[int64]state.Change, len(changes))
	for _, c := range changes {
		byStamp[c.SourceStamp.ID] = c
	}
	return byStamp, err
}

// lastSuccess returns the stamps of the newest earlier build of the builder that
// succeeded with the same sources, or none.
func lastSuccess(tx state.ReadTx, b state.Build, mine []state.SourceStamp) ([]state.SourceStamp, error) {
	want := sources(mine)
	q := state.Where("builderid", b.BuilderID, "results", int64(config.Success))
	q.Where = append(q.Where, state.Filter{Field: "number", Op: state.Lt, Values: []any{b.Number}})
	q.Order, q.Limit = []state.Order{{Field: "number", Desc: true}}, earlierAtOnce
	for ; q.Offset < maxEarlier; q.Offset += earlierAtOnce {
		builds, err := tx.Builds(q)
		if err != nil || len(builds) == 0 {
			return nil, err
		}
		stamps, err := stampsOf(tx, builds)
		if err != nil {
			return nil, err
		}
		for _, earlier := range builds {
			if slices.Equal(sources(stamps[earlier.ID]), want) {
				return stamps[earlier.ID], nil
			}
		}
	}
	return nil, nil
}

// source is what a stamp is of, whatever the revision.
type source struct{ codebase, repository, branch string }

// sources returns what stamps are of, sorted.
func sources(stamps []state.SourceStamp) []source {
	all := make([]source, len(stamps))
	for i, s := range stamps {
		all[i] = source{codebase: s.Codebase, repository: s.Repository}
		if s.Branch != nil {
			all[i].branch = "=" + *s.Branch
		}
	}
	slices.SortFunc(all, func(a, b source) int {
		return slices.Compare([]string{a.codebase, a.repository, a.branch}, []string{b.codebase, b.repository, b.branch})
	})
	return all
}

// stampsOf returns the source stamps of builds, by build.
func stampsOf(tx state.ReadTx, builds []state.Build) (map[int64][]state.SourceStamp, error) {
	in := func(field string, values []any) state.Query {
		return state.Query{Where: []state.Filter{{Field: field, Op: state.Eq, Values: values}}}
	}
	var ids []any
	for _, b := range builds {
		ids = append(ids, b.RequestID)
	}
	requests, err := tx.BuildRequests(in("buildrequestid", ids))
	if err != nil {
		return nil, err
	}
	ids = nil
	setOf := make(map[int64]int64, len(requests))
	for _, r := range requests {
		setOf[r.ID] = r.BuildsetID
		ids = append(ids, r.BuildsetID)
	}
	sets, err := tx.Buildsets(in("bsid", ids))
	if err != nil {
		return nil, err
	}
	stamps := make(map[int64][]state.SourceStamp, len(sets))
	for _, s := range sets {
		stamps[s.ID] = s.SourceStamps
	}
	byBuild := make(map[int64][]state.SourceStamp, len(builds))
	for _, b := range builds {
		byBuild[b.ID] = stamps[setOf[b.RequestID]]
	}
	return byBuild, nil
}
