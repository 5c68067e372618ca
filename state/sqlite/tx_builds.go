package sqlite

import (
	"fmt"
	"reflect"

	"buildstar/config"
	"buildstar/state"
)

// AddBuild implements state.Tx.
func (t *tx) AddBuild(b state.Build) (state.Build, error) {
	b.Complete, b.CompleteAt, b.Results, b.Epoch = false, 0, config.Unfinished, t.epoch
	err := t.c.row("UPDATE builders SET last_number=last_number+1 WHERE id=? RETURNING last_number", b.BuilderID).Scan(&b.Number)
	if err != nil {
		return b, fmt.Errorf("add build of builder %d: %w", b.BuilderID, missing(err))
	}
	b.ID, err = t.c.insert(`INSERT INTO builds (number, builder_id, request_id, worker_id, started_at, complete_at, complete, locks_duration, state_string, results, generation, stop_reason, epoch, worker_life, locked, properties)
		VALUES (?,?,?,?,?,0,0,?,?,?,?,?,?,?,?,?)`,
		b.Number, b.BuilderID, b.RequestID, b.WorkerID, int64(b.StartedAt), b.LocksDuration, b.StateString, int64(b.Results), b.Generation, b.StopReason, b.Epoch, b.WorkerLife, b.Locked,
		string(b.Properties.AppendKept(nil)))
	if err != nil {
		return b, fmt.Errorf("add build of builder %d: %w", b.BuilderID, explain(err))
	}
	t.record(b.Event("new"))
	return b, nil
}

// PutBuild implements state.Tx.
func (t *tx) PutBuild(b state.Build, verb string) error {
	if !b.Complete {
		b.Results = config.Unfinished
	}
	err := t.change("build", b.ID, `UPDATE builds SET worker_id=?, started_at=?, complete_at=?, complete=?, locks_duration=?, state_string=?, results=?, stop_reason=?, worker_life=?, locked=? WHERE id=?`,
		b.WorkerID, int64(b.StartedAt), int64(b.CompleteAt), b.Complete, b.LocksDuration, b.StateString, int64(b.Results), b.StopReason, b.WorkerLife, b.Locked, b.ID)
	if err != nil {
		return err
	}
	t.record(b.Event(verb))
	if b.Complete {
		return t.EndInterruption(b.ID, b.CompleteAt)
	}
	return nil
}

// SetProperties implements state.Tx. What has the value and source it is given is
// not written again and not in the event.
func (t *tx) SetProperties(buildID int64, set state.Properties) error {
	props, err := t.BuildProperties(buildID)
	if err != nil {
		return err
	}
	changed := state.Properties{}
	for name, p := range set {
		if old, ok := props[name]; !ok || !reflect.DeepEqual(old, p) {
			props[name], changed[name] = p, p
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := t.change("properties of build", buildID, "UPDATE builds SET properties=? WHERE id=?", string(props.AppendKept(nil)), buildID); err != nil {
		return err
	}
	t.record(state.PropertiesEvent(buildID, changed))
	return nil
}

// AddBuildSecret implements state.Tx.
func (t *tx) AddBuildSecret(buildID int64, name string) error {
	if _, err := t.c.exec("INSERT INTO build_secrets (build_id, name) VALUES (?,?) ON CONFLICT DO NOTHING", buildID, name); err != nil {
		return fmt.Errorf("add secret %q of build %d: %w", name, buildID, explain(err))
	}
	return nil
}

// AddStep implements state.Tx.
func (t *tx) AddStep(s state.Step) (int64, error) {
	if !s.Complete {
		s.Results = config.Unfinished
	}
	var err error
	s.ID, err = t.c.insert(`INSERT INTO steps (build_id, number, name, started_at, locks_acquired_at, complete, complete_at, state_string, results, urls, hidden, position) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`,
		s.BuildID, s.Number, s.Name, int64(s.StartedAt), int64(s.LocksAcquiredAt), s.Complete, int64(s.CompleteAt), s.StateString, int64(s.Results),
		string(state.AppendURLs(nil, s.URLs)), s.Hidden, s.Position)
	if err != nil {
		return 0, fmt.Errorf("add step %q of build %d: %w", s.Name, s.BuildID, explain(err))
	}
	t.record(s.Event("new"))
	return s.ID, nil
}

// PutStep implements state.Tx.
func (t *tx) PutStep(s state.Step, verb string) error {
	if !s.Complete {
		s.Results = config.Unfinished
	}
	err := t.change("step", s.ID, `UPDATE steps SET name=?, started_at=?, locks_acquired_at=?, complete=?, complete_at=?, state_string=?, results=?, urls=?, hidden=? WHERE id=? AND build_id=?`,
		s.Name, int64(s.StartedAt), int64(s.LocksAcquiredAt), s.Complete, int64(s.CompleteAt), s.StateString, int64(s.Results),
		string(state.AppendURLs(nil, s.URLs)), s.Hidden, s.ID, s.BuildID)
	if err != nil {
		return err
	}
	t.record(s.Event(verb))
	return nil
}

// AddLog implements state.Tx.
func (t *tx) AddLog(l state.Log) (int64, error) {
	var build int64
	err := t.c.row("SELECT build_id FROM steps WHERE id=?", l.StepID).Scan(&build)
	if err == nil && build != l.BuildID {
		err = state.ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("add log %q of step %d: %w", l.Name, l.StepID, missing(err))
	}
	l.ID, err = t.c.insert("INSERT INTO logs (step_id, build_id, name, slug, complete, num_lines, type) VALUES (?,?,?,?,?,?,?)",
		l.StepID, l.BuildID, l.Name, l.Slug, l.Complete, l.NumLines, l.Type)
	if err != nil {
		return 0, fmt.Errorf("add log %q of step %d: %w", l.Name, l.StepID, explain(err))
	}
	t.record(l.Event("new"))
	return l.ID, nil
}

// PutLog implements state.Tx. The event of a log that is not complete is "append".
func (t *tx) PutLog(l state.Log) error {
	err := t.change("log", l.ID, "UPDATE logs SET complete=?, num_lines=?, type=? WHERE id=? AND build_id=?", l.Complete, l.NumLines, l.Type, l.ID, l.BuildID)
	if err != nil {
		return err
	}
	verb := "append"
	if l.Complete {
		verb = "finished"
	}
	t.record(l.Event(verb))
	return nil
}

// AddCommand implements state.Tx.
func (t *tx) AddCommand(c state.Command) error {
	hash := c.ArgsHash
	if hash == nil {
		hash = []byte{}
	}
	_, err := t.c.exec("INSERT INTO commands (id, build_id, step_id, seq, worker, args_hash, done, rc, failure) VALUES (?,?,?,?,?,?,?,?,?)",
		c.ID, c.BuildID, c.StepID, c.Seq, c.Worker, hash, c.Done, c.RC, c.Failure)
	if err != nil {
		return fmt.Errorf("add command %s: %w", c.ID, explain(err))
	}
	return nil
}

// PutCommand implements state.Tx: it writes how a command ended.
func (t *tx) PutCommand(c state.Command) error {
	n, err := t.c.exec("UPDATE commands SET done=?, rc=?, failure=? WHERE id=?", c.Done, c.RC, c.Failure, c.ID)
	if err == nil && n == 0 {
		err = state.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("write command %s: %w", c.ID, explain(err))
	}
	return nil
}
