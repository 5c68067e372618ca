package ui

import (
	"errors"
	"slices"
	"sort"
	"strconv"

	"buildstar/config"
	"buildstar/state"
)

// buildModel is /builders/<name>/<number>.
type buildModel struct {
	Build      buildRow   `json:"build"`
	BuilderURL string     `json:"builder_url"`
	WorkerURL  string     `json:"worker_url,omitempty"`
	Reason     string     `json:"reason"`
	Sources    []source   `json:"sourcestamps"`
	RequestID  int64      `json:"buildrequestid"`
	Queued     int64      `json:"queued_ms"` // from the request to the start
	StopReason string     `json:"stop_reason,omitempty"`
	Prev       *buildRow  `json:"prev,omitempty"`
	Next       *buildRow  `json:"next,omitempty"`
	Others     []buildRow `json:"others,omitempty"` // builds of the same request: retries
	Parent     *parentRow `json:"parent,omitempty"` // the build that triggered this one
	Children   []childRow `json:"children"`         // what it triggered
	// MoreChildren says that there are more than Children.
	MoreChildren  bool           `json:"more_children"`
	Interruptions []interruption `json:"interruptions"` // when it was out of touch
	Tab           string         `json:"tab"`           // "steps", "changes" or "properties"
	Changes       []changeRow    `json:"changes"`       // since the builder last succeeded, newest first
	Steps         []stepRow      `json:"steps"`
	Hidden        int            `json:"hidden"`   // steps that are hidden
	ShowAll       bool           `json:"show_all"` // hidden steps too
	Selected      *stepRow       `json:"selected,omitempty"`
	Excerpts      []excerpt      `json:"excerpts,omitempty"` // of the logs of the selected step
	Properties    []propertyRow  `json:"properties"`
	Rebuildable,
	Stoppable bool `json:"-"`
}

// source is what was built.
type source struct {
	Codebase   string `json:"codebase"`
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
	Revision   string `json:"revision"`
	Project    string `json:"project"`
}

// Short is a revision as people say it.
func (s source) Short() string {
	if len(s.Revision) == 40 || len(s.Revision) == 64 {
		return s.Revision[:10]
	}
	return s.Revision
}

type stepRow struct {
	ID       int64         `json:"stepid"`
	Number   int64         `json:"number"`
	Name     string        `json:"name"`
	Results  config.Result `json:"results"`
	Complete bool          `json:"complete"`
	Text     string        `json:"state_string"`
	Start    state.Time    `json:"started_at"`
	End      state.Time    `json:"complete_at"`
	Hidden   bool          `json:"hidden"`
	URLs     []state.URL   `json:"urls"`
	Logs     []logRow      `json:"logs"`
	URL      string        `json:"url"`
	Current  bool          `json:"selected"`
	BarX     int64         `json:"-"` // where the step lies in the time of the build, in permille
	BarW     int64         `json:"-"`
	build    bool          // the build is complete
}

func (s stepRow) Millis() int64 { return int64(s.End - s.Start) }

// Status is the result, or what keeps the step from having one: a step of a build
// that ended before it was started is "skipped".
func (s stepRow) Status() string {
	if !s.Complete && s.Start == 0 {
		if s.build {
			return "skipped"
		}
		return "waiting"
	}
	return status(s.Results, s.Complete)
}

type logRow struct {
	ID       int64  `json:"logid"`
	Name     string `json:"name"`
	Slug     string `json:"slug"`
	Type     string `json:"type"`
	Lines    int64  `json:"num_lines"`
	Complete bool   `json:"complete"`
	URL      string `json:"url"`
}

type propertyRow struct {
	Name   string `json:"name"`
	Value  any    `json:"value"`
	Text   string `json:"-"`
	Source string `json:"source"`
}

func (rq *request) build() (any, error) {
	rq.page = "build"
	m := buildModel{Tab: "steps", ShowAll: rq.FormValue("hidden") == "1"}
	if tab := rq.FormValue("tab"); tab == "properties" || tab == "changes" {
		m.Tab = tab
	}
	var b state.Build
	err := rq.view(func(tx state.ReadTx) (err error) {
		b, err = rq.findBuild(tx)
		if err != nil {
			return err
		}
		return rq.readBuild(tx, b, &m)
	})
	if err != nil {
		return nil, err
	}
	if m.Selected != nil && m.Tab == "steps" {
		for _, l := range m.Selected.Logs {
			e, err := rq.excerpt(b.ID, l, m.Selected.Status())
			if err != nil {
				return nil, err
			}
			m.Excerpts = append(m.Excerpts, e)
		}
	}
	return m, nil
}

