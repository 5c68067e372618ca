package sqlite

import (
	"encoding/json"
	"errors"
	"fmt"

	"buildstar/state"
)

const interruptionColumns = "id, build_id, cause, started_at, ended_at, times, lines"

// Interruptions implements state.ReadTx.
func (r reader) Interruptions(q state.Query) ([]state.Interruption, error) {
	return list(r, "interruptions", interruptionColumns, q, scanInterruption)
}

func scanInterruption(s scanner, i *state.Interruption) error {
	var lines string
	err := s.Scan(&i.ID, &i.BuildID, &i.Cause, (*int64)(&i.StartedAt), (*int64)(&i.EndedAt), &i.Times, &lines)
	if err != nil || lines == "{}" {
		return err
	}
	return json.Unmarshal([]byte(lines), &i.Lines)
}

// AddInterruption implements state.Tx.
func (t *tx) AddInterruption(i state.Interruption) error {
	last, err := t.lastInterruption(i.BuildID)
	if err != nil || last.ID != 0 && last.EndedAt == 0 {
		return err
	}
	i.StartedAt = max(i.StartedAt, last.EndedAt)
	if last.ID != 0 && last.Cause == i.Cause && i.StartedAt-last.EndedAt < state.Flapping {
		last.EndedAt = 0
		last.Times++
		return t.putInterruption(last)
	}
	lines, err := json.Marshal(i.Lines)
	if err != nil {
		return err
	}
	if i.Lines == nil {
		lines = []byte("{}")
	}
	i.EndedAt, i.Times = 0, 1
	i.ID, err = t.c.insert("INSERT INTO interruptions (build_id, cause, started_at, ended_at, times, lines) VALUES (?,?,?,0,1,?)",
		i.BuildID, i.Cause, int64(i.StartedAt), string(lines))
	if err != nil {
		return fmt.Errorf("add interruption of build %d: %w", i.BuildID, explain(err))
	}
	t.record(i.Event("new"))
	return nil
}

// EndInterruption implements state.Tx.
func (t *tx) EndInterruption(buildID int64, at state.Time) error {
	last, err := t.lastInterruption(buildID)
	if err != nil || last.ID == 0 || last.EndedAt != 0 {
		return err
	}
	last.EndedAt = max(at, last.StartedAt)
	return t.putInterruption(last)
}

// lastInterruption returns the newest interruption of a build; its ID is 0 if there is none.
func (t *tx) lastInterruption(buildID int64) (state.Interruption, error) {
	q := state.Where("buildid", buildID)
	q.Order, q.Limit = []state.Order{{Field: "interruptionid", Desc: true}}, 1
	i, err := state.One(t.Interruptions(q))
	if errors.Is(err, state.ErrNotFound) {
		return i, nil
	}
	return i, err
}

func (t *tx) putInterruption(i state.Interruption) error {
	if err := t.change("interruption", i.ID, "UPDATE interruptions SET ended_at=?, times=? WHERE id=?", int64(i.EndedAt), i.Times, i.ID); err != nil {
		return err
	}
	t.record(i.Event("update"))
	return nil
}
