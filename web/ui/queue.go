package ui

import (
	"errors"
	"net/http"
	"strconv"

	"buildstar/engine/dist"
	"buildstar/state"
)

// queueModel is /queue: what waits, and why.
type queueModel struct {
	Total  int64        `json:"total"`
	Offset int64        `json:"offset"`
	Rows   []waitingRow `json:"requests"`
	Prev   string       `json:"prev,omitempty"`
	Next   string       `json:"next,omitempty"`
}

func (m queueModel) First() int64 { return m.Offset + 1 }
func (m queueModel) Last() int64  { return m.Offset + int64(len(m.Rows)) }

func (rq *request) queue() (any, error) {
	rq.page = "queue"
	var m queueModel
	if o := rq.FormValue("offset"); o != "" {
		n, err := strconv.ParseInt(o, 10, 64)
		if err != nil || n < 0 {
			return nil, badRequest("offset is a number of rows, not " + quoted(o))
		}
		m.Offset = n
	}
	err := rq.view(func(tx state.ReadTx) error {
		rq.shell.Section, rq.shell.Heading = "/queue", "Queue"
		rq.shell.Live = []string{"buildrequests/*/*", "builds/*/new", "builds/*/finished", "workers/*/*"}
		m.Total = rq.shell.Queue
		m.Offset = min(m.Offset, max(0, m.Total-1)/pageRows*pageRows)
		brs, err := rq.pending(tx, pageRows, m.Offset)
		if err != nil {
			return err
		}
		m.Rows, err = rq.waitingRows(tx, brs)
		return err
	})
	if err != nil {
		return nil, err
	}
	rq.explain(m.Rows)
	if m.Total > 0 {
		rq.shell.Status = "waiting"
	}
	if m.Offset > 0 {
		m.Prev = "/queue?offset=" + strconv.FormatInt(max(0, m.Offset-pageRows), 10)
	}
	if m.Last() < m.Total {
		m.Next = "/queue?offset=" + strconv.FormatInt(m.Offset+pageRows, 10)
	}
	return m, nil
}

// requestModel is /r/<id> of a request that has no build: it waits, or ended so.
type requestModel struct {
	Row        waitingRow       `json:"request"`
	BuilderURL string           `json:"builder_url"`
	Explain    dist.Explanation `json:"explanation"`
	Complete   bool             `json:"complete"`
	Status     string           `json:"status"`
	Absorbed   string           `json:"collapsed_to,omitempty"` // address of the request that took its place
	Builds     []buildRow       `json:"builds"`                 // builds that ended RETRY
}

// buildRequest leads to the build of a request. While there is none it is a page
// that says why; that page, being live, leads there by itself.
func (rq *request) buildRequest() (any, error) {
	rq.page = "request"
	id, err := strconv.ParseInt(rq.PathValue("id"), 10, 64)
	if err != nil {
		return nil, missing{what: "Requests are numbered; " + quoted(rq.PathValue("id")) + " is no number."}
	}
	var m requestModel
	err = rq.view(func(tx state.ReadTx) error {
		br, err := state.One(tx.BuildRequests(state.Where("buildrequestid", id)))
		if errors.Is(err, state.ErrNotFound) {
			return missing{what: "There is no build request " + strconv.FormatInt(id, 10) + ".", near: []link{{"the queue", "/queue"}}}
		}
		if err != nil {
			return err
		}
		builds, err := tx.Builds(state.Where("buildrequestid", id))
		if err != nil {
			return err
		}
		for _, b := range builds {
			m.Builds = append(m.Builds, rq.buildRow(b))
		}
		if n := len(m.Builds); n > 0 && (br.Claimed || br.Complete) {
			code := http.StatusFound
			if br.Complete {
				code = http.StatusPermanentRedirect
			}
			return redirect{m.Builds[n-1].URL, code}
		}
		rows, err := rq.waitingRows(tx, []state.BuildRequest{br})
		if err != nil {
			return err
		}
		m.Row, m.Complete, m.Status = rows[0], br.Complete, "waiting"
		if br.Complete {
			m.Status = status(br.Results, true)
		}
		if br.CollapsedTo != 0 {
			m.Absorbed = requestURL(br.CollapsedTo)
		}
		m.BuilderURL = builderURL(m.Row.Builder)
		key := strconv.FormatInt(id, 10)
		s := &rq.shell
		s.Section, s.Heading, s.Status, s.Marked = "/queue", "Request "+key+" for "+m.Row.Builder, m.Status, true
		s.Crumbs = []link{{"Queue", "/queue"}, {"Request " + key, ""}}
		s.Live = []string{"buildrequests/*/*", "builds/*/new", "builds/*/finished", "workers/*/*"}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.Explain, err = rq.control.Explain(rq.Context(), id)
	if err != nil {
		m.Explain = dist.Explanation{Summary: "no explanation: " + err.Error()}
	}
	return m, nil
}

// shortBuild is /b/<id>: the permanent short address of a build.
func (rq *request) shortBuild() (any, error) {
	id, err := strconv.ParseInt(rq.PathValue("id"), 10, 64)
	if err != nil {
		return nil, missing{what: "Builds have a number; " + quoted(rq.PathValue("id")) + " is none."}
	}
	var to string
	err = rq.view(func(tx state.ReadTx) error {
		b, err := state.One(tx.Builds(state.Where("buildid", id)))
		if errors.Is(err, state.ErrNotFound) {
			return missing{what: "There is no build with the id " + strconv.FormatInt(id, 10) + "."}
		}
		to = buildURL(rq.names.builder(b.BuilderID).Name, b.Number)
		return err
	})
	if err != nil {
		return nil, err
	}
	return nil, redirect{to, http.StatusPermanentRedirect}
}
