package ui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"buildstar/state"
)

const pageRows = 50

// buildersModel is /builders.
type buildersModel struct {
	Query  string       `json:"q"`
	Tag    string       `json:"tag"`
	Total  int          `json:"total"`  // that match
	All    int          `json:"all"`    // configured
	Offset int          `json:"offset"` // of the first row
	Rows   []builderRow `json:"builders"`
	Prev   string       `json:"prev,omitempty"` // addresses of the pages beside this one
	Next   string       `json:"next,omitempty"`
}

// Last is the number of the last row, counted from 1.
func (m buildersModel) Last() int  { return m.Offset + len(m.Rows) }
func (m buildersModel) First() int { return m.Offset + 1 }

type builderRow struct {
	ID      int64      `json:"builderid"`
	Name    string     `json:"name"`
	Tags    []string   `json:"tags"`
	URL     string     `json:"url"`
	Force   string     `json:"force_url,omitempty"`
	Recent  []past     `json:"recent"` // newest first
	Running []buildRow `json:"running"`
	Waiting int64      `json:"waiting"`
	Usual   int64      `json:"usual_ms"`
}

// Status is that of the newest build, or running.
func (b builderRow) Status() string {
	switch {
	case len(b.Running) > 0:
		return "running"
	case len(b.Recent) > 0:
		return b.Recent[0].Status()
	case b.Waiting > 0:
		return "waiting"
	}
	return "idle"
}

// RecentText says what the bars show.
func (b builderRow) RecentText() string {
	if len(b.Recent) == 0 {
		return "no builds yet"
	}
	counts := map[string]int{}
	var order []string
	for _, p := range b.Recent {
		if counts[p.Status()] == 0 {
			order = append(order, p.Status())
		}
		counts[p.Status()]++
	}
	for i, s := range order {
		order[i] = strconv.Itoa(counts[s]) + " " + s
	}
	return "last " + plural(len(b.Recent), "build") + ": " + strings.Join(order, ", ")
}

// Newest is the newest complete build; it is only asked for if there is one.
func (b builderRow) Newest() past { return b.Recent[0] }

func (rq *request) builders() (any, error) {
	rq.page = "builders"
	m := buildersModel{Query: strings.TrimSpace(rq.FormValue("q")), Tag: rq.FormValue("tag")}
	if o := rq.FormValue("offset"); o != "" {
		n, err := strconv.Atoi(o)
		if err != nil || n < 0 {
			return nil, badRequest("offset is a number of rows, not " + quoted(o))
		}
		m.Offset = n
	}
	err := rq.view(func(tx state.ReadTx) error {
		rq.shell.Section, rq.shell.Heading, rq.shell.Search = "/builders", "Builders", m.Query
		rq.shell.Live = []string{"builds/*/new", "builds/*/finished", "buildrequests/*/*", "builders/*/*"}
		all := rq.names.activeBuilders()
		m.All = len(all)
		found := all
		if m.Query != "" || m.Tag != "" {
			found = matching(all, m.Query, m.Tag)
		}
		m.Total = len(found)
		m.Offset = min(m.Offset, max(0, len(found)-1)/pageRows*pageRows)
		found = found[m.Offset:min(len(found), m.Offset+pageRows)]
		var err error
		m.Rows, err = rq.builderRows(tx, found)
		return err
	})
	if err != nil {
		return nil, err
	}
	if m.Offset > 0 {
		m.Prev = m.at(max(0, m.Offset-pageRows))
	}
	if m.Last() < m.Total {
		m.Next = m.at(m.Offset + pageRows)
	}
	return m, nil
}

func (m buildersModel) at(offset int) string {
	v := url.Values{}
	if m.Query != "" {
		v.Set("q", m.Query)
	}
	if m.Tag != "" {
		v.Set("tag", m.Tag)
	}
	if offset > 0 {
		v.Set("offset", strconv.Itoa(offset))
	}
	if len(v) == 0 {
		return "/builders"
	}
	return "/builders?" + v.Encode()
}

// matching returns the builders whose name or a tag of which contains every word
// of q, and that have the tag.
func matching(all []state.Builder, q, tag string) []state.Builder {
	words := strings.Fields(strings.ToLower(q))
	var found []state.Builder
next:
	for _, b := range all {
		if tag != "" && !slices.Contains(b.Tags, tag) {
			continue
		}
		text := strings.ToLower(b.Name + " " + strings.Join(b.Tags, " "))
		for _, w := range words {
			if !strings.Contains(text, w) {
				continue next
			}
		}
		found = append(found, b)
	}
	return found
}

