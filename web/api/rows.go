package api

import (
	"bytes"
	"fmt"
	"strconv"

	"buildstar/state"
)

// The resources (docs/requirements.md C10, docs/ui-contract.md section 2). Rows know how they are
// written (state's AppendJSON); what is added here depends on the configuration in
// force.

var masters = &resource[state.Master]{
	schema: schema{name: "master", plural: "masters", key: "masterid", columns: []column{
		integer("masterid"), text("name"), boolean("active"), when("last_active"),
	}},
	read:   state.ReadTx.Masters,
	id:     func(m *state.Master) int64 { return m.ID },
	append: func(dst []byte, m *state.Master, _ *world) []byte { return m.AppendJSON(dst) },
}

var builders = &resource[state.Builder]{
	schema: schema{name: "builder", plural: "builders", key: "builderid", columns: []column{
		integer("builderid"), text("name"), text("description"), text("description_format"),
		object("description_html"), id("projectid"), list("tags"),
		{name: "masterids", kind: kindList, derived: isActive},
	}},
	read:   state.ReadTx.Builders,
	id:     func(b *state.Builder) int64 { return b.ID },
	append: func(dst []byte, b *state.Builder, _ *world) []byte { return b.AppendJSON(dst) },
}

var projects = &resource[state.Project]{
	schema: schema{name: "project", plural: "projects", key: "projectid", columns: []column{
		integer("projectid"), text("name"), text("slug"), text("description"), text("description_format"),
		object("description_html"), boolean("active"),
	}},
	read:   state.ReadTx.Projects,
	id:     func(p *state.Project) int64 { return p.ID },
	append: func(dst []byte, p *state.Project, _ *world) []byte { return p.AppendJSON(dst) },
}

var workers = &resource[state.Worker]{
	schema: schema{name: "worker", plural: "workers", key: "workerid", columns: []column{
		integer("workerid"), text("name"), object("connected_to"), object("workerinfo"), boolean("paused"),
		text("pause_reason"), boolean("graceful"), text("paused_by"), when("paused_at"), text("graceful_reason"), text("graceful_by"),
		when("graceful_at"), when("quarantine_since"), when("quarantine_until"), integer("quarantine_count"), text("quarantine_cause"),
		id("quarantine_buildid"), when("changed_at"), object("configured_on"),
	}},
	read: state.ReadTx.Workers,
	id:   func(w *state.Worker) int64 { return w.ID },
	append: func(dst []byte, r *state.Worker, w *world) []byte {
		dst = reopen(r.AppendJSON(dst))
		dst = append(dst, `,"configured_on":[`...)
		for i, id := range w.byWorker[r.Name] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendInt(append(dst, `{"masterid":`...), state.MasterID)
			dst = append(appendInt(append(dst, `,"builderid":`...), id), '}')
		}
		return append(dst, "]}"...)
	},
}

var schedulers = &resource[state.Scheduler]{
	schema: schema{name: "scheduler", plural: "schedulers", key: "schedulerid", columns: []column{
		integer("schedulerid"), text("name"), boolean("enabled"), text("error"), when("error_at"), when("acted_at"), object("master"),
	}},
	read: state.ReadTx.Schedulers,
	id:   func(s *state.Scheduler) int64 { return s.ID },
	append: func(dst []byte, s *state.Scheduler, w *world) []byte {
		dst = append(reopen(s.AppendJSON(dst)), `,"master":`...)
		if w.snap.Scheduler(s.Name) == nil {
			return append(dst, "null}"...)
		}
		return append(w.master.AppendJSON(dst), '}')
	},
}

var changeSources = &resource[state.ChangeSource]{
	schema: schema{name: "changesource", plural: "changesources", key: "changesourceid", columns: []column{
		integer("changesourceid"), text("name"), text("error"), object("master"),
	}},
	read: state.ReadTx.ChangeSources,
	id:   func(c *state.ChangeSource) int64 { return c.ID },
	append: func(dst []byte, c *state.ChangeSource, w *world) []byte {
		dst = append(reopen(c.AppendJSON(dst)), `,"master":`...)
		if w.snap.ChangeSource(c.Name) == nil {
			return append(dst, "null}"...)
		}
		return append(w.master.AppendJSON(dst), '}')
	},
}