// findBuild returns the build of the path.
func (rq *request) findBuild(tx state.ReadTx) (state.Build, error) {
	var b state.Build
	builder, err := rq.named(rq.PathValue("builder"))
	if err != nil {
		return b, err
	}
	number, err := strconv.ParseInt(rq.PathValue("number"), 10, 64)
	if err != nil {
		return b, missing{what: "Builds are numbered; " + quoted(rq.PathValue("number")) + " is no number.",
			near: []link{{builder.Name, builderURL(builder.Name)}}}
	}
	b, err = state.One(tx.Builds(state.Where("builderid", builder.ID, "number", number)))
	if !errors.Is(err, state.ErrNotFound) {
		return b, err
	}
	m := missing{what: "Builder " + quoted(builder.Name) + " has no build " + strconv.FormatInt(number, 10) + "."}
	q := state.Where("builderid", builder.ID)
	q.Order, q.Limit = []state.Order{{Field: "number", Desc: true}}, 1
	newest, err := tx.Builds(q)
	if err != nil {
		return b, err
	}
	if len(newest) > 0 {
		n := newest[0].Number
		m.near = append(m.near, link{"the latest build, #" + strconv.FormatInt(n, 10), buildURL(builder.Name, n)})
	} else {
		m.what += " Nothing was built there yet."
	}
	m.near = append(m.near, link{builder.Name, builderURL(builder.Name)})
	return b, m
}

// aboutBuild fills in what the pages of a build and of its logs share.
func (rq *request) aboutBuild(b state.Build) buildRow {
	row := rq.buildRow(b)
	s := &rq.shell
	s.Section, s.Status, s.Marked = "/builders", row.Status(), true
	s.Heading = row.Builder + " #" + strconv.FormatInt(b.Number, 10)
	s.Crumbs = []link{{"Builders", "/builders"}, {row.Builder, builderURL(row.Builder)}, {"#" + strconv.FormatInt(b.Number, 10), row.URL}}
	return row
}

func (rq *request) readBuild(tx state.ReadTx, b state.Build, m *buildModel) error {
	m.Build = rq.aboutBuild(b)
	rq.shell.Crumbs[2].URL = ""
	m.BuilderURL, m.StopReason = builderURL(m.Build.Builder), b.StopReason
	if m.Build.Worker != "" {
		m.WorkerURL = workerURL(m.Build.Worker)
	}
	m.Stoppable, m.Rebuildable = !b.Complete, b.Complete
	id, builder := strconv.FormatInt(b.ID, 10), strconv.FormatInt(b.BuilderID, 10)
	rq.shell.Live = []string{"builds/" + id + "/*", "builds/" + id + "/steps/*/*", "builds/" + id + "/properties/*",
		"builders/" + builder + "/builds/*/new", "builders/" + builder + "/builds/*/finished"}
	for _, read := range []func(state.ReadTx, state.Build, *buildModel) error{
		rq.readRequest, rq.readChanges, rq.readChildren, rq.readNeighbours, rq.readSteps, rq.readProperties,
	} {
		if err := read(tx, b, m); err != nil {
			return err
		}
	}
	var err error
	m.Interruptions, err = rq.readInterruptions(tx, b)
	return err
}

func (rq *request) readRequest(tx state.ReadTx, b state.Build, m *buildModel) error {
	br, err := state.One(tx.BuildRequests(state.Where("buildrequestid", b.RequestID)))
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m.RequestID, m.Queued = br.ID, max(0, int64(b.StartedAt-br.SubmittedAt))
	bs, err := state.One(tx.Buildsets(state.Where("bsid", br.BuildsetID)))
	if err != nil {
		return err
	}
	m.Reason = bs.Reason
	if err := rq.readParent(tx, bs, m); err != nil {
		return err
	}
	for _, ss := range bs.SourceStamps {
		if s := sourceOf(ss); s != (source{}) {
			m.Sources = append(m.Sources, s)
		}
	}
	others, err := tx.Builds(state.Where("buildrequestid", br.ID))
	for _, o := range others {
		if o.ID != b.ID {
			m.Others = append(m.Others, rq.buildRow(o))
		}
	}
	if len(m.Others) > 0 || br.Retries > 0 {
		rq.shell.Live = append(rq.shell.Live, "buildrequests/"+strconv.FormatInt(br.ID, 10)+"/*")
	}
	return err
}

