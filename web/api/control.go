package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine"
	"buildstar/engine/change"
	"buildstar/engine/sched"
	"buildstar/state"
)

// controlRoutes are the paths of POST (docs/requirements.md C10).
func (a *API) controlRoutes() []route {
	post := func(path string, limit int64, methods map[string]method) route {
		return route{method: http.MethodPost, path: path, serve: a.rpc(limit, methods)}
	}
	reason := []string{"reason"}
	build := map[string]method{
		"stop":    {ActionStopBuild, reason, a.stopBuild},
		"rebuild": {ActionRebuild, []string{}, a.rebuild},
	}
	return []route{
		post("forceschedulers/{scheduler}", maxForceBody, map[string]method{
			"force": {ActionForce, nil, a.force},
		}),
		post("builds/{build}", maxBody, build),
		post("builders/{builder}/builds/{number}", maxBody, build),
		post("buildrequests/{request}", maxBody, map[string]method{
			"cancel":       {ActionCancelRequest, reason, a.cancelRequest},
			"set_priority": {ActionSetPriority, []string{"priority"}, a.setPriority},
		}),
		post("workers/{worker}", maxBody, map[string]method{
			"pause":   {ActionPauseWorker, reason, a.onWorker(a.control.PauseWorker)},
			"unpause": {ActionUnpauseWorker, reason, a.onWorker(a.unpause)},
			"stop":    {ActionStopWorker, reason, a.onWorker(a.control.StopWorker)},
			"kill":    {ActionKillWorker, reason, a.onWorker(a.control.KillWorker)},
		}),
		post("schedulers/{scheduler}", maxBody, map[string]method{
			"enable": {ActionEnableScheduler, []string{"enabled"}, a.enableScheduler},
		}),
		post("changes", maxForceBody, map[string]method{
			"add": {ActionAddChange, nil, a.addChange},
		}),
		post("changesources/{changesource}", maxBody, map[string]method{
			"poll": {ActionPollChanges, []string{}, a.pollChanges},
		}),
		post("instances", maxBody, map[string]method{
			"plan": {ActionReapInstances, []string{}, a.strays(false)},
			"reap": {ActionReapInstances, []string{}, a.strays(true)},
		}),
		post("masters/{master}", maxBody, map[string]method{
			"reconfig": {ActionReconfig, []string{}, a.reconfig},
		}),
	}
}

// user is who sent a request. There is no authentication yet: everyone is a visitor.
func user(r *http.Request) sched.User {
	return sched.Visitor(r.RemoteAddr, r.Header.Get(sched.ClaimHeader))
}

// force fires a force scheduler. builderid is a string from Buildbot's page, a
// number from others; every other parameter is a field of the form.
func (a *API) force(r *http.Request, p params) (any, error) {
	var builder int64
	switch v := p["builderid"].(type) {
	case nil: // all of its builders
	case int64:
		builder = v
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, badParams("builderid must be a number, got %q", clip(v))
		}
		builder = n
	default:
		return nil, badParams("builderid must be a number")
	}
	if _, ok := p["builderid"]; ok && builder <= 0 && p["builderid"] != nil {
		return nil, badParams("builderid must be positive")
	}
	delete(p, "builderid")
	return submitted(a.control.Force(r.Context(), r.PathValue("scheduler"), builder, p, user(r)))
}

// submitted is the answer to what makes a buildset: [bsid, {builderid: brid}].
func submitted(s engine.Submitted, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return []any{s.BuildsetID, s.Requests}, nil
}

// buildID returns the id of the build that the path names.
func (a *API) buildID(r *http.Request) (id int64, err error) {
	err = a.store.View(r.Context(), func(tx state.ReadTx) error {
		b, err := a.findBuild(tx, r)
		id = b.ID
		return err
	})
	return id, err
}

func (a *API) stopBuild(r *http.Request, p params) (any, error) {
	reason, err := p.text("reason")
	if err != nil {
		return nil, err
	}
	id, err := a.buildID(r)
	if err != nil {
		return nil, err
	}
	return nil, a.control.StopBuild(r.Context(), id, reason, user(r))
}

func (a *API) rebuild(r *http.Request, _ params) (any, error) {
	id, err := a.buildID(r)
	if err != nil {
		return nil, err
	}
	return submitted(a.control.Rebuild(r.Context(), id, user(r)))
}

// pathID reads a number of the path.
func pathID(r *http.Request, kind, word string) (int64, error) {
	n, ok := number(r, word)
	if !ok {
		return 0, missing(kind, r.PathValue(word), "")
	}
	return n, nil
}