var instances = &resource[state.Instance]{
	schema: schema{name: "instance", plural: "instances", key: "instanceid", columns: []column{
		integer("instanceid"), text("worker"), text("kind"), text("state"), text("handle"), object("info"), object("caps"), integer("buildid"),
		when("created_at"), when("started_at"), when("connected_at"), when("stopping_at"), when("gone_at"), integer("failures"), text("failure"),
	}},
	read:   state.ReadTx.Instances,
	id:     func(i *state.Instance) int64 { return i.ID },
	append: func(dst []byte, i *state.Instance, _ *world) []byte { return i.AppendJSON(dst) },
}

// interruptions are times in which builds that go on were out of touch; they are ours.
var interruptions = &resource[state.Interruption]{
	schema: schema{name: "interruption", plural: "interruptions", key: "interruptionid", columns: []column{
		integer("interruptionid"), integer("buildid"), text("cause"), when("started_at"), when("ended_at"), integer("times"), object("lines"),
	}},
	read:   state.ReadTx.Interruptions,
	id:     func(i *state.Interruption) int64 { return i.ID },
	append: func(dst []byte, i *state.Interruption, _ *world) []byte { return i.AppendJSON(dst) },
}

var sourceStamps = &resource[state.SourceStamp]{
	schema: schema{name: "sourcestamp", plural: "sourcestamps", key: "ssid", columns: []column{
		integer("ssid"), optional("branch"), optional("revision"), text("project"), text("repository"),
		text("codebase"), when("created_at"), object("patch"),
	}},
	read:   state.ReadTx.SourceStamps,
	id:     func(s *state.SourceStamp) int64 { return s.ID },
	append: func(dst []byte, s *state.SourceStamp, _ *world) []byte { return s.AppendJSON(dst) },
}

var changes = &resource[state.Change]{
	schema: schema{name: "change", plural: "changes", key: "changeid", columns: []column{
		integer("changeid"), text("author"), optional("committer"), optional("branch"), optional("category"), text("codebase"),
		text("comments"), list("files"), {name: "parent_changeids", kind: kindList, derived: hasParent}, text("project"), object("properties"),
		text("repository"), optional("revision"), optional("revlink"), when("when_timestamp"), object("sourcestamp"),
	}},
	read:   state.ReadTx.Changes,
	id:     func(c *state.Change) int64 { return c.ID },
	append: func(dst []byte, c *state.Change, _ *world) []byte { return c.AppendJSON(dst) },
}

// newestChanges are changes that come in the order of a history.
var newestChanges = func() *resource[state.Change] {
	res := *changes
	res.order = []state.Order{{Field: "changeid", Desc: true}}
	return &res
}()

var buildsets = &resource[state.Buildset]{
	schema: schema{name: "buildset", plural: "buildsets", key: "bsid", columns: []column{
		integer("bsid"), optional("external_idstring"), text("reason"), id("rebuilt_buildid"),
		object("sourcestamps"), when("submitted_at"), boolean("complete"), when("complete_at"),
		integer("results"), id("parent_buildid"), text("parent_relationship"),
	}},
	read:   state.ReadTx.Buildsets,
	id:     func(b *state.Buildset) int64 { return b.ID },
	append: func(dst []byte, b *state.Buildset, _ *world) []byte { return b.AppendJSON(dst) },
}

var requests = &resource[state.BuildRequest]{
	schema: schema{name: "buildrequest", plural: "buildrequests", key: "buildrequestid", properties: true, columns: []column{
		integer("buildrequestid"), integer("buildsetid"), integer("builderid"), integer("priority"),
		boolean("claimed"), when("claimed_at"), id("claimed_by_masterid"), boolean("complete"), integer("results"), when("submitted_at"), when("complete_at"),
		boolean("waited_for"), object("properties"),
	}},
	read: state.ReadTx.BuildRequests,
	id:   func(r *state.BuildRequest) int64 { return r.ID },
	append: func(dst []byte, r *state.BuildRequest, w *world) []byte {
		dst = r.AppendJSON(dst)
		if w.properties == nil {
			return dst
		}
		dst = bytes.TrimSuffix(dst, []byte("null}")) // of properties, its last member
		return append(w.pickProperties(w.ofSets[r.BuildsetID]).AppendJSON(dst), '}')
	},
	prepare: readSetProperties,
}

