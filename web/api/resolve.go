package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"buildstar/state"
)

// What the words of a path stand for: ids, or names (docs/requirements.md C10). A number
// is an id, as Buildbot has it, even if something has the number as its name.

// number reads a word of the path as a number.
func number(r *http.Request, word string) (int64, bool) {
	n, err := strconv.ParseInt(r.PathValue(word), 10, 64)
	return n, err == nil
}

// missing says that a word of the path names nothing.
func missing(kind, name string, near string) error {
	return &notFound{fmt.Sprintf("there is no %s %q%s", kind, clip(name), near)}
}

// byIDOrName looks a row up by a word of the path.
func byIDOrName[T any](tx state.ReadTx, r *http.Request, res *resource[T], word, nameField string) (T, error) {
	v := r.PathValue(word)
	q := state.Where(nameField, v)
	if n, ok := number(r, word); ok {
		q = state.Where(res.key, n)
	}
	q.Limit = 1
	row, err := state.One(res.read(tx, q))
	if err == state.ErrNotFound {
		err = missing(res.name, v, "")
	}
	return row, err
}

// byID looks a row up by a word of the path that must be a number.
func byID[T any](res *resource[T], word string) func(tx state.ReadTx, r *http.Request) (T, error) {
	return func(tx state.ReadTx, r *http.Request) (row T, err error) {
		n, ok := number(r, word)
		if !ok {
			return row, missing(res.name, r.PathValue(word), "")
		}
		row, err = state.One(res.read(tx, state.Query{Where: state.Where(res.key, n).Where, Limit: 1}))
		if err == state.ErrNotFound {
			err = missing(res.name, r.PathValue(word), "")
		}
		return row, err
	}
}

func (a *API) findBuilder(tx state.ReadTx, r *http.Request) (state.Builder, error) {
	b, err := byIDOrName(tx, r, builders, "builder", "name")
	if _, ok := number(r, "builder"); err != nil && !ok {
		var names []string
		for _, b := range a.control.Snapshot().Builders {
			names = append(names, b.Name)
		}
		if near := suggest(r.PathValue("builder"), names); near != "" {
			err = missing("builder", r.PathValue("builder"), near)
		}
	}
	return b, err
}

func findWorker(tx state.ReadTx, r *http.Request) (state.Worker, error) {
	return byIDOrName(tx, r, workers, "worker", "name")
}

func findProject(tx state.ReadTx, r *http.Request) (state.Project, error) {
	return byIDOrName(tx, r, projects, "project", "slug")
}

// findBuild finds a build by id, or by its builder and number.
func (a *API) findBuild(tx state.ReadTx, r *http.Request) (state.Build, error) {
	if r.PathValue("build") != "" {
		return byID(builds, "build")(tx, r)
	}
	builder, err := a.findBuilder(tx, r)
	if err != nil {
		return state.Build{}, err
	}
	n, ok := number(r, "number")
	if !ok {
		return state.Build{}, missing("build", r.PathValue("number"), "")
	}
	q := state.Where("builderid", builder.ID, "number", n)
	q.Limit = 1
	b, err := state.One(tx.Builds(q))
	if err == state.ErrNotFound {
		err = &notFound{fmt.Sprintf("builder %q has no build %d", builder.Name, n)}
	}
	return b, err
}

// findStep finds a step by id, or by its build and its number or name.
func (a *API) findStep(tx state.ReadTx, r *http.Request) (state.Step, error) {
	if r.PathValue("step") != "" {
		return byID(steps, "step")(tx, r)
	}
	build, err := a.findBuild(tx, r)
	if err != nil {
		return state.Step{}, err
	}
	v := r.PathValue("stepname")
	q := state.Where("buildid", build.ID, "name", v)
	if n, ok := number(r, "stepname"); ok {
		q = state.Where("buildid", build.ID, "number", n)
	}
	q.Limit = 1
	s, err := state.One(tx.Steps(q))
	if err == state.ErrNotFound {
		err = missing("step", v, "")
	}
	return s, err
}

// findLog finds a log by id, or by its step and slug.
func (a *API) findLog(tx state.ReadTx, r *http.Request) (l state.Log, err error) {
	if r.PathValue("log") != "" {
		l, err = byID(logRows, "log")(tx, r)
	} else {
		var step state.Step
		if step, err = a.findStep(tx, r); err != nil {
			return l, err
		}
		q := state.Where("stepid", step.ID, "slug", r.PathValue("slug"))
		q.Limit = 1
		if l, err = state.One(tx.Logs(q)); err == state.ErrNotFound {
			err = missing("log", r.PathValue("slug"), "")
		}
	}
	return l, err
}

// The scopes of nested collections.

func (a *API) ofBuilder(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	b, err := a.findBuilder(tx, r)
	return state.Where("builderid", b.ID).Where, false, err
}

func ofRequest(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	q, err := byID(requests, "request")(tx, r)
	return state.Where("buildrequestid", q.ID).Where, false, err
}

func ofWorker(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	w, err := findWorker(tx, r)
	return state.Where("workerid", w.ID).Where, false, err
}

func instancesOfWorker(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	w, err := findWorker(tx, r)
	return state.Where("worker", w.Name).Where, false, err
}

func (a *API) ofBuild(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	b, err := a.findBuild(tx, r)
	return state.Where("buildid", b.ID).Where, false, err
}

func (a *API) ofStep(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	s, err := a.findStep(tx, r)
	return state.Where("stepid", s.ID).Where, false, err
}

// ofMaster is what is configured: there is one master.
func ofMaster(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	_, err := byID(masters, "master")(tx, r)
	return state.Where("active", true).Where, false, err
}

func ofProject(tx state.ReadTx, r *http.Request, _ *topology) ([]state.Filter, bool, error) {
	p, err := findProject(tx, r)
	return state.Where("projectid", p.ID).Where, false, err
}

// buildersOfWorker are the builders that may use a worker, now.
func buildersOfWorker(tx state.ReadTx, r *http.Request, t *topology) ([]state.Filter, bool, error) {
	w, err := findWorker(tx, r)
	if err != nil || t.snap.Worker(w.Name) == nil {
		return nil, true, err
	}
	ids := t.byWorker[w.Name]
	f := state.Filter{Field: "builderid", Op: state.Eq}
	for _, id := range ids {
		f.Values = append(f.Values, id)
	}
	return []state.Filter{f}, len(ids) == 0, nil
}

// workersOfBuilder are the workers that a builder may use, now.
func (a *API) workersOfBuilder(tx state.ReadTx, r *http.Request, t *topology) ([]state.Filter, bool, error) {
	b, err := a.findBuilder(tx, r)
	if err != nil {
		return nil, true, err
	}
	conf := t.snap.Builder(b.Name)
	if conf == nil || len(conf.Workers) == 0 {
		return nil, true, nil
	}
	f := state.Filter{Field: "name", Op: state.Eq}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(conf.Workers))) {
		f.Values = append(f.Values, name)
	}
	return []state.Filter{f}, false, nil
}
