package sqlite

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"buildstar/state"
)

const instanceColumns = "id, worker, kind, state, handle, info, password, arguments, caps, generation, build_id, created_at, started_at, connected_at, stopping_at, gone_at, failures, failure"

// Instances implements state.ReadTx.
func (r reader) Instances(q state.Query) ([]state.Instance, error) {
	return list(r, "instances", instanceColumns, q, scanInstance)
}

func scanInstance(s scanner, i *state.Instance) error {
	var info, arguments, caps string
	err := s.Scan(&i.ID, &i.Worker, &i.Kind, &i.State, &i.Handle, &info, (*string)(&i.Password), &arguments, &caps, &i.Generation, &i.BuildID,
		(*int64)(&i.CreatedAt), (*int64)(&i.StartedAt), (*int64)(&i.ConnectedAt), (*int64)(&i.StoppingAt), (*int64)(&i.GoneAt), &i.Failures, &i.Failure)
	if err != nil {
		return err
	}
	for text, into := range map[string]*[]string{info: &i.Info, caps: &i.Caps} {
		if text == "[]" {
			continue
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return err
		}
	}
	if arguments == "{}" {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(arguments))
	d.UseNumber()
	if err := d.Decode(&i.Arguments); err != nil {
		return err
	}
	state.Plain(i.Arguments)
	return nil
}

// AddInstance implements state.Tx.
func (t *tx) AddInstance(i state.Instance) (int64, error) {
	id, err := t.c.insert("INSERT INTO instances ("+strings.TrimPrefix(instanceColumns, "id, ")+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		i.Worker, i.Kind, i.State, i.Handle, appendTexts(i.Info), i.Password.Reveal(), string(state.AppendValue(nil, i.Arguments)), appendTexts(i.Caps),
		i.Generation, i.BuildID, int64(i.CreatedAt), int64(i.StartedAt), int64(i.ConnectedAt), int64(i.StoppingAt), int64(i.GoneAt), i.Failures, i.Failure)
	if err != nil {
		return 0, fmt.Errorf("add instance of worker %q: %w", i.Worker, explain(err))
	}
	i.ID, i.Info, i.Caps = id, slices.Clone(i.Info), slices.Clone(i.Caps)
	t.record(i.Event("new"))
	return id, nil
}

// PutInstance implements state.Tx. What is fixed at the start is not written.
func (t *tx) PutInstance(i state.Instance) error {
	n, err := t.c.exec("UPDATE instances SET state=?, handle=?, info=?, started_at=?, connected_at=?, stopping_at=?, gone_at=?, failures=?, failure=?, password=? WHERE id=?",
		i.State, i.Handle, appendTexts(i.Info), int64(i.StartedAt), int64(i.ConnectedAt), int64(i.StoppingAt), int64(i.GoneAt), i.Failures, i.Failure,
		i.Password.Reveal(), i.ID)
	if err == nil && n == 0 {
		err = state.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("write instance %d: %w", i.ID, explain(err))
	}
	i.Info, i.Caps = slices.Clone(i.Info), slices.Clone(i.Caps)
	verb := "update"
	if i.GoneAt != 0 {
		verb = "gone"
	}
	t.record(i.Event(verb))
	return nil
}
