package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"buildstar/config"
	"buildstar/state"
)

// byName reads the row of a name; ok is false if there is none.
func byName[T any](t *tx, table, columns, name string, scan func(scanner, *T) error) (row T, ok bool, err error) {
	err = scan(t.c.row("SELECT "+columns+" FROM "+table+" WHERE name=?", name), &row)
	if errors.Is(err, sql.ErrNoRows) {
		return row, false, nil
	}
	return row, err == nil, explain(err)
}

// activity is the verb for a row that was written: it joined the configuration, left
// it, or changed in another way.
func activity(was, is bool, other string) string {
	switch {
	case is && !was:
		return "started"
	case was && !is:
		return "stopped"
	}
	return other
}

// PutBuilder implements state.Tx.
func (t *tx) PutBuilder(b state.Builder) (int64, error) {
	old, known, err := byName(t, "builders", builderColumns, b.Name, scanBuilder)
	if err != nil {
		return 0, fmt.Errorf("read builder %q: %w", b.Name, err)
	}
	b.ID = old.ID
	if len(b.Tags) == 0 {
		b.Tags = nil
	}
	if known && reflect.DeepEqual(old, b) {
		return b.ID, nil
	}
	tags := appendTexts(b.Tags)
	if known {
		_, err = t.c.exec("UPDATE builders SET description=?, description_format=?, project_id=?, tags=?, active=? WHERE id=?",
			b.Description, b.DescriptionFormat, b.ProjectID, tags, b.Active, b.ID)
	} else {
		b.ID, err = t.c.insert("INSERT INTO builders (name, description, description_format, project_id, tags, active) VALUES (?,?,?,?,?,?)",
			b.Name, b.Description, b.DescriptionFormat, b.ProjectID, tags, b.Active)
	}
	if err != nil {
		return 0, fmt.Errorf("write builder %q: %w", b.Name, explain(err))
	}
	b.Tags = slices.Clone(b.Tags)
	t.record(b.Event(activity(old.Active, b.Active, "update")))
	return b.ID, nil
}

// appendTexts returns what a column of kind texts holds.
func appendTexts(texts []string) string {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return string(state.AppendValue(nil, list))
}

// PutProject implements state.Tx.
func (t *tx) PutProject(p state.Project) (int64, error) {
	old, known, err := byName(t, "projects", projectColumns, p.Name, scanProject)
	if err != nil {
		return 0, fmt.Errorf("read project %q: %w", p.Name, err)
	}
	p.ID = old.ID
	if known && old == p {
		return p.ID, nil
	}
	verb := "update"
	if known {
		_, err = t.c.exec("UPDATE projects SET slug=?, description=?, description_format=?, active=? WHERE id=?",
			p.Slug, p.Description, p.DescriptionFormat, p.Active, p.ID)
	} else {
		verb = "new"
		p.ID, err = t.c.insert("INSERT INTO projects (name, slug, description, description_format, active) VALUES (?,?,?,?,?)",
			p.Name, p.Slug, p.Description, p.DescriptionFormat, p.Active)
	}
	if err != nil {
		return 0, fmt.Errorf("write project %q: %w", p.Name, explain(err))
	}
	t.record(p.Event(verb))
	return p.ID, nil
}

// PutScheduler implements state.Tx.
func (t *tx) PutScheduler(s state.Scheduler) (int64, error) {
	old, known, err := byName(t, "schedulers", schedulerColumns, s.Name, scanScheduler)
	if err != nil {
		return 0, fmt.Errorf("read scheduler %q: %w", s.Name, err)
	}
	s.ID = old.ID
	if known && old == s {
		return s.ID, nil
	}
	if known {
		_, err = t.c.exec("UPDATE schedulers SET enabled=?, active=?, error=?, error_at=?, acted_at=? WHERE id=?",
			s.Enabled, s.Active, s.Error, s.ErrorAt, s.ActedAt, s.ID)
	} else {
		s.ID, err = t.c.insert("INSERT INTO schedulers (name, enabled, active, error, error_at, acted_at) VALUES (?,?,?,?,?,?)",
			s.Name, s.Enabled, s.Active, s.Error, s.ErrorAt, s.ActedAt)
	}
	if err != nil {
		return 0, fmt.Errorf("write scheduler %q: %w", s.Name, explain(err))
	}
	t.record(s.Event(activity(old.Active, s.Active, "updated")))
	return s.ID, nil
}