// readNeighbours finds the builds before and after, and how long builds took
// before this one: later ones must not change what the page of an old build says.
func (rq *request) readNeighbours(tx state.ReadTx, b state.Build, m *buildModel) error {
	q := state.Where("builderid", b.BuilderID)
	q.Where = append(q.Where, state.Filter{Field: "number", Op: state.Lt, Values: []any{b.Number}})
	q.Order, q.Limit = []state.Order{{Field: "number", Desc: true}}, ringSize
	before, err := tx.Builds(q)
	if err != nil {
		return err
	}
	var ring []past
	for i, o := range before {
		if i == 0 {
			row := rq.buildRow(o)
			m.Prev = &row
		}
		if o.Complete {
			ring = push(ring, o)
		}
	}
	m.Build.Usual = median(ring)
	q.Where[len(q.Where)-1].Op = state.Gt
	q.Order, q.Limit = []state.Order{{Field: "number"}}, 1
	after, err := tx.Builds(q)
	if err == nil && len(after) > 0 {
		row := rq.buildRow(after[0])
		m.Next = &row
	}
	return err
}

func (rq *request) readSteps(tx state.ReadTx, b state.Build, m *buildModel) error {
	q := state.Where("buildid", b.ID)
	q.Order = []state.Order{{Field: "number"}}
	steps, err := tx.Steps(q)
	if err != nil {
		return err
	}
	logs, err := tx.Logs(state.Where("buildid", b.ID))
	if err != nil {
		return err
	}
	of := map[int64][]state.Log{}
	for _, l := range logs {
		of[l.StepID] = append(of[l.StepID], l)
	}
	chosen := choose(steps, rq.FormValue("step"), b.Complete)
	for i, s := range steps {
		if s.Hidden {
			m.Hidden++
			if !m.ShowAll && i != chosen {
				continue
			}
		}
		row := stepRow{
			ID: s.ID, Number: s.Number, Name: s.Name, Results: s.Results, Complete: s.Complete, Text: s.StateString,
			Start: s.StartedAt, End: s.CompleteAt, Hidden: s.Hidden, URLs: s.URLs, Current: i == chosen, build: b.Complete,
			URL: m.Build.URL + "?step=" + strconv.FormatInt(s.Number, 10),
		}
		row.BarX, row.BarW = bar(b, s)
		for _, l := range of[s.ID] {
			row.Logs = append(row.Logs, rq.logRow(l, m.Build, s.Number))
		}
		m.Steps = append(m.Steps, row)
		if row.Current {
			m.Selected = &m.Steps[len(m.Steps)-1]
			rq.shell.Live = append(rq.shell.Live, "steps/"+strconv.FormatInt(s.ID, 10)+"/logs/*/*")
		}
	}
	return nil
}

func (rq *request) logRow(l state.Log, b buildRow, step int64) logRow {
	return logRow{ID: l.ID, Name: l.Name, Slug: l.Slug, Type: l.Type, Lines: l.NumLines, Complete: l.Complete,
		URL: logURL(b.Builder, b.Number, step, l.Slug)}
}

// choose returns the index of the step to show: the one asked for by number or
// name; else the first that failed, the one that runs, the last that ran.
func choose(steps []state.Step, asked string, complete bool) int {
	if asked != "" {
		if i := slices.IndexFunc(steps, func(s state.Step) bool { return isStep(s, asked) }); i >= 0 {
			return i
		}
	}
	last, bad := -1, -1
	for i, s := range steps {
		if s.StartedAt == 0 {
			continue
		}
		switch {
		case !s.Complete && !complete:
			return i
		case !s.Complete:
		case s.Results == config.Failure || s.Results == config.Exception || s.Results == config.Retry || s.Results == config.Cancelled:
			if bad < 0 {
				bad = i
			}
		}
		if s.Results != config.Skipped && !s.Hidden {
			last = i
		}
	}
	if bad >= 0 {
		return bad
	}
	return last
}

func isStep(s state.Step, asked string) bool {
	return strconv.FormatInt(s.Number, 10) == asked || s.Name == asked
}

// bar returns where a step lies in the time of a complete build, in permille.
func bar(b state.Build, s state.Step) (x, w int64) {
	total := int64(b.CompleteAt - b.StartedAt)
	if !b.Complete || total <= 0 || s.StartedAt == 0 || s.CompleteAt == 0 {
		return 0, 0
	}
	x = max(0, min(990, int64(s.StartedAt-b.StartedAt)*1000/total))
	w = max(10, int64(s.CompleteAt-s.StartedAt)*1000/total)
	return x, min(w, 1000-x)
}

func (rq *request) readProperties(tx state.ReadTx, b state.Build, m *buildModel) error {
	props, err := tx.BuildProperties(b.ID)
	if err != nil {
		return err
	}
	for name, p := range props {
		m.Properties = append(m.Properties, propertyRow{Name: name, Value: p.Value, Text: jsonText(p.Value), Source: p.Source})
	}
	sort.Slice(m.Properties, func(i, j int) bool { return m.Properties[i].Name < m.Properties[j].Name })
	return nil
}
