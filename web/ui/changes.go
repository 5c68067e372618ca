package ui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"buildstar/engine/change"
	"buildstar/state"
)

// changesModel is /changes: the newest first, of a branch or an author if asked.
type changesModel struct {
	Branch string      `json:"branch,omitempty"`
	Author string      `json:"author,omitempty"` // a part of it
	Rows   []changeRow `json:"changes"`
	First  string      `json:"first,omitempty"` // where the newest are, if these are not
	Next   string      `json:"next,omitempty"`  // where older ones are
}

type changeRow struct {
	ID       int64      `json:"changeid"`
	Source   source     `json:"source"`
	Author   string     `json:"author"`
	Subject  string     `json:"subject"` // the first line of its comments
	Comments string     `json:"comments"`
	Files    []string   `json:"files"`
	Link     string     `json:"revlink,omitempty"`
	When     state.Time `json:"when_timestamp"`
}

func newChangeRow(c state.Change) changeRow {
	row := changeRow{ID: c.ID, Source: sourceOf(c.SourceStamp), Author: c.Author, Comments: strings.TrimSpace(c.Comments), Files: c.Files, When: c.When}
	row.Subject, _, _ = strings.Cut(row.Comments, "\n")
	if c.RevLink != nil {
		row.Link = *c.RevLink
	}
	return row
}

// More reports whether there is something to unfold.
func (c changeRow) More() bool { return c.Comments != c.Subject || len(c.Files) > 0 }

func (rq *request) changes() (any, error) {
	rq.page = "changes"
	m := changesModel{Branch: rq.FormValue("branch"), Author: rq.FormValue("author")}
	q := state.Query{Order: []state.Order{{Field: "changeid", Desc: true}}, Limit: pageRows + 1}
	filter := url.Values{}
	narrow := func(field string, op state.Op, value string) {
		if value != "" {
			q.Where = append(q.Where, state.Filter{Field: field, Op: op, Values: []any{value}})
			filter.Set(field, value)
		}
	}
	narrow("branch", state.Eq, m.Branch)
	narrow("author", state.Contains, m.Author)
	if before := rq.FormValue("before"); before != "" {
		id, err := strconv.ParseInt(before, 10, 64)
		if err != nil {
			return nil, badRequest("before is the number of a change, not " + quoted(before))
		}
		q.Where = append(q.Where, state.Filter{Field: "changeid", Op: state.Lt, Values: []any{id}})
		m.First = "/changes?" + filter.Encode()
	}
	err := rq.view(func(tx state.ReadTx) error {
		rq.shell.Section, rq.shell.Heading, rq.shell.Live = "/changes", "Changes", []string{"changes/*/new"}
		rows, err := tx.Changes(q)
		if len(rows) > pageRows {
			rows = rows[:pageRows]
			filter.Set("before", strconv.FormatInt(rows[pageRows-1].ID, 10))
			m.Next = "/changes?" + filter.Encode()
		}
		for _, c := range rows {
			m.Rows = append(m.Rows, newChangeRow(c))
		}
		return err
	})
	return m, err
}

// changeNumber is /changes/<id>: its place among the others.
func (rq *request) changeNumber() (any, error) {
	id, err := strconv.ParseInt(rq.PathValue("id"), 10, 64)
	if err != nil {
		return nil, missing{what: "Changes are numbered; " + quoted(rq.PathValue("id")) + " is no number.", near: []link{{"changes", "/changes"}}}
	}
	key := strconv.FormatInt(id, 10)
	return nil, redirect{"/changes?before=" + strconv.FormatInt(id+1, 10) + "#c-" + key, http.StatusFound}
}

func (rq *request) readChanges(tx state.ReadTx, b state.Build, m *buildModel) error {
	rows, err := change.OfBuild(tx, b)
	for _, c := range rows {
		m.Changes = append(m.Changes, newChangeRow(c))
	}
	return err
}

// sourceOf is a stamp as pages show it.
func sourceOf(ss state.SourceStamp) source {
	s := source{Codebase: ss.Codebase, Repository: ss.Repository, Project: ss.Project}
	if ss.Branch != nil {
		s.Branch = *ss.Branch
	}
	if ss.Revision != nil {
		s.Revision = *ss.Revision
	}
	return s
}
