package sqlite

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"buildstar/config"
	"buildstar/state"
)

const changeColumns = "id, author, committer, comments, branch, revision, category, revlink, at, received_at, codebase, project, repository, files, properties, parent_id, sourcestamp_id"

// Changes implements state.ReadTx. It reads the stamps of all rows with one more query.
func (r reader) Changes(q state.Query) ([]state.Change, error) {
	changes, err := list(r, "changes", changeColumns, q, scanChange)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(changes, maxValues) {
		if err := r.stampChanges(part); err != nil {
			return nil, fmt.Errorf("read changes: %w", err)
		}
	}
	return changes, nil
}

func (r reader) stampChanges(changes []state.Change) error {
	ids := make([]any, len(changes))
	for i, c := range changes {
		ids[i] = c.SourceStamp.ID
	}
	stamps, err := rowsOf(r, scanStamp, "SELECT "+stampColumns+" FROM sourcestamps WHERE id IN (?"+strings.Repeat(",?", len(ids)-1)+")", ids...)
	if err != nil {
		return err
	}
	byID := make(map[int64]state.SourceStamp, len(stamps))
	for _, s := range stamps {
		byID[s.ID] = s
	}
	for i := range changes {
		changes[i].SourceStamp = byID[changes[i].SourceStamp.ID]
	}
	return nil
}

// scanChange reads a change with no more of its source stamp than the id.
func scanChange(s scanner, c *state.Change) error {
	var files, props string
	var parent int64
	err := s.Scan(&c.ID, &c.Author, &c.Committer, &c.Comments, &c.Branch, &c.Revision, &c.Category, &c.RevLink, (*int64)(&c.When), (*int64)(&c.ReceivedAt),
		&c.Codebase, &c.Project, &c.Repository, &files, &props, &parent, &c.SourceStamp.ID)
	if err != nil {
		return err
	}
	if parent != 0 {
		c.ParentIDs = []int64{parent}
	}
	if c.Properties, err = parseProperties(props); err != nil || files == "[]" {
		return err
	}
	return json.Unmarshal([]byte(files), &c.Files)
}

// AddChange implements state.Tx.
func (t *tx) AddChange(c state.Change) (int64, error) {
	if c.ReceivedAt == 0 {
		c.ReceivedAt = state.Now()
	}
	if c.When == 0 {
		c.When = c.ReceivedAt
	}
	stamp, err := t.AddSourceStamp(state.SourceStamp{
		Branch: c.Branch, Revision: c.Revision, Project: c.Project, Repository: c.Repository, Codebase: c.Codebase, CreatedAt: c.ReceivedAt,
	})
	if err != nil {
		return 0, fmt.Errorf("add change: %w", err)
	}
	var parent int64
	err = t.c.row("SELECT coalesce(max(id), 0) FROM changes WHERE repository=? AND branch IS NOT DISTINCT FROM ? AND project=? AND codebase=?",
		c.Repository, c.Branch, c.Project, c.Codebase).Scan(&parent)
	if err != nil {
		return 0, fmt.Errorf("add change: find its parent: %w", explain(err))
	}
	id, err := t.c.insert(`INSERT INTO changes (author, committer, comments, branch, revision, category, revlink, at, received_at, codebase, project, repository, files, properties, parent_id, sourcestamp_id)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		c.Author, c.Committer, c.Comments, c.Branch, c.Revision, c.Category, c.RevLink, int64(c.When), int64(c.ReceivedAt),
		c.Codebase, c.Project, c.Repository, appendTexts(c.Files), string(c.Properties.AppendJSON(nil)), parent, stamp)
	if err != nil {
		return 0, fmt.Errorf("add change: %w", explain(err))
	}
	if c, err = state.One(t.Changes(state.Where("changeid", id))); err != nil {
		return 0, fmt.Errorf("add change: %w", err)
	}
	t.record(c.Event("new"))
	return id, nil
}

// SchedulerChanges implements state.ReadTx.
func (r reader) SchedulerChanges(schedulerID int64) ([]state.SchedulerChange, error) {
	scan := func(s scanner, c *state.SchedulerChange) error {
		return s.Scan(&c.ChangeID, &c.Important, &c.Branch, &c.Repository, &c.Project, &c.Codebase, (*int64)(&c.ReceivedAt))
	}
	changes, err := rowsOf(r, scan, `SELECT c.id, s.important, c.branch, c.repository, c.project, c.codebase, c.received_at
		FROM scheduler_changes AS s JOIN changes AS c ON c.id=s.change_id WHERE s.scheduler_id=? ORDER BY s.change_id`, schedulerID)
	if err != nil {
		return nil, fmt.Errorf("read changes of scheduler %d: %w", schedulerID, err)
	}
	return changes, nil
}

// AddSchedulerChanges implements state.Tx.
func (t *tx) AddSchedulerChanges(schedulerID int64, important map[int64]bool) error {
	for _, id := range slices.Sorted(maps.Keys(important)) {
		// Of a scheduler or a change that is not there, nothing is selected.
		n, err := t.c.exec(`INSERT INTO scheduler_changes (scheduler_id, change_id, important)
			SELECT s.id, c.id, ? FROM schedulers AS s, changes AS c WHERE s.id=? AND c.id=?
			ON CONFLICT (scheduler_id, change_id) DO UPDATE SET important=excluded.important`, important[id], schedulerID, id)
		if err == nil && n == 0 {
			err = state.ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("add change %d to scheduler %d: %w", id, schedulerID, explain(err))
		}
	}
	return nil
}

// DropSchedulerChanges implements state.Tx.
func (t *tx) DropSchedulerChanges(schedulerID int64, changeIDs ...int64) error {
	for _, id := range changeIDs {
		if _, err := t.c.exec("DELETE FROM scheduler_changes WHERE scheduler_id=? AND change_id=?", schedulerID, id); err != nil {
			return fmt.Errorf("drop change %d of scheduler %d: %w", id, schedulerID, explain(err))
		}
	}
	return nil
}

// Recall implements state.ReadTx.
func (r reader) Recall(owner config.Key, name string, into any) (bool, error) {
	one := func(s scanner, text *string) error { return s.Scan(text) }
	values, err := rowsOf(r, one, "SELECT value FROM memory WHERE kind=? AND owner=? AND name=?", owner.Kind, owner.Name, name)
	if err == nil && len(values) > 0 {
		err = json.Unmarshal([]byte(values[0]), into)
	}
	if err != nil {
		return false, fmt.Errorf("recall %s of %v: %w", name, owner, err)
	}
	return len(values) > 0, nil
}

// Remember implements state.Tx.
func (t *tx) Remember(owner config.Key, name string, value any) (err error) {
	if value == nil {
		_, err = t.c.exec("DELETE FROM memory WHERE kind=? AND owner=? AND name=?", owner.Kind, owner.Name, name)
	} else {
		var text []byte
		if text, err = json.Marshal(value); err == nil {
			_, err = t.c.exec(`INSERT INTO memory (kind, owner, name, value) VALUES (?,?,?,?)
				ON CONFLICT (kind, owner, name) DO UPDATE SET value=excluded.value`, owner.Kind, owner.Name, name, string(text))
		}
	}
	if err != nil {
		return fmt.Errorf("remember %s of %v: %w", name, owner, explain(err))
	}
	return nil
}
