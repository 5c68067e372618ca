package api

import (
	"net/http"
	"net/url"

	"buildstar/engine/change"
	"buildstar/state"
)

// nested adds the paths of rows within others that are rows in their own right
// (docs/requirements.md C10).
func (a *API) nested(view func(path string, s *schema, serve http.HandlerFunc)) {
	view("builders/{builder}/masters", &masters.schema, a.cachedGet([]string{"masters", "builders"}, collection(a, masters, a.mastersOfBuilder)))
	view("builders/{builder}/masters/{master}", &masters.schema, a.cachedGet([]string{"masters", "builders"}, one(a, masters, a.masterOfBuilder)))
	view("masters/{master}/builders/{builder}", &builders.schema, row(a, builders, a.builderOfMaster))
	view("masters/{master}/builders/{builder}/workers", &workers.schema, rows(a, workers,
		func(tx state.ReadTx, r *http.Request, t *topology) ([]state.Filter, bool, error) {
			if _, err := a.builderOfMaster(tx, r); err != nil {
				return nil, true, err
			}
			return a.workersOfBuilder(tx, r, t)
		}))
	view("masters/{master}/builders/{builder}/workers/{worker}", &workers.schema, row(a, workers,
		func(tx state.ReadTx, r *http.Request) (state.Worker, error) {
			if _, err := a.builderOfMaster(tx, r); err != nil {
				return state.Worker{}, err
			}
			return findWorker(tx, r)
		}))
	view("masters/{master}/workers/{worker}", &workers.schema, row(a, workers, ofOneMaster(findWorker)))
	view("masters/{master}/changesources/{changesource}", &changeSources.schema, row(a, changeSources, ofOneMaster(byID(changeSources, "changesource"))))
	view("masters/{master}/schedulers/{scheduler}", &schedulers.schema, row(a, schedulers, ofOneMaster(byID(schedulers, "scheduler"))))
	for _, build := range []string{"builds/{build}", "builders/{builder}/builds/{number}"} {
		view(build+"/triggered_builds", &builds.schema,
			a.cachedGet([]string{"builds", "buildsets", "buildrequests"}, collection(a, builds, a.triggeredBy)))
		view(build+"/changes", &newestChanges.schema, a.cachedGet([]string{"changes", "builds"}, collection(a, newestChanges, a.changesOfBuild)))
	}
}

// changesOfBuild are the changes that a build has and its builder had not built before.
func (a *API) changesOfBuild(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	b, err := a.findBuild(tx, r)
	if err != nil {
		return nil, true, err
	}
	rows, err := change.OfBuild(tx, b)
	in := state.Filter{Field: "changeid", Op: state.Eq}
	for i := range rows {
		in.Values = append(in.Values, rows[i].ID)
	}
	return []state.Filter{in}, len(rows) == 0, err
}

// changesOfStamp are the changes that came with a source stamp.
func changesOfStamp(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	s, err := byID(sourceStamps, "sourcestamp")(tx, r)
	return state.Where("ssid", s.ID).Where, false, err
}

// buildsOfChange are the builds of buildsets with the source stamp of a change.
func buildsOfChange(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	c, err := byID(changes, "change")(tx, r)
	if err != nil {
		return nil, true, err
	}
	sets, err := tx.Buildsets(state.Where("ssid", c.SourceStamp.ID))
	if err != nil {
		return nil, true, err
	}
	return ofSets(tx, sets)
}

// ofSets are the builds of buildsets.
func ofSets(tx state.ReadTx, sets []state.Buildset) ([]state.Filter, bool, error) {
	if len(sets) == 0 {
		return nil, true, nil
	}
	in := state.Filter{Field: "buildsetid", Op: state.Eq}
	for i := range sets {
		in.Values = append(in.Values, sets[i].ID)
	}
	asked, err := tx.BuildRequests(state.Query{Where: []state.Filter{in}})
	f := state.Filter{Field: "buildrequestid", Op: state.Eq}
	for i := range asked {
		f.Values = append(f.Values, asked[i].ID)
	}
	return []state.Filter{f}, len(asked) == 0, err
}

// ofOneMaster finds what a path names below a master; there is one.
func ofOneMaster[T any](find finder[T]) finder[T] {
	return func(tx state.ReadTx, r *http.Request) (row T, err error) {
		if _, err = byID(masters, "master")(tx, r); err != nil {
			return row, err
		}
		return find(tx, r)
	}
}

// builderOfMaster finds a builder that is configured.
func (a *API) builderOfMaster(tx state.ReadTx, r *http.Request) (state.Builder, error) {
	b, err := ofOneMaster(a.findBuilder)(tx, r)
	if err == nil && !b.Active {
		err = missing("builder", b.Name, " on this master now")
	}
	return b, err
}

// mastersOfBuilder are the masters a builder is configured on: the one, or none.
func (a *API) mastersOfBuilder(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	b, err := a.findBuilder(tx, r)
	return nil, !b.Active, err
}

func (a *API) masterOfBuilder(tx state.ReadTx, r *http.Request) (state.Master, error) {
	if _, err := a.builderOfMaster(tx, r); err != nil {
		return state.Master{}, err
	}
	return byID(masters, "master")(tx, r)
}

// triggeredBy are the builds of the buildsets that a build submitted.
func (a *API) triggeredBy(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	b, err := a.findBuild(tx, r)
	if err != nil {
		return nil, true, err
	}
	sets, err := tx.Buildsets(state.Where("parent_buildid", b.ID))
	if err != nil {
		return nil, true, err
	}
	return ofSets(tx, sets)
}

// later are collections that Buildbot has and this master does not fill yet, by the
// key of the answer. Its clients expect an array (docs/ui-contract.md section 2), so they
// get an empty one; a single row of them is not found.
func (a *API) later(view func(path string, s *schema, serve http.HandlerFunc)) {
	add := func(path, plural string, find func(tx state.ReadTx, r *http.Request) error) {
		view(path, nil, a.uncached(a.none(plural, find)))
	}
	add("codebases", "codebases", nil)
	add("builders/{builder}/test_result_sets", "test_result_sets", exists(a.findBuilder))
	for _, build := range []string{"builds/{build}", "builders/{builder}/builds/{number}"} {
		add(build+"/data", "build_data", exists(a.findBuild))
		add(build+"/test_result_sets", "test_result_sets", exists(a.findBuild))
	}
	add("steps/{step}/test_result_sets", "test_result_sets", exists(a.findStep))
}

// exists turns a finder into a check.
func exists[T any](find finder[T]) func(state.ReadTx, *http.Request) error {
	return func(tx state.ReadTx, r *http.Request) error {
		_, err := find(tx, r)
		return err
	}
}

// none serves an empty collection within what find finds. A query is allowed as it
// stands: there are no fields to check it by, and nothing to select.
func (a *API) none(plural string, find func(tx state.ReadTx, r *http.Request) error) func(r *http.Request) (answer, error) {
	return func(r *http.Request) (answer, error) {
		if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
			return answer{}, badf("query: %v", err)
		}
		if find != nil {
			err := a.store.View(r.Context(), func(tx state.ReadTx) error { return find(tx, r) })
			if err != nil {
				return answer{}, err
			}
		}
		body := append(state.AppendString([]byte{'{'}, plural), `:[],"meta":{"total":0}}`...)
		return answer{body: body}, nil
	}
}