func (a *API) cancelRequest(r *http.Request, p params) (any, error) {
	reason, err := p.text("reason")
	if err != nil {
		return nil, err
	}
	id, err := pathID(r, "buildrequest", "request")
	if err != nil {
		return nil, err
	}
	return nil, a.control.CancelRequest(r.Context(), id, reason, user(r))
}

func (a *API) setPriority(r *http.Request, p params) (any, error) {
	priority, ok := p["priority"].(int64)
	if !ok {
		return nil, badParams("priority must be a whole number")
	}
	id, err := pathID(r, "buildrequest", "request")
	if err != nil {
		return nil, err
	}
	return nil, a.control.SetPriority(r.Context(), id, priority, user(r))
}

// workerID returns the id of the worker that the path names.
func (a *API) workerID(r *http.Request) (id int64, err error) {
	err = a.store.View(r.Context(), func(tx state.ReadTx) error {
		w, err := findWorker(tx, r)
		id = w.ID
		return err
	})
	return id, err
}

// onWorker is a method that does something to a worker, for a reason.
func (a *API) onWorker(do func(ctx context.Context, id int64, reason string, who sched.User) error) func(*http.Request, params) (any, error) {
	return func(r *http.Request, p params) (any, error) {
		reason, err := p.text("reason")
		if err != nil {
			return nil, err
		}
		id, err := a.workerID(r)
		if err != nil {
			return nil, err
		}
		return nil, do(r.Context(), id, reason, user(r))
	}
}

// unpause takes a reason, as Buildbot's page sends one, and keeps none.
func (a *API) unpause(ctx context.Context, id int64, _ string, who sched.User) error {
	return a.control.UnpauseWorker(ctx, id, who)
}

func (a *API) enableScheduler(r *http.Request, p params) (any, error) {
	enabled, ok := p["enabled"].(bool)
	if !ok {
		return nil, badParams("enabled must be true or false")
	}
	id, err := pathID(r, "scheduler", "scheduler")
	if err != nil {
		return nil, err
	}
	return nil, a.control.EnableScheduler(r.Context(), id, enabled, user(r))
}

// addChange adds a change from the parameters (docs/requirements.md C7) and answers its
// id.
func (a *API) addChange(r *http.Request, p params) (any, error) {
	in, err := change.Decode(p)
	if err != nil {
		return nil, err
	}
	c, err := a.control.AddChange(r.Context(), in)
	return c.ID, err
}

func (a *API) pollChanges(r *http.Request, _ params) (any, error) {
	var c state.ChangeSource
	err := a.store.View(r.Context(), func(tx state.ReadTx) (err error) {
		c, err = byID(changeSources, "changesource")(tx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return nil, a.control.PollChanges(r.Context(), c.Name, user(r))
}

// strays answers the instances that providers run for this master and the ledger does not
// know, after it has them stopped if stop is set.
func (a *API) strays(stop bool) func(*http.Request, params) (any, error) {
	return func(r *http.Request, _ params) (any, error) {
		strays, err := a.control.StrayInstances(r.Context(), stop, user(r))
		if strays == nil {
			strays = []engine.Stray{}
		}
		return strays, err
	}
}

// reconfigured is the answer to a reload that worked; nodes are listed as they are
// written: builder "linux".
type reconfigured struct {
	Generation int64    `json:"generation"`
	Added      []string `json:"added"`
	Removed    []string `json:"removed"`
	Changed    []string `json:"changed"`
	TopLevel   bool     `json:"top_level"` // whether c itself changed
}

// reconfig loads the configuration again. Its problems are the message of the
// error, one a line, without source lines.
func (a *API) reconfig(r *http.Request, _ params) (any, error) {
	if id, err := pathID(r, "master", "master"); err != nil {
		return nil, err
	} else if id != state.MasterID {
		return nil, missing("master", r.PathValue("master"), "")
	}
	done, err := a.control.Reload(r.Context())
	var problems prop.Problems
	if errors.As(err, &problems) {
		return nil, fmt.Errorf("the configuration was not loaded: %w:\n%v", engine.ErrConflict, problems)
	} else if err != nil {
		return nil, err
	}
	d := done.Diff
	return reconfigured{done.Generation, written(d.Added), written(d.Removed), written(d.Changed), d.Master}, nil
}

func written(keys []config.Key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.String()
	}
	return names
}