// PutChangeSource implements state.Tx.
func (t *tx) PutChangeSource(c state.ChangeSource) (int64, error) {
	old, known, err := byName(t, "changesources", sourceColumns, c.Name, scanSource)
	if err != nil {
		return 0, fmt.Errorf("read change source %q: %w", c.Name, err)
	}
	c.ID = old.ID
	if known && old == c {
		return c.ID, nil
	}
	if known {
		_, err = t.c.exec("UPDATE changesources SET error=?, active=? WHERE id=?", c.Error, c.Active, c.ID)
	} else {
		c.ID, err = t.c.insert("INSERT INTO changesources (name, error, active) VALUES (?,?,?)", c.Name, c.Error, c.Active)
	}
	if err != nil {
		return 0, fmt.Errorf("write change source %q: %w", c.Name, explain(err))
	}
	t.record(c.Event(activity(old.Active, c.Active, "updated")))
	return c.ID, nil
}

// PutWorker implements state.Tx.
func (t *tx) PutWorker(w state.Worker, verb string) (int64, error) {
	old, known, err := byName(t, "workers", workerColumns, w.Name, scanWorker)
	if err != nil {
		return 0, fmt.Errorf("read worker %q: %w", w.Name, err)
	}
	w.ID = old.ID
	if w.Info == "" {
		w.Info = "{}"
	}
	if known && old == w {
		return w.ID, nil
	}
	q := w.Quarantine
	values := []any{w.Paused, w.PauseReason, w.PausedBy, int64(w.PausedAt), w.Graceful, w.GracefulReason, w.GracefulBy, int64(w.GracefulAt), w.GracefulLife,
		int64(q.Since), int64(q.Until), q.Count, q.Cause, q.BuildID, string(w.Info), w.Connected, int64(w.ChangedAt), w.Active}
	if known {
		_, err = t.c.exec(`UPDATE workers SET paused=?, pause_reason=?, paused_by=?, paused_at=?, graceful=?, graceful_reason=?, graceful_by=?, graceful_at=?, graceful_life=?,
			quarantine_since=?, quarantine_until=?, quarantine_count=?, quarantine_cause=?, quarantine_build=?, info=?, connected=?, changed_at=?, active=? WHERE id=?`,
			append(values, w.ID)...)
	} else {
		w.ID, err = t.c.insert(`INSERT INTO workers (paused, pause_reason, paused_by, paused_at, graceful, graceful_reason, graceful_by, graceful_at, graceful_life,
			quarantine_since, quarantine_until, quarantine_count, quarantine_cause, quarantine_build, info, connected, changed_at, active, name)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
			append(values, w.Name)...)
	}
	if err != nil {
		return 0, fmt.Errorf("write worker %q: %w", w.Name, explain(err))
	}
	t.record(w.Event(verb))
	return w.ID, nil
}

// Retire implements state.Tx.
func (t *tx) Retire(active map[string][]string) error {
	err := retire(t, "builders", builderColumns, active[config.KindBuilder], scanBuilder, func(b *state.Builder) (string, state.Event) {
		b.Active = false
		return b.Name, b.Event("stopped")
	})
	if err == nil {
		err = retire(t, "workers", workerColumns, active[config.KindWorker], scanWorker, func(w *state.Worker) (string, state.Event) {
			w.Active = false
			return w.Name, w.Event("configured")
		})
	}
	if err == nil {
		err = retire(t, "schedulers", schedulerColumns, active[config.KindScheduler], scanScheduler, func(s *state.Scheduler) (string, state.Event) {
			s.Active = false
			return s.Name, s.Event("stopped")
		})
	}
	if err == nil {
		err = retire(t, "changesources", sourceColumns, active[config.KindChangeSource], scanSource, func(c *state.ChangeSource) (string, state.Event) {
			c.Active = false
			return c.Name, c.Event("stopped")
		})
	}
	if err == nil {
		err = retire(t, "projects", projectColumns, active[config.KindProject], scanProject, func(p *state.Project) (string, state.Event) {
			p.Active = false
			return p.Name, p.Event("update")
		})
	}
	return err
}

// retire marks the active rows of a table that are not in keep.
func retire[T any](t *tx, table, columns string, keep []string, scan func(scanner, *T) error, stop func(*T) (string, state.Event)) error {
	rows, err := rowsOf(t.reader, scan, "SELECT "+columns+" FROM "+table+" WHERE active=1 ORDER BY id")
	if err != nil {
		return fmt.Errorf("retire %s: %w", table, err)
	}
	kept := make(map[string]bool, len(keep))
	for _, name := range keep {
		kept[name] = true
	}
	for i := range rows {
		name, event := stop(&rows[i])
		if kept[name] {
			continue
		}
		if _, err := t.c.exec("UPDATE "+table+" SET active=0 WHERE name=?", name); err != nil {
			return fmt.Errorf("retire %s %q: %w", table, name, explain(err))
		}
		t.record(event)
	}
	return nil
}
