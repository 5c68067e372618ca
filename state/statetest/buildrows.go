package statetest

import (
	"errors"
	"fmt"
	"testing"

	"buildstar/config"
	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

func numbers(t *testing.T, s state.Store) {
	a, b := addBuilder(t, s, "a"), addBuilder(t, s, "b")
	for i, want := range []struct{ builder, number int64 }{{a, 1}, {b, 1}, {a, 2}, {a, 3}, {b, 2}} {
		if got := addBuild(t, s, state.Build{BuilderID: want.builder}); got.Number != want.number || got.ID != int64(i+1) {
			t.Errorf("build %d of builder %d has number %d, want %d", got.ID, want.builder, got.Number, want.number)
		}
	}
}

func buildRows(t *testing.T, s state.Store) {
	b := addBuild(t, s, state.Build{
		BuilderID: addBuilder(t, s, "b"), RequestID: 4, WorkerID: 5, StartedAt: 1500, StateString: "starting", Generation: 6,
		Properties: state.Properties{"a": {Value: "x", Source: "Build", Secrets: []string{"s"}}},
	})
	if b.Results != config.Unfinished {
		t.Errorf("a new build has results %v", b.Results)
	}
	step := state.Step{BuildID: b.ID, Number: 1, Position: 4, Name: "s", StateString: "pending", Results: config.Unfinished, URLs: []state.URL{{Name: "n", URL: "u"}}}
	log := state.Log{BuildID: b.ID, Name: "stdio", Slug: "stdio", Type: "s"}
	update(t, s, func(tx state.Tx) (err error) {
		if step.ID, err = tx.AddStep(step); err != nil {
			return err
		}
		log.StepID = step.ID
		log.ID, err = tx.AddLog(log)
		return err
	})
	check := func() {
		t.Helper()
		view(t, s, func(tx state.ReadTx) error {
			builds, err := tx.Builds(state.Query{Properties: true})
			steps, err1 := tx.Steps(state.Where("buildid", b.ID))
			logs, err2 := tx.Logs(state.Where("stepid", step.ID))
			if diff := cmp.Diff([]state.Build{b}, builds); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]state.Step{step}, steps); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]state.Log{log}, logs); diff != "" {
				t.Error(diff)
			}
			return errors.Join(err, err1, err2)
		})
	}
	check()
	b.WorkerID, b.StartedAt, b.CompleteAt, b.Complete, b.LocksDuration, b.StateString, b.Results, b.StopReason = 6, 1600, 1700, true, 3, "failed", config.Failure, "stop"
	step.Name, step.StartedAt, step.LocksAcquiredAt, step.Complete, step.CompleteAt, step.StateString, step.Results, step.Hidden, step.URLs = "t", 1, 2, true, 3, "done", config.Skipped, true, nil
	log.Complete, log.NumLines, log.Type = true, 12, "d"
	update(t, s, func(tx state.Tx) error {
		return errors.Join(tx.PutBuild(b, "finished"), tx.PutStep(step, "finished"), tx.PutLog(log))
	})
	check()
}

// The id of a row that was lost with its transaction is given again, to another build's
// perhaps: who still holds it must not write that row.
func rowsOfOthers(t *testing.T, s state.Store) {
	builder := addBuilder(t, s, "b")
	b1, b2 := addBuild(t, s, state.Build{BuilderID: builder}), addBuild(t, s, state.Build{BuilderID: builder})
	step := state.Step{BuildID: b1.ID, Number: 1, Name: "mine"}
	log := state.Log{BuildID: b1.ID, Name: "stdio", Slug: "stdio", Type: "s"}
	update(t, s, func(tx state.Tx) (err error) {
		if step.ID, err = tx.AddStep(step); err != nil {
			return err
		}
		log.StepID = step.ID
		log.ID, err = tx.AddLog(log)
		return err
	})
	otherStep, otherLog, newLog := step, log, log
	otherStep.BuildID, otherStep.Name = b2.ID, "its"
	otherLog.BuildID, otherLog.NumLines = b2.ID, 5
	newLog.BuildID, newLog.Slug = b2.ID, "new"
	for what, fn := range map[string]func(state.Tx) error{
		"PutStep": func(tx state.Tx) error { return tx.PutStep(otherStep, "finished") },
		"PutLog":  func(tx state.Tx) error { return tx.PutLog(otherLog) },
		"AddLog":  func(tx state.Tx) error { _, err := tx.AddLog(newLog); return err },
	} {
		if err := s.Update(t.Context(), fn); !errors.Is(err, state.ErrNotFound) {
			t.Errorf("%s with the id of another build's step: %v, want ErrNotFound", what, err)
		}
	}
	steps := read(t, s, func(tx state.ReadTx) ([]state.Step, error) { return tx.Steps(state.Query{}) })
	logs := read(t, s, func(tx state.ReadTx) ([]state.Log, error) { return tx.Logs(state.Query{}) })
	if len(steps) != 1 || steps[0].Name != "mine" || len(logs) != 1 || logs[0].NumLines != 0 {
		t.Errorf("the rows are now %v and %v", steps, logs)
	}
}

