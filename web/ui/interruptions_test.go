package ui

import (
	"fmt"
	"strings"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// The page of a build says when it was out of touch, and that of a log where in it.
func TestInterruptions(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	h := f.handler(t)
	now := state.Now()
	b := f.addBuild(t, 6, now, config.Unfinished)
	var logs []state.Log
	at := state.Time(1_000_000)
	f.update(t, func(tx state.Tx) (err error) {
		if logs, err = tx.Logs(state.Where("buildid", b.ID)); err != nil {
			return err
		}
		for _, i := range []state.Interruption{
			{Cause: state.MasterAway, StartedAt: at, Lines: map[int64]int64{logs[0].ID: 2}},
			{Cause: state.WorkerAway, StartedAt: at + 86_400_000, Lines: map[int64]int64{logs[0].ID: 2}},
			{Cause: state.WorkerAway, StartedAt: at + 86_400_000 + 1, Lines: map[int64]int64{logs[0].ID: 99}},
			{Cause: state.MasterAway, StartedAt: at + 2*86_400_000},
		} {
			i.BuildID = b.ID
			if err := tx.AddInterruption(i); err != nil {
				return err
			}
			if i.Lines != nil {
				if err := tx.EndInterruption(b.ID, i.StartedAt+65_000); err != nil {
					return err
				}
			}
		}
		return nil
	})
	step := ""
	f.update(t, func(tx state.Tx) error {
		s, err := state.One(tx.Steps(state.Where("stepid", logs[0].StepID)))
		step = fmt.Sprint(s.Number)
		return err
	})
	texts := []string{
		"master restarted, out of touch with worker alpha from 1970-01-01 00:16:40 to 00:17:45 UTC (1 m 05 s)",
		"out of touch with worker alpha from 1970-01-02 00:16:40 to 00:17:45 UTC (1 m 05 s, 2 times)",
		"master restarted, out of touch with worker alpha since 1970-01-03 00:16:40 UTC",
	}
	body := get(t, h, "/builders/größe/1").Body.String()
	last := 0
	for _, text := range texts {
		i := strings.Index(body, text)
		if i < last {
			t.Errorf("the page of the build lacks %q in its place", text)
		}
		last = i
	}
	if !strings.Contains(body, "3 interruptions") || !strings.Contains(body, fmt.Sprintf("builds/%d/interruptions/*/*", b.ID)) {
		t.Error("the page of the build does not count or follow them")
	}
	body = get(t, h, "/builders/größe/1/"+step+"/"+logs[0].Slug).Body.String()
	for i, text := range texts[:2] {
		if want := fmt.Sprintf(`<li id="gap-%d" data-line="3"><span>%s</span> <a href="#L3">before line 3</a></li>`, i+1, text); !strings.Contains(body, want) {
			t.Errorf("the page of the log lacks %s", want)
		}
	}
	if strings.Contains(body, texts[2]) {
		t.Error("the log speaks of a time in which it was not written")
	}
}
