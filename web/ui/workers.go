package ui

import (
	"fmt"
	"net"
	"slices"
	"sort"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/state"
)

// workersModel is /workers.
type workersModel struct {
	Rows []workerRow `json:"workers"`
}

type workerRow struct {
	ID        int64      `json:"workerid"`
	Name      string     `json:"name"`
	URL       string     `json:"url"`
	Status    string     `json:"status"` // success, running, waiting or failure: the glyph
	Word      string     `json:"state"`  // "connected", "building 2 of 4", "paused", "stopping", "in quarantine", "offline" ...
	Since     state.Time `json:"since"`
	Local     bool       `json:"local"`
	Active    bool       `json:"active"`
	Connected bool       `json:"connected"`
	Paused    bool       `json:"paused"`
	Reason    string     `json:"pause_reason,omitempty"`
	PausedBy  string     `json:"paused_by,omitempty"`
	PausedAt  state.Time `json:"paused_at"`

	Graceful       bool       `json:"graceful"`
	GracefulReason string     `json:"graceful_reason,omitempty"`
	GracefulBy     string     `json:"graceful_by,omitempty"`
	GracefulAt     state.Time `json:"graceful_at"`

	Quarantine *quarantineRow `json:"quarantine"` // nil: it is not in quarantine

	Instance *instanceRow `json:"instance"` // of a latent worker; nil: there is none
	Latent   bool         `json:"latent"`

	MaxBuilds int        `json:"max_builds"`
	Running   []buildRow `json:"running"`
	Version   string     `json:"version,omitempty"`
	System    string     `json:"system,omitempty"`
	Host      string     `json:"host,omitempty"`
	Builders  []string   `json:"builders"`
}

// instanceRow is one instance of a latent worker.
type instanceRow struct {
	ID       int64      `json:"instanceid"`
	State    string     `json:"state"`
	Handle   string     `json:"handle,omitempty"`
	Info     []string   `json:"info,omitempty"`
	Created  state.Time `json:"created_at"`
	Gone     state.Time `json:"gone_at"`
	Seconds  int64      `json:"seconds"` // that it has existed: what it costs
	Failures int64      `json:"failures"`
	Failure  string     `json:"failure,omitempty"`
	URL      string     `json:"url,omitempty"` // of the build that it was started for

	Worker    string     `json:"worker"`
	WorkerURL string     `json:"worker_url"`
	Kind      string     `json:"kind"`
	Next      string     `json:"next,omitempty"` // what comes next
	Until     state.Time `json:"until"`          // when something else happens
	Check     state.Time `json:"check"`          // when it is looked at next
	Log       string     `json:"log,omitempty"`  // what its start said
}

// Millis is how long it has existed.
func (i *instanceRow) Millis() int64 { return i.Seconds * 1000 }

func newInstanceRow(i state.Instance) *instanceRow {
	r := &instanceRow{ID: i.ID, State: i.State, Handle: i.Handle, Info: i.Info, Created: i.CreatedAt, Gone: i.GoneAt,
		Seconds: i.Seconds(state.Now()), Failures: i.Failures, Failure: i.Failure,
		Worker: i.Worker, WorkerURL: workerURL(i.Worker), Kind: i.Kind}
	if i.BuildID != 0 {
		r.URL = "/b/" + strconv.FormatInt(i.BuildID, 10)
	}
	return r
}

// quarantineRow is why a worker gets no builds for a while.
type quarantineRow struct {
	Since state.Time `json:"since"`
	Until state.Time `json:"until"`
	Count int64      `json:"count"` // misbehaviours since a build went well
	Cause string     `json:"cause"`
	URL   string     `json:"url,omitempty"` // of the build that showed it
}

func newQuarantineRow(q state.Quarantine) *quarantineRow {
	if q.Until == 0 {
		return nil
	}
	r := &quarantineRow{Since: q.Since, Until: q.Until, Count: q.Count, Cause: q.Cause}
	if q.BuildID != 0 {
		r.URL = "/b/" + strconv.FormatInt(q.BuildID, 10)
	}
	return r
}

func (rq *request) workers() (any, error) {
	rq.page = "workers"
	m := workersModel{}
	err := rq.view(func(tx state.ReadTx) error {
		rq.shell.Section, rq.shell.Heading = "/workers", "Workers"
		rq.shell.Live = []string{"workers/*/*", "builds/*/new", "builds/*/finished", "instances/*/*"}
		var err error
		m.Rows, err = rq.workerRows(tx, rq.names.activeWorkers())
		return err
	})
	return m, err
}