// builderRows reads what a list says of some builders.
func (rq *request) builderRows(tx state.ReadTx, builders []state.Builder) ([]builderRow, error) {
	if len(builders) == 0 {
		return nil, nil
	}
	if err := rq.recent.refresh(tx); err != nil {
		return nil, err
	}
	ids := make([]any, len(builders))
	at := make(map[int64]*builderRow, len(builders))
	rows := make([]builderRow, len(builders))
	for i, b := range builders {
		ring, err := rq.recent.of(tx, b.ID)
		if err != nil {
			return nil, err
		}
		rows[i] = builderRow{ID: b.ID, Name: b.Name, Tags: b.Tags, URL: builderURL(b.Name), Recent: ring, Usual: median(ring)}
		if len(rq.forms(b.Name)) > 0 {
			rows[i].Force = rows[i].URL + "/force"
		}
		ids[i], at[b.ID] = b.ID, &rows[i]
	}
	running, err := tx.Builds(state.Query{Where: []state.Filter{
		{Field: "complete", Op: state.Eq, Values: []any{false}}, {Field: "builderid", Op: state.Eq, Values: ids},
	}})
	if err != nil {
		return nil, err
	}
	for _, b := range running {
		row := rq.buildRow(b)
		row.Usual = at[b.BuilderID].Usual
		at[b.BuilderID].Running = append(at[b.BuilderID].Running, row)
	}
	waiting, err := tx.BuildRequests(state.Query{Where: []state.Filter{
		{Field: "complete", Op: state.Eq, Values: []any{false}}, {Field: "claimed", Op: state.Eq, Values: []any{false}},
		{Field: "builderid", Op: state.Eq, Values: ids},
	}})
	if err != nil {
		return nil, err
	}
	for _, br := range waiting {
		at[br.BuilderID].Waiting++
	}
	return rows, nil
}

// builderModel is /builders/<name>.
type builderModel struct {
	Builder     builderRow   `json:"builder"`
	Description string       `json:"description"`
	Active      bool         `json:"active"` // configured now
	Builds      []buildRow   `json:"builds"`
	Waiting     []waitingRow `json:"waiting"`
	Workers     []workerRow  `json:"workers"`
	Older       string       `json:"older,omitempty"` // address of the builds before these
	Newer       string       `json:"newer,omitempty"`
}

func (rq *request) builder() (any, error) {
	rq.page = "builder"
	var m builderModel
	before := int64(0)
	if s := rq.FormValue("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return nil, badRequest("before is the number of a build, not " + quoted(s))
		}
		before = n
	}
	err := rq.view(func(tx state.ReadTx) error {
		b, err := rq.named(rq.PathValue("builder"))
		if err != nil {
			return err
		}
		rows, err := rq.builderRows(tx, []state.Builder{b})
		if err != nil {
			return err
		}
		m.Builder, m.Description, m.Active = rows[0], b.Description, b.Active
		s := &rq.shell
		s.Section, s.Heading, s.Status, s.Marked = "/builders", b.Name, m.Builder.Status(), m.Builder.Status() != "idle"
		s.Crumbs = []link{{"Builders", "/builders"}, {b.Name, ""}}
		id := strconv.FormatInt(b.ID, 10)
		s.Live = []string{"builders/" + id + "/builds/*/*", "builders/" + id + "/buildrequests/*/*", "buildrequests/*/*", "workers/*/*", "builders/*/*"}
		if err := rq.buildsOf(tx, b, before, &m); err != nil {
			return err
		}
		q := state.Where("complete", false, "claimed", false, "builderid", b.ID)
		q.Order, q.Limit = []state.Order{{Field: "priority", Desc: true}, {Field: "submitted_at"}}, 20
		brs, err := tx.BuildRequests(q)
		if err != nil {
			return err
		}
		if m.Waiting, err = rq.waitingRows(tx, brs); err != nil {
			return err
		}
		m.Workers, err = rq.workersOf(tx, b.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	rq.explain(m.Waiting)
	return m, nil
}

func (rq *request) buildsOf(tx state.ReadTx, b state.Builder, before int64, m *builderModel) error {
	q := state.Where("builderid", b.ID)
	q.Order, q.Limit = []state.Order{{Field: "number", Desc: true}}, pageRows+1
	if before > 0 {
		q.Where = append(q.Where, state.Filter{Field: "number", Op: state.Lt, Values: []any{before}})
	}
	builds, err := tx.Builds(q)
	if err != nil {
		return err
	}
	if len(builds) > pageRows {
		builds = builds[:pageRows]
		m.Older = builderURL(b.Name) + "?before=" + strconv.FormatInt(builds[pageRows-1].Number, 10)
	}
	if before > 0 {
		m.Newer = builderURL(b.Name)
		if r := m.Builder.Recent; len(r) > 0 && r[0].Number >= before+pageRows {
			m.Newer += "?before=" + strconv.FormatInt(before+pageRows, 10)
		}
	}
	for _, build := range builds {
		row := rq.buildRow(build)
		row.Usual = m.Builder.Usual
		m.Builds = append(m.Builds, row)
	}
	return nil
}

// named returns the builder of a path. A name wins, even one of digits, so that what
// the page links to is what opens; the id of another builder leads to its name.
func (rq *request) named(name string) (state.Builder, error) {
	b, err := rq.names.builderNamed(name)
	if err == nil {
		return b, nil
	}
	if id, bad := strconv.ParseInt(name, 10, 64); bad == nil {
		b := rq.names.builder(id)
		if b.ID == 0 {
			return b, missing{what: "There is no builder with the name or id " + quoted(name) + ".", near: []link{{"all builders", "/builders"}}}
		}
		old := "/builders/" + url.PathEscape(name)
		return b, redirect{builderURL(b.Name) + strings.TrimPrefix(rq.URL.RequestURI(), old), http.StatusFound}
	}
	return b, err
}