var builds = &resource[state.Build]{
	schema: schema{name: "build", plural: "builds", key: "buildid", properties: true, columns: []column{
		integer("buildid"), integer("number"), integer("builderid"), id("buildrequestid"), integer("workerid"),
		integer("masterid"), when("started_at"), when("complete_at"), integer("locks_duration_s"), boolean("complete"),
		text("state_string"), id("results"), object("properties"),
	}},
	read: state.ReadTx.Builds,
	id:   func(b *state.Build) int64 { return b.ID },
	append: func(dst []byte, b *state.Build, w *world) []byte {
		shown := *b
		shown.Properties = w.pickProperties(b.Properties)
		return shown.AppendJSON(dst)
	},
}

var steps = &resource[state.Step]{
	schema: schema{name: "step", plural: "steps", key: "stepid", order: []state.Order{{Field: "number"}}, columns: []column{
		integer("stepid"), integer("number"), text("name"), integer("buildid"), when("started_at"),
		when("locks_acquired_at"), boolean("complete"), when("complete_at"), text("state_string"),
		id("results"), object("urls"), boolean("hidden"),
	}},
	read:   state.ReadTx.Steps,
	id:     func(s *state.Step) int64 { return s.ID },
	append: func(dst []byte, s *state.Step, _ *world) []byte { return s.AppendJSON(dst) },
}

var logRows = &resource[state.Log]{
	schema: schema{name: "log", plural: "logs", key: "logid", columns: []column{
		integer("logid"), text("name"), text("slug"), integer("stepid"), boolean("complete"),
		integer("num_lines"), text("type"),
	}},
	read:   state.ReadTx.Logs,
	id:     func(l *state.Log) int64 { return l.ID },
	append: func(dst []byte, l *state.Log, _ *world) []byte { return l.AppendJSON(dst) },
	prepare: func(_ state.ReadTx, w *world, rows []state.Log) error {
		for i := range rows {
			if err := w.countLines(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	},
}

// reopen takes the closing brace off a JSON object, so that members can follow.
func reopen(object []byte) []byte { return object[:len(object)-1] }

// readSetProperties reads the properties of the requests' buildsets, if the answer
// shows any.
func readSetProperties(tx state.ReadTx, w *world, rows []state.BuildRequest) error {
	if w.properties == nil || len(rows) == 0 {
		return nil
	}
	w.ofSets = make(map[int64]state.Properties, len(rows))
	var ids []any
	for i := range rows {
		if _, ok := w.ofSets[rows[i].BuildsetID]; !ok {
			w.ofSets[rows[i].BuildsetID] = nil
			ids = append(ids, rows[i].BuildsetID)
		}
	}
	sets, err := tx.Buildsets(state.Query{Where: []state.Filter{{Field: "bsid", Op: state.Eq, Values: ids}}})
	for i := range sets {
		w.ofSets[sets[i].ID] = sets[i].Properties
	}
	return err
}

// isActive compares the list of masters a builder is on.
func isActive(f state.Filter) ([]state.Filter, bool, error) {
	if f.Op != state.Contains {
		return nil, false, fmt.Errorf("masterids is a list: use masterids__contains")
	}
	if holdsFor(state.Filter{Op: state.Eq, Values: f.Values}, fmt.Sprint(state.MasterID)) {
		return state.Where("active", true).Where, false, nil
	}
	return nil, true, nil
}

// hasParent compares the list of the parents of a change, which has at most one.
func hasParent(f state.Filter) ([]state.Filter, bool, error) {
	if f.Op != state.Contains {
		return nil, false, fmt.Errorf("parent_changeids is a list: use parent_changeids__contains")
	}
	for i, v := range f.Values {
		id, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
		if err != nil {
			return nil, false, fmt.Errorf("parent_changeids: want a whole number, got %q", clip(fmt.Sprint(v)))
		}
		f.Values[i] = id
	}
	f.Op = state.Eq
	return []state.Filter{f}, false, nil
}