// workersOf returns the workers of a builder.
func (rq *request) workersOf(tx state.ReadTx, builder string) ([]workerRow, error) {
	snap := rq.control.Snapshot()
	if snap == nil || snap.Builder(builder) == nil {
		return nil, nil
	}
	var ws []state.Worker
	for _, w := range rq.names.activeWorkers() {
		if slices.Contains(snap.Builder(builder).Workers, w.Name) {
			ws = append(ws, w)
		}
	}
	return rq.workerRows(tx, ws)
}

func (rq *request) workerRows(tx state.ReadTx, workers []state.Worker) ([]workerRow, error) {
	if len(workers) == 0 {
		return nil, nil
	}
	running, err := tx.Builds(state.Where("complete", false))
	if err != nil {
		return nil, err
	}
	of := map[int64][]buildRow{}
	for _, b := range running {
		of[b.WorkerID] = append(of[b.WorkerID], rq.buildRow(b))
	}
	instances, err := tx.Instances(state.Where("gone_at", nil))
	if err != nil {
		return nil, err
	}
	has := map[string]*instanceRow{}
	for _, i := range instances {
		has[i.Worker] = newInstanceRow(i)
	}
	uses := map[string][]string{}
	snap := rq.control.Snapshot()
	if snap != nil {
		for _, b := range snap.Builders {
			for _, w := range b.Workers {
				uses[w] = append(uses[w], b.Name)
			}
		}
	}
	rows := make([]workerRow, 0, len(workers))
	for _, w := range workers {
		var c *config.Worker
		if snap != nil {
			c = snap.Worker(w.Name)
		}
		rows = append(rows, newWorkerRow(w, c, has[w.Name], of[w.ID], uses[w.Name]))
	}
	return rows, nil
}

// newWorkerRow says in a word how a worker is. c is its configuration, nil for one
// that is no longer configured.
func newWorkerRow(w state.Worker, c *config.Worker, instance *instanceRow, running []buildRow, builders []string) workerRow {
	facts := w.Info.Map()
	r := workerRow{
		ID: w.ID, Name: w.Name, URL: workerURL(w.Name), Since: w.ChangedAt, Active: w.Active, Connected: w.Connected,
		Paused: w.Paused, Reason: w.PauseReason, PausedBy: w.PausedBy, PausedAt: w.PausedAt, Running: running, Builders: builders,
		Version: info(facts, "version"), Host: info(facts, "host"), System: system(facts),
		Graceful: w.Graceful, GracefulReason: w.GracefulReason, GracefulBy: w.GracefulBy, GracefulAt: w.GracefulAt,
		Quarantine: newQuarantineRow(w.Quarantine), Instance: instance,
	}
	if c != nil {
		r.Latent = c.Latent != nil
		r.Local, r.MaxBuilds = c.Local, c.MaxBuilds
	}
	switch {
	case !w.Connected && !closed(w) && (r.Latent || instance != nil):
		r.Status, r.Word = instance.word()
	case !w.Connected && w.ChangedAt == 0:
		r.Status, r.Word = "waiting", "never connected"
	case !w.Connected:
		r.Status, r.Word = "failure", "offline"
	case closed(w):
		r.Status, r.Word = "warnings", "in quarantine"
		if w.Paused {
			r.Word = "paused"
		}
		if w.Graceful {
			r.Word = "stopping"
		}
		if len(running) > 0 {
			r.Word += ", finishing " + plural(len(running), "build")
		}
	case len(running) > 0 && r.MaxBuilds > 0:
		r.Status, r.Word = "running", fmt.Sprintf("building %d of %d", len(running), r.MaxBuilds)
	case len(running) > 0:
		r.Status, r.Word = "running", "building "+strconv.Itoa(len(running))
	default:
		r.Status, r.Word = "success", "connected"
	}
	return r
}

// word is how a latent worker is that is not connected.
func (i *instanceRow) word() (status, word string) {
	switch {
	case i == nil:
		return "waiting", "starts when needed"
	case i.Failures > 0:
		return "failure", "cannot be stopped"
	case i.State == state.InstanceStarting:
		return "running", "starting"
	case i.State == state.InstanceStopping:
		return "waiting", "stopping its instance"
	}
	return "warnings", "out of touch"
}

// closed reports whether a worker takes no new builds although it may be connected.
func closed(w state.Worker) bool { return w.Graceful || w.Paused || w.Quarantine.Until != 0 }

func info(facts map[string]any, key string) string {
	if v := facts[key]; v != nil {
		return jsonText(v)
	}
	return ""
}

