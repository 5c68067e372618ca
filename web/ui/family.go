package ui

import (
	"errors"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/state"
)

// parentRow is the build that triggered another, and what that one is to it.
type parentRow struct {
	buildRow
	Relationship string `json:"relationship"` // "Triggered from"
}

// childRow is a request that a build triggered, or one that such a build triggered in
// turn.
type childRow struct {
	Level     int       `json:"level"` // 1 below the build of the page
	RequestID int64     `json:"buildrequestid"`
	Scheduler string    `json:"scheduler"`
	Builder   string    `json:"builder"`
	Status    string    `json:"status"`
	Text      string    `json:"state_string"`
	Build     *buildRow `json:"build,omitempty"` // the newest; nil while there is none
	URL       string    `json:"url"`
}

// Indent shows the level.
func (c childRow) Indent() string { return strings.Repeat("↳ ", c.Level-1) }

// maxFamily and maxLevels bound what the page of a build lists of its family.
const (
	maxFamily = 200
	maxLevels = 6
)

// readParent finds the build that triggered this one.
func (rq *request) readParent(tx state.ReadTx, bs state.Buildset, m *buildModel) error {
	if bs.ParentBuildID == 0 {
		return nil
	}
	b, err := state.One(tx.Builds(state.Where("buildid", bs.ParentBuildID)))
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Parent = &parentRow{rq.buildRow(b), bs.ParentRelationship}
	if !b.Complete {
		rq.shell.Live = append(rq.shell.Live, "builds/"+strconv.FormatInt(b.ID, 10)+"/*")
	}
	return nil
}

// readChildren lists what the build triggered, each followed by what that triggered.
func (rq *request) readChildren(tx state.ReadTx, b state.Build, m *buildModel) error {
	return rq.addChildren(tx, b.ID, 1, m)
}

func (rq *request) addChildren(tx state.ReadTx, buildID int64, level int, m *buildModel) error {
	if level > maxLevels {
		return nil
	}
	sets, err := tx.Buildsets(state.Where("parent_buildid", buildID))
	if err != nil {
		return err
	}
	for _, bs := range sets {
		if !bs.Complete {
			rq.shell.Live = append(rq.shell.Live, "buildsets/"+strconv.FormatInt(bs.ID, 10)+"/buildrequests/*/*")
		}
		asked, err := tx.BuildRequests(state.Where("buildsetid", bs.ID))
		if err != nil {
			return err
		}
		for _, br := range asked {
			if len(m.Children) == maxFamily {
				m.MoreChildren = true
				return nil
			}
			if err := rq.addChild(tx, bs, br, level, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (rq *request) addChild(tx state.ReadTx, bs state.Buildset, br state.BuildRequest, level int, m *buildModel) error {
	builds, err := tx.Builds(state.Where("buildrequestid", br.ID))
	if err != nil {
		return err
	}
	row := childRow{
		Level: level, RequestID: br.ID, Scheduler: bs.Scheduler, Builder: rq.names.builder(br.BuilderID).Name,
		Status: "waiting", URL: requestURL(br.ID),
	}
	var newest state.Build
	if n := len(builds); n > 0 && (br.Claimed || br.Complete) {
		newest = builds[n-1]
		b := rq.buildRow(newest)
		row.Build, row.URL, row.Text, row.Status = &b, b.URL, b.Text, b.Status()
	}
	if br.Complete {
		row.Status = status(br.Results, true)
	}
	m.Children = append(m.Children, row)
	if newest.ID == 0 {
		return nil
	}
	if !newest.Complete {
		rq.shell.Live = append(rq.shell.Live, "builds/"+strconv.FormatInt(newest.ID, 10)+"/*")
	}
	return rq.addChildren(tx, newest.ID, level+1, m)
}

// Tally counts the children by how they are, the worst first: "2 failure, 1 running".
func (m buildModel) Tally() string {
	n := map[string]int{}
	for _, c := range m.Children {
		n[c.Status]++
	}
	order := []string{"running", "waiting"}
	for r := config.Success; r <= config.Cancelled; r++ {
		order = append([]string{r.String()}, order...)
	}
	var parts []string
	for _, s := range order {
		if n[s] > 0 {
			parts = append(parts, strconv.Itoa(n[s])+" "+s)
		}
	}
	return strings.Join(parts, ", ")
}
