package sqlite

import (
	"fmt"

	"buildstar/state"
)

// tx implements state.Tx: one savepoint of the writer's transaction.
type tx struct {
	reader
	epoch  int64
	events []state.Event
}

func (t *tx) record(e state.Event) { t.events = append(t.events, e) }

// change runs an UPDATE of one row and fails with ErrNotFound if there is none.
func (t *tx) change(what string, id int64, query string, args ...any) error {
	n, err := t.c.exec(query, args...)
	if err == nil && n == 0 {
		err = state.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("write %s %d: %w", what, id, explain(err))
	}
	return nil
}

// PutMaster implements state.Tx.
func (t *tx) PutMaster(m state.Master) (int64, error) {
	m.ID = state.MasterID
	_, err := t.c.exec(`INSERT INTO masters (id, name, active, last_active, epoch) VALUES (?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET name=excluded.name, active=excluded.active, last_active=excluded.last_active, epoch=excluded.epoch`,
		m.ID, m.Name, m.Active, int64(m.LastActive), t.epoch)
	if err != nil {
		return 0, fmt.Errorf("write master: %w", explain(err))
	}
	verb := "stopped"
	if m.Active {
		verb = "started"
	}
	t.record(m.Event(verb))
	return t.epoch, nil
}

// Alive implements state.Tx.
func (t *tx) Alive(at state.Time) error {
	return t.change("master", state.MasterID, "UPDATE masters SET last_active=? WHERE id=?", int64(at), state.MasterID)
}

// AddSourceStamp implements state.Tx. A stamp without CreatedAt is from now.
func (t *tx) AddSourceStamp(s state.SourceStamp) (int64, error) {
	if s.CreatedAt == 0 {
		s.CreatedAt = state.Now()
	}
	digest := stampDigest(s)
	_, err := t.c.exec(`INSERT INTO sourcestamps (digest, branch, revision, project, repository, codebase, created_at) VALUES (?,?,?,?,?,?,?)
		ON CONFLICT (digest) DO NOTHING`,
		digest, s.Branch, s.Revision, s.Project, s.Repository, s.Codebase, int64(s.CreatedAt))
	var id int64
	if err == nil {
		err = t.c.row("SELECT id FROM sourcestamps WHERE digest=?", digest).Scan(&id)
	}
	if err != nil {
		return 0, fmt.Errorf("add source stamp: %w", explain(err))
	}
	return id, nil
}