func system(facts map[string]any) string {
	for _, keys := range [][]string{{"os_id", "os_version_id"}, {"system"}, {"os"}} {
		var parts []string
		for _, k := range keys {
			if v := info(facts, k); v != "" {
				parts = append(parts, v)
			}
		}
		if len(parts) > 0 {
			return strings.Join(parts, " ")
		}
	}
	return ""
}

// workerModel is /workers/<name>.
type workerModel struct {
	Worker  workerRow `json:"worker"`
	Connect *connect  `json:"connect,omitempty"`
	// Instances are the newest ones of a latent worker, also those that are gone.
	Instances []*instanceRow `json:"instances,omitempty"`
	Info      []propertyRow  `json:"info"`
	Builds    []buildRow     `json:"builds"`
}

func (rq *request) worker() (any, error) {
	rq.page = "worker"
	var m workerModel
	err := rq.view(func(tx state.ReadTx) error {
		w, err := rq.workerOf(rq.PathValue("worker"))
		if err != nil {
			return err
		}
		rows, err := rq.workerRows(tx, []state.Worker{w})
		if err != nil {
			return err
		}
		m.Worker = rows[0]
		newest := state.Where("worker", w.Name)
		newest.Order, newest.Limit = []state.Order{{Field: "instanceid", Desc: true}}, 10
		if m.Instances, err = rq.instanceRows(tx, newest); err != nil {
			return err
		}
		if !w.Connected && w.Active && !m.Worker.Latent {
			m.Connect = rq.connect(w)
		}
		for name, v := range w.Info.Map() {
			m.Info = append(m.Info, propertyRow{Name: name, Value: v, Text: jsonText(v)})
		}
		sort.Slice(m.Info, func(i, j int) bool { return m.Info[i].Name < m.Info[j].Name })
		s := &rq.shell
		s.Section, s.Heading, s.Status = "/workers", w.Name, m.Worker.Status
		s.Crumbs = []link{{"Workers", "/workers"}, {w.Name, ""}}
		id := strconv.FormatInt(w.ID, 10)
		s.Live = []string{"workers/" + id + "/*", "workers/" + id + "/builds/*/*", "workers/*/*", "instances/*/*"}
		q := state.Where("workerid", w.ID)
		q.Order, q.Limit = []state.Order{{Field: "buildid", Desc: true}}, 25
		builds, err := tx.Builds(q)
		for _, b := range builds {
			m.Builds = append(m.Builds, rq.buildRow(b))
		}
		return err
	})
	return m, err
}

// workerOf returns the worker of a path, by name or, if none has that name, by id.
func (rq *request) workerOf(name string) (state.Worker, error) {
	w, err := rq.names.workerNamed(name)
	if err == nil {
		return w, nil
	}
	if id, bad := strconv.ParseInt(name, 10, 64); bad == nil {
		w := rq.names.worker(id)
		if w.ID == 0 {
			return w, missing{what: "There is no worker with the name or id " + quoted(name) + ".", near: []link{{"all workers", "/workers"}}}
		}
		return w, redirect{workerURL(w.Name), 302}
	}
	return w, err
}

// connect is how to start a worker that is not connected. The password is not
// shown: who configured the worker knows it.
type connect struct {
	Name  string `json:"name"`
	Local bool   `json:"local"` // it runs in the master; there is nothing to start
	Shut  bool   `json:"shut"`  // the master listens for no workers
	Stock string `json:"stock,omitempty"`
	Own   string `json:"own,omitempty"`
}

func (rq *request) connect(w state.Worker) *connect {
	c := &connect{Name: w.Name}
	snap := rq.control.Snapshot()
	if snap == nil {
		return nil
	}
	if cfg := snap.Worker(w.Name); cfg != nil && cfg.Local {
		c.Local = true
		return c
	}
	host, port := rq.Host, "PORT"
	if h, _, err := net.SplitHostPort(rq.Host); err == nil {
		host = h
	}
	switch l := snap.Master.WorkerListen; {
	case len(l) == 0:
		c.Shut = true
		return c
	case l[0].Port > 0:
		port = strconv.Itoa(l[0].Port)
	}
	at := net.JoinHostPort(strings.Trim(host, "[]"), port)
	useTLS, scheme := "", "ws://"
	if snap.Master.WorkerListen[0].TLS != nil {
		useTLS, scheme = "--use-tls ", "wss://"
	}
	c.Stock = "buildbot-worker create-worker --protocol=msgpack_experimental_v7 " + useTLS + w.Name + " " + at + " " + w.Name + " PASSWORD\n" +
		"buildbot-worker start " + w.Name
	c.Own = "BUILDSTAR_PASSWORD=PASSWORD buildstar worker --master " + scheme + at + " --name " + w.Name + " --basedir " + w.Name
	return c
}