func properties(t *testing.T, s state.Store) {
	b := addBuild(t, s, state.Build{BuilderID: addBuilder(t, s, "b"), Properties: state.Properties{"kept": {Value: true, Source: "Build"}}})
	sub := s.Subscribe(t.Context(), "builds/*/properties/*")
	set := state.Properties{
		"int": {Value: int64(1) << 60, Source: "a"}, "float": {Value: 1.0, Source: "a"}, "none": {Value: nil, Source: "a"}, "html": {Value: "<é\u2028\x00>", Source: "ü"},
		"list": {Value: []any{[]any{}, map[string]any{"k": 1e300}}, Source: "a"},
	}
	update(t, s, func(tx state.Tx) error { return tx.SetProperties(b.ID, set) })
	if e := <-sub.C; e.Key != fmt.Sprintf("builds/%d/properties/update", b.ID) || !cmp.Equal(e.Row, set) {
		t.Errorf("event %s: %s", e.Key, cmp.Diff(set, e.Row))
	}
	// What does not change has no event; what does goes alone.
	set["int"] = state.Property{Value: int64(2), Source: "a"}
	update(t, s, func(tx state.Tx) error {
		return tx.SetProperties(b.ID, state.Properties{"none": {Value: nil, Source: "a"}})
	})
	update(t, s, func(tx state.Tx) error { return tx.SetProperties(b.ID, set) })
	if e := <-sub.C; !cmp.Equal(e.Row, state.Properties{"int": set["int"]}) {
		t.Errorf("event has %v", e.Row)
	}
	set["kept"] = state.Property{Value: true, Source: "Build"}
	got := read(t, s, func(tx state.ReadTx) (state.Properties, error) { return tx.BuildProperties(b.ID) })
	if diff := cmp.Diff(set, got); diff != "" {
		t.Error(diff)
	}
	builds := read(t, s, func(tx state.ReadTx) ([]state.Build, error) { return tx.Builds(state.Query{}) })
	if builds[0].Properties != nil {
		t.Error("properties were read without being asked for")
	}
}

func journal(t *testing.T, s state.Store) {
	b := addBuild(t, s, state.Build{BuilderID: addBuilder(t, s, "b")})
	commands := []state.Command{
		{ID: "1-2", BuildID: b.ID, StepID: 1, Seq: 0, Worker: "w", ArgsHash: []byte{1, 0, 2}},
		{ID: "1-1", BuildID: b.ID, StepID: 1, Seq: 1, Worker: "w", ArgsHash: []byte{3}},
	}
	update(t, s, func(tx state.Tx) error {
		return errors.Join(tx.AddCommand(commands[0]), tx.AddCommand(commands[1]))
	})
	commands[0].Done, commands[0].RC, commands[0].Failure = true, ptr(int64(-1)), "lost"
	update(t, s, func(tx state.Tx) error { return tx.PutCommand(commands[0]) })
	if err := s.Update(t.Context(), func(tx state.Tx) error { return tx.AddCommand(commands[0]) }); err == nil {
		t.Error("a command id was used twice")
	}
	got := read(t, s, func(tx state.ReadTx) ([]state.Command, error) { return tx.Commands(b.ID) })
	if diff := cmp.Diff(commands, got); diff != "" {
		t.Error(diff)
	}
}

func buildSecrets(t *testing.T, s state.Store) {
	b := addBuild(t, s, state.Build{BuilderID: addBuilder(t, s, "b")})
	for range 2 {
		update(t, s, func(tx state.Tx) error {
			return errors.Join(tx.AddBuildSecret(b.ID, "z"), tx.AddBuildSecret(b.ID, "a"))
		})
	}
	for id, want := range map[int64][]string{b.ID: {"a", "z"}, 99: nil} {
		got := read(t, s, func(tx state.ReadTx) ([]string, error) { return tx.BuildSecrets(id) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if err := s.Update(t.Context(), func(tx state.Tx) error { return tx.AddBuildSecret(99, "a") }); err == nil {
		t.Error("a secret of no build")
	}
}
