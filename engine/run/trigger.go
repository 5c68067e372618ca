package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"buildstar/config"
	"buildstar/state"
)

// Triggers carries out what steps trigger. Methods are safe for concurrent use.
type Triggers interface {
	// Trigger asks schedulers for builds, all or none, and returns the ids of the
	// buildsets: 0 for a scheduler that builds later. A step that is run again after a
	// restart of the master gets those of the first time.
	Trigger(ctx context.Context, by Origin, asks []Trigger) ([]int64, error)
	// Cancel ends a request as CANCELLED if it waits, or stops its build, and returns the
	// id of that; 0 if there is none, or it is ending by itself.
	Cancel(ctx context.Context, requestID int64, reason string) (buildID int64, err error)
}

// Origin is the step of a build that triggers.
type Origin struct {
	BuildID int64
	Step    int64 // its number
}

// Trigger is what a step asks a scheduler for.
type Trigger struct {
	Scheduler string
	// Stamps are attributes of source stamps, each with its codebase: branch, revision,
	// repository, project. Those that are missing are the scheduler's own.
	Stamps       []map[string]*string
	Properties   state.Properties // win over the scheduler's
	WaitedFor    bool
	Relationship string // of the builds to the one that asks: "Triggered from"
}

// Triggered is a buildset that a step triggered, and what became of it so far.
type Triggered struct {
	state.Buildset
	Requests []TriggeredRequest
}

// TriggeredRequest is one of its requests, with its builds: more than one if some
// were lost.
type TriggeredRequest struct {
	state.BuildRequest
	Builder string
	Builds  []state.Build // oldest first
}

// Trigger asks schedulers for builds; see [Triggers]. Secrets in the properties are given
// by name; elsewhere they are hidden.
func (r *Running) Trigger(ctx context.Context, asks []Trigger) ([]int64, error) {
	if r.b.o.Triggers == nil {
		return nil, errors.New("trigger builds: there is nothing that could do it")
	}
	without := make([]Trigger, len(asks))
	for i, ask := range asks {
		without[i] = r.b.props.mask.trigger(ask)
	}
	return r.b.o.Triggers.Trigger(ctx, Origin{r.BuildID(), r.StepNumber()}, without)
}

// trigger returns what others get to know of what a step asks for.
func (m *mask) trigger(ask Trigger) Trigger {
	ask.Properties, ask.Relationship = m.properties(ask.Properties), m.text(ask.Relationship)
	ask.Stamps = slices.Clone(ask.Stamps)
	for i, stamp := range ask.Stamps {
		ask.Stamps[i] = maps.Clone(stamp)
		for name, v := range stamp {
			if v != nil {
				text := m.text(*v)
				ask.Stamps[i][name] = &text
			}
		}
	}
	return ask
}

// Triggered reads what became of buildsets; unknown ids are left out.
func (r *Running) Triggered(ctx context.Context, ids []int64) (sets []Triggered, err error) {
	err = r.b.o.Store.View(ctx, func(tx state.ReadTx) error {
		sets, err = readTriggered(tx, ids)
		return err
	})
	return sets, err
}

func readTriggered(tx state.ReadTx, ids []int64) ([]Triggered, error) {
	rows, err := tx.Buildsets(among("bsid", ids))
	if err != nil {
		return nil, err
	}
	requests, err := tx.BuildRequests(among("buildsetid", ids))
	if err != nil {
		return nil, err
	}
	var requestIDs, builderIDs []int64
	for _, r := range requests {
		requestIDs, builderIDs = append(requestIDs, r.ID), append(builderIDs, r.BuilderID)
	}
	builders, err := tx.Builders(among("builderid", builderIDs))
	if err != nil {
		return nil, err
	}
	builds, err := tx.Builds(among("buildrequestid", requestIDs))
	if err != nil {
		return nil, err
	}
	names := make(map[int64]string, len(builders))
	for _, b := range builders {
		names[b.ID] = b.Name
	}
	of := make(map[int64][]state.Build, len(builds)) // by request
	for _, b := range builds {
		of[b.RequestID] = append(of[b.RequestID], b)
	}
	sets := make([]Triggered, len(rows))
	for i, row := range rows {
		sets[i].Buildset = row
		for _, r := range requests {
			if r.BuildsetID == row.ID {
				sets[i].Requests = append(sets[i].Requests, TriggeredRequest{r, names[r.BuilderID], of[r.ID]})
			}
		}
	}
	return sets, nil
}

func among(field string, ids []int64) state.Query {
	f := state.Filter{Field: field, Op: state.Eq}
	for _, id := range ids {
		f.Values = append(f.Values, id)
	}
	return state.Query{Where: []state.Filter{f}}
}

// RequestURL returns the address of a request's page.
func (r *Running) RequestURL(id int64) string {
	return r.b.o.Snapshot.Master.BuildbotURL + "r/" + strconv.FormatInt(id, 10)
}

// BuildURLOf returns the address of the page of a builder's build.
func (r *Running) BuildURLOf(builder string, number int64) string {
	return BuildURL(r.b.o.Snapshot, builder, number)
}

// BuildURL returns the address of a build's page.
func BuildURL(s *config.Snapshot, builder string, number int64) string {
	return fmt.Sprintf("%sbuilders/%s/%d", s.Master.BuildbotURL, url.PathEscape(builder), number)
}
