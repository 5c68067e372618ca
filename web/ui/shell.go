package ui

import (
	"fmt"
	"time"

	"buildstar/config/prop"
	"buildstar/state"
)

// Shell is the frame around every page.
type Shell struct {
	Site, SiteURL string // c['title'], c['titleURL']
	Heading       string // of the page; the title of the tab begins with it
	Status        string // of what the page is about: its icon in the tab
	Marked        bool   // the title of the tab begins with the status
	Section       string // the entry of the navigation that is current
	Crumbs        []link
	Search        string // what is in the search field
	Theme         string // "light" or "dark"; "" follows the system
	Version       string
	Position      string // of the events when the page was read: epoch.seq
	Now           int64  // the clock of the master, milliseconds
	Queue         int64  // requests that wait
	Workers       int    // configured
	Trouble       int    // workers that are offline or take no builds
	Banners       []Banner
	Live          []string // routing keys of what the page shows
	Tool          string   // a script of its own: "log.js"
}

// Banner is something wrong with the master that every page tells.
type Banner struct {
	Kind string // class
	Text string
	More string // an address that says more
}

// Title is the title of the tab.
func (s Shell) Title() string {
	t := s.Heading
	if s.Marked {
		t = mark(s.Status) + " " + t
	}
	if t == "" || t == s.Site {
		return s.Site
	}
	return t + " · " + s.Site
}

// shellLive is what the frame itself shows: the counts in the navigation, and what is
// wrong.
var shellLive = []string{"buildrequests/*/*", "workers/*/*", "masters/*/*", "changesources/*/*", "schedulers/*/*"}

// LiveKeys returns the routing keys of the page, for data-live.
func (s Shell) LiveKeys() []string { return s.Live }

// ShellKeys returns those of the frame, for data-shell: the page is fetched for
// them less often.
func (s Shell) ShellKeys() []string { return shellLive }

// view runs fn on a snapshot of the store, and reads the frame from the same one.
// A page calls it once.
func (rq *request) view(fn func(tx state.ReadTx) error) error {
	store := rq.control.Store()
	pos := store.Position()
	bv, wv := store.Version("builders"), store.Version("workers")
	snap := rq.control.Snapshot()
	return store.View(rq.Context(), func(tx state.ReadTx) error {
		if err := rq.names.load(tx, snap, bv, wv); err != nil {
			return fmt.Errorf("read the names of builders and workers: %w", err)
		}
		if err := rq.frame(tx, pos); err != nil {
			return fmt.Errorf("read the counts of the navigation: %w", err)
		}
		return fn(tx)
	})
}

func (rq *request) frame(tx state.ReadTx, pos state.Position) error {
	s := &rq.shell
	s.Site, s.Status = "buildstar", "idle"
	if snap := rq.control.Snapshot(); snap != nil {
		if snap.Master.Title != "" {
			s.Site = snap.Master.Title
		}
		s.SiteURL = snap.Master.TitleURL
	}
	s.Version = rq.opts.Version
	s.Position = fmt.Sprintf("%d.%d", pos.Epoch, pos.Seq)
	s.Now = time.Now().UnixMilli()
	if c, err := rq.Cookie("theme"); err == nil && (c.Value == "light" || c.Value == "dark") {
		s.Theme = c.Value
	}
	s.Workers, s.Trouble = rq.names.workerCounts()
	var err error
	if s.Banners, err = rq.banners(tx); err != nil {
		return err
	}
	s.Queue, err = tx.Count("buildrequests", state.Where("complete", false, "claimed", false))
	return err
}

func (rq *request) banners(tx state.ReadTx) ([]Banner, error) {
	h := rq.control.Health()
	var bs []Banner
	if h.Stopping {
		bs = append(bs, Banner{"stopping", "The master is stopping: no new builds start. Builds that run are interrupted and queued again.", ""})
	}
	if h.DiskFull {
		bs = append(bs, Banner{"bad", "The disk is full: no new builds start until there is room again.", ""})
	}
	if n := len(h.ConfigProblems); n > 0 {
		text := "The new configuration has a problem and was not loaded: "
		if n > 1 {
			text = fmt.Sprintf("The new configuration has %d problems and was not loaded. The first: ", n)
		}
		bs = append(bs, Banner{"bad", text + problemText(h.ConfigProblems[0]), "/about#config"})
	}
	q := state.Where("active", true)
	q.Where = append(q.Where, state.Filter{Field: "error", Op: state.Ne, Values: []any{""}})
	blind, err := tx.ChangeSources(q)
	if err != nil {
		return nil, err
	}
	const enough = 3
	for i, c := range blind {
		if i == enough {
			bs = append(bs, Banner{"bad", fmt.Sprintf("And %d more find no changes.", len(blind)-enough), ""})
			break
		}
		bs = append(bs, Banner{"bad", fmt.Sprintf("The change source %q finds no changes: %s", c.Name, c.Error), ""})
	}
	q.Where = append(q.Where, state.Filter{Field: "enabled", Op: state.Eq, Values: []any{true}})
	failed, err := tx.Schedulers(q)
	if len(failed) > 0 {
		text := fmt.Sprintf("The scheduler %q has a problem: %s", failed[0].Name, failed[0].Error)
		if n := len(failed) - 1; n > 0 {
			text += fmt.Sprintf(" (and %d more)", n)
		}
		bs = append(bs, Banner{"bad", text, "/schedulers"})
	}
	return bs, err
}

// problemText is one line on a problem of the configuration: where and what.
func problemText(p prop.Problem) string {
	t := p.Text
	if p.Param != "" {
		t = p.Param + ": " + t
	}
	if p.Subject != "" {
		t = p.Subject + ": " + t
	}
	if p.Pos.File != "" { // a file that cannot be read has no line
		t = p.Pos.String() + ": " + t
	}
	return t
}
