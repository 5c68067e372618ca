package ui

import (
	"errors"
	"strconv"

	"buildstar/state"
)

// staticLines is how many lines at each end of a log a reader without JavaScript
// gets.
const staticLines = 500

// logModel is /builders/<name>/<number>/<step>/<log>.
type logModel struct {
	Build buildRow `json:"build"`
	Step  stepRow  `json:"step"`
	Log   logRow   `json:"log"`
	// Interruptions are when the build was out of touch while the log was written.
	Interruptions []interruption `json:"interruptions"`
	Raw           string         `json:"raw"`    // address of the whole text
	Inline        string         `json:"inline"` // the same, to look at
	First         []logLine      `json:"first"`  // at most staticLines
	Gap           int64          `json:"gap"`
	Last          []logLine      `json:"last"` // at most staticLines, after the gap
}

// Frame is what the viewer needs to know.
func (m logModel) Key() string { return "log-" + strconv.FormatInt(m.Log.ID, 10) }

func (rq *request) log() (any, error) {
	rq.page = "log"
	var m logModel
	var b state.Build
	err := rq.view(func(tx state.ReadTx) (err error) {
		b, err = rq.findBuild(tx)
		if err != nil {
			return err
		}
		m.Build = rq.aboutBuild(b)
		if err := rq.readLog(tx, b, &m); err != nil {
			return err
		}
		m.Interruptions, err = rq.interruptionsIn(tx, b, m.Log.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	id := strconv.FormatInt(m.Log.ID, 10)
	m.Raw, m.Inline = "/api/v2/logs/"+id+"/raw", "/api/v2/logs/"+id+"/raw_inline"
	// The script has its own way to the lines.
	if rq.Header.Get("X-Buildstar-Live") != "" || m.Log.Type == "d" {
		return m, nil
	}
	return m, rq.readEnds(b.ID, &m)
}

func (rq *request) readLog(tx state.ReadTx, b state.Build, m *logModel) error {
	q := state.Where("buildid", b.ID)
	q.Order = []state.Order{{Field: "number"}}
	steps, err := tx.Steps(q)
	if err != nil {
		return err
	}
	asked := rq.PathValue("step")
	var near []link
	for _, s := range steps {
		near = append(near, link{strconv.FormatInt(s.Number, 10) + " " + s.Name, m.Build.URL + "?step=" + strconv.FormatInt(s.Number, 10)})
		if !isStep(s, asked) {
			continue
		}
		m.Step = stepRow{
			ID: s.ID, Number: s.Number, Name: s.Name, Results: s.Results, Complete: s.Complete, Text: s.StateString,
			Start: s.StartedAt, End: s.CompleteAt, Hidden: s.Hidden, URLs: s.URLs, build: b.Complete,
			URL: m.Build.URL + "?step=" + strconv.FormatInt(s.Number, 10),
		}
		return rq.readLogRow(tx, b, s, m)
	}
	return missing{what: "This build has no step " + quoted(asked) + ".", near: append(near, link{"the build", m.Build.URL})}
}

func (rq *request) readLogRow(tx state.ReadTx, b state.Build, s state.Step, m *logModel) error {
	logs, err := tx.Logs(state.Where("stepid", s.ID))
	if err != nil {
		return err
	}
	var near []link
	for _, l := range logs {
		row := rq.logRow(l, m.Build, s.Number)
		m.Step.Logs = append(m.Step.Logs, row)
		near = append(near, link{l.Name, row.URL})
		if l.Slug == rq.PathValue("log") {
			m.Log = row
		}
	}
	if m.Log.ID == 0 {
		return missing{what: "Step " + quoted(s.Name) + " has no log " + quoted(rq.PathValue("log")) + ".",
			near: append(near, link{"the build", m.Build.URL})}
	}
	sh := &rq.shell
	sh.Status, sh.Tool = m.Step.Status(), "log.js"
	sh.Heading = m.Log.Name + " of " + s.Name + " · " + sh.Heading
	sh.Crumbs = append(sh.Crumbs, link{s.Name, m.Step.URL}, link{m.Log.Name, ""})
	build, step := strconv.FormatInt(b.ID, 10), strconv.FormatInt(s.ID, 10)
	sh.Live = []string{"builds/" + build + "/update", "builds/" + build + "/finished",
		"builds/" + build + "/steps/" + step + "/*", "steps/" + step + "/logs/*/new",
		// The viewer listens to logs/N/*, and an event comes once, by its first key that matches.
		"logs/" + strconv.FormatInt(m.Log.ID, 10) + "/finished"}
	return nil
}

// readEnds reads the first and the last lines.
func (rq *request) readEnds(buildID int64, m *logModel) error {
	total, err := rq.lineCount(buildID, m.Log)
	if err != nil {
		return err
	}
	m.Log.Lines = total
	m.First, err = rq.readLines(buildID, m.Log.ID, 0, min(total, staticLines), excerptWidth)
	if errors.Is(err, state.ErrNotFound) {
		return nil // opened, but nothing was written yet
	}
	if err != nil || total <= staticLines {
		return err
	}
	from := max(staticLines, total-staticLines)
	m.Gap = from - staticLines
	m.Last, err = rq.readLines(buildID, m.Log.ID, from, total-from, excerptWidth)
	return err
}
