package api

import "net/http"

// readRoutes are the paths of GET (docs/requirements.md C10). Builders, workers and projects
// go by id or name, steps of a build by number or name, logs of a step by slug.
func (a *API) readRoutes() []route {
	var rs []route
	add := func(path string, s *schema, action Action, serve http.HandlerFunc) {
		rs = append(rs, route{method: http.MethodGet, path: path, schema: s, action: action, serve: serve})
	}
	view := func(path string, s *schema, serve http.HandlerFunc) { add(path, s, ActionView, serve) }

	top := []struct {
		schema *schema
		list   http.HandlerFunc
	}{
		{&builders.schema, rows(a, builders, everything)},
		{&builds.schema, rows(a, builds, everything)},
		{&requests.schema, rows(a, requests, everything)},
		{&buildsets.schema, rows(a, buildsets, everything)},
		{&changes.schema, rows(a, changes, everything)},
		{&changeSources.schema, rows(a, changeSources, everything)},
		{&forms.schema, a.cachedGet([]string{"schedulers", "builders"}, a.formList(false))},
		{&instances.schema, rows(a, instances, everything)},
		{&interruptions.schema, rows(a, interruptions, everything)},
		{&logRows.schema, rows(a, logRows, everything)},
		{&masters.schema, rows(a, masters, everything)},
		{&projects.schema, rows(a, projects, everything)},
		{&schedulers.schema, rows(a, schedulers, everything)},
		{&sourceStamps.schema, rows(a, sourceStamps, everything)},
		{&steps.schema, rows(a, steps, everything)},
		{&workers.schema, rows(a, workers, everything)},
	}
	for _, t := range top {
		view(t.schema.plural, t.schema, t.list)
		rs[len(rs)-1].top = true
	}
	view("application.spec", nil, a.uncached(a.spec))
	a.nested(view)
	a.later(view)

	view("builders/{builder}", &builders.schema, row(a, builders, a.findBuilder))
	view("builders/{builder}/buildrequests", &requests.schema, rows(a, requests, a.ofBuilder))
	view("builders/{builder}/workers", &workers.schema, rows(a, workers, a.workersOfBuilder))
	view("builders/{builder}/workers/{worker}", &workers.schema, row(a, workers, findWorker))
	view("builders/{builder}/forceschedulers", &forms.schema,
		a.cachedGet([]string{"schedulers", "builders"}, a.formList(true)))
	view("masters/{master}", &masters.schema, row(a, masters, byID(masters, "master")))
	view("masters/{master}/builders", &builders.schema, rows(a, builders, ofMaster))
	view("masters/{master}/workers", &workers.schema, rows(a, workers, ofMaster))
	view("masters/{master}/schedulers", &schedulers.schema, rows(a, schedulers, ofMaster))
	view("masters/{master}/changesources", &changeSources.schema, rows(a, changeSources, ofMaster))
	view("changesources/{changesource}", &changeSources.schema, row(a, changeSources, byID(changeSources, "changesource")))
	view("projects/{project}", &projects.schema, row(a, projects, findProject))
	view("projects/{project}/builders", &builders.schema, rows(a, builders, ofProject))
	view("workers/{worker}", &workers.schema, row(a, workers, findWorker))
	view("workers/{worker}/builders", &builders.schema, rows(a, builders, buildersOfWorker))
	view("workers/{worker}/instances", &instances.schema, rows(a, instances, instancesOfWorker))
	view("instances/{instance}", &instances.schema, row(a, instances, byID(instances, "instance")))
	view("workers/{worker}/builds", &builds.schema, rows(a, builds, ofWorker))
	view("schedulers/{scheduler}", &schedulers.schema, row(a, schedulers, byID(schedulers, "scheduler")))
	view("forceschedulers/{scheduler}", &forms.schema, a.cachedGet([]string{"schedulers"}, a.formItem))
	view("changes/{change}", &changes.schema, row(a, changes, byID(changes, "change")))
	view("changes/{change}/builds", &builds.schema, a.cachedGet([]string{"builds", "buildsets", "buildrequests"}, collection(a, builds, buildsOfChange)))
	view("sourcestamps/{sourcestamp}/changes", &changes.schema, rows(a, changes, changesOfStamp))
	view("sourcestamps/{sourcestamp}", &sourceStamps.schema, row(a, sourceStamps, byID(sourceStamps, "sourcestamp")))

	view("buildsets/{buildset}", &buildsets.schema, row(a, buildsets, byID(buildsets, "buildset")))
	view("buildsets/{buildset}/properties", nil, a.uncached(a.propertiesOf(buildsetProperties)))
	view("buildsets/{buildset}/properties_list", nil, a.uncached(a.propertyListOf(buildsetProperties)))
	view("buildrequests/{request}", &requests.schema, row(a, requests, byID(requests, "request")))
	view("buildrequests/{request}/builds", &builds.schema, rows(a, builds, ofRequest))
	view("buildrequests/{request}/properties", nil, a.uncached(a.propertiesOf(requestProperties)))
	add("buildrequests/{request}/explain", nil, ActionExplain, a.uncached(a.explain))

	view("builders/{builder}/builds", &builds.schema, rows(a, builds, a.ofBuilder))
	steppaths := []string{"steps/{step}"}
	for _, build := range []string{"builds/{build}", "builders/{builder}/builds/{number}"} {
		view(build, &builds.schema, row(a, builds, a.findBuild))
		view(build+"/properties", nil, a.cachedGet([]string{"builds"}, a.propertiesOf(a.buildProperties)))
		view(build+"/property_list", nil, a.uncached(a.propertyListOf(a.buildProperties)))
		view(build+"/interruptions", &interruptions.schema, rows(a, interruptions, a.ofBuild))
		view(build+"/steps", &steps.schema, rows(a, steps, a.ofBuild))
		steppaths = append(steppaths, build+"/steps/{stepname}")
	}
	logs := []string{"logs/{log}"}
	for _, step := range steppaths {
		view(step, &steps.schema, row(a, steps, a.findStep))
		view(step+"/logs", &logRows.schema, rows(a, logRows, a.ofStep))
		logs = append(logs, step+"/logs/{slug}")
	}
	for _, log := range logs {
		view(log, &logRows.schema, row(a, logRows, a.findLog))
		add(log+"/contents", nil, ActionViewLog, a.uncached(a.logContents))
		add(log+"/lines", nil, ActionViewLog, a.uncached(a.logLines))
		add(log+"/raw", nil, ActionViewLog, a.rawLog(true))
		add(log+"/raw_inline", nil, ActionViewLog, a.rawLog(false))
	}
	return rs
}

// rows serves a collection through the cache.
func rows[T any](a *API, res *resource[T], within scope) http.HandlerFunc {
	return a.cachedGet(res.depends(), collection(a, res, within))
}

// row serves a single row through the cache.
func row[T any](a *API, res *resource[T], find finder[T]) http.HandlerFunc {
	return a.cachedGet(res.depends(), one(a, res, find))
}

// depends lists the resources whose changes make an answer stale. What a nested
// path resolves to never changes once it is there, and only answers that found it
// are kept.
func (s *schema) depends() []string {
	switch s.plural {
	case "workers":
		return []string{"workers", "builders"} // configured_on
	case "schedulers", "changesources":
		return []string{s.plural, "masters"}
	case "buildrequests":
		return []string{"buildrequests", "buildsets"} // properties
	}
	return []string{s.plural}
}
