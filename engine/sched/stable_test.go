package sched

import (
	"fmt"
	"testing"
	"time"

	"buildstar/state"
)

// What is due, and when to look again, in seconds.
func TestStableDue(t *testing.T) {
	type waiting struct {
		id, at    int64
		important bool
		branch    string
	}
	tests := []struct {
		name      string
		perBranch bool
		timer     time.Duration
		waiting   []waiting
		want      string
	}{
		{"nothing", false, time.Minute, nil, "[] 0"},
		{"not yet", false, time.Minute, []waiting{{1, 50, true, "a"}}, "[] 110"},
		{"at the second", false, time.Minute, []waiting{{1, 40, true, "a"}}, "[[1]] 0"},
		{"long since", false, time.Minute, []waiting{{1, 1, true, "a"}}, "[[1]] 0"},
		{"the newest counts", false, time.Minute, []waiting{{1, 30, true, "a"}, {2, 60, true, "a"}}, "[] 120"},
		{"all together", false, time.Minute, []waiting{{1, 30, true, "a"}, {2, 35, true, "b"}}, "[[1 2]] 0"},
		{"unimportant ones alone", false, time.Minute, []waiting{{1, 1, false, "a"}}, "[] 0"},
		{"unimportant ones come along", false, time.Minute, []waiting{{1, 1, false, "a"}, {2, 2, true, "a"}}, "[[1 2]] 0"},
		{"unimportant ones put it off", false, time.Minute, []waiting{{1, 1, true, "a"}, {2, 70, false, "a"}}, "[] 130"},
		{"by branch", true, time.Minute, []waiting{{1, 30, true, "a"}, {2, 60, true, "b"}, {3, 50, true, "c"}}, "[[1]] 110"},
		{"two branches", true, time.Minute, []waiting{{2, 30, true, "b"}, {1, 31, true, "a"}, {3, 32, true, "b"}}, "[[1] [2 3]] 0"},
		{"the default branch is one", true, time.Minute, []waiting{{1, 30, true, ""}, {2, 31, true, "a"}}, "[[1] [2]] 0"},
		{"the timer became none", false, 0, []waiting{{1, 30, true, "a"}, {2, 100, true, "a"}}, "[[1 2]] 0"},
	}
	for _, tt := range tests {
		s := &Stable{PerBranch: tt.perBranch, Timer: tt.timer}
		var in []state.SchedulerChange
		for _, w := range tt.waiting {
			c := state.SchedulerChange{ChangeID: w.id, Important: w.important, ReceivedAt: state.Time(w.at * 1000)}
			if w.branch != "" {
				c.Branch = &w.branch
			}
			in = append(in, c)
		}
		sets, next := s.due(in, 100_000)
		seconds := int64(0)
		if !next.IsZero() {
			seconds = next.Unix()
		}
		if got := fmt.Sprint(sets, seconds); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// When a timed scheduler builds next, and whether it has something to build, in seconds.
func TestTimedNext(t *testing.T) {
	nightly := &Timed{Cron: cron(t, "0 * * * *")}
	periodic := &Timed{Every: 100 * time.Second}
	tests := []struct {
		name             string
		s                *Timed
		last, since, now int64
		want             int64
	}{
		{"a periodic that never built", periodic, 0, 5000, 6000, 6000},
		{"a periodic that built", periodic, 6000, 5000, 6050, 6100},
		{"a periodic that is late", periodic, 6000, 5000, 9000, 6100},
		{"a nightly that never built", nightly, 0, 5000, 6000, 7200},
		{"a nightly that built", nightly, 7200, 5000, 7201, 10800},
		{"a nightly that is late", nightly, 7200, 5000, 99999, 10800},
		{"a nightly that was disabled", nightly, 7200, 15000, 15000, 18000},
	}
	for _, tt := range tests {
		last := actuation{At: state.Time(tt.last * 1000)}
		if got := tt.s.next(last, state.Time(tt.since*1000), state.Time(tt.now*1000)).Unix(); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestTimedIdle(t *testing.T) {
	important, other := []state.SchedulerChange{{}, {Important: true}}, []state.SchedulerChange{{}}
	hour := time.Date(2026, 1, 1, 3, 0, 0, 0, time.Local)
	always, changed := &Timed{}, &Timed{OnlyIfChanged: true}
	forced := &Timed{OnlyIfChanged: true, Force: cron(t, "0 3 * * *")}
	tests := []struct {
		name    string
		s       *Timed
		last    actuation
		at      time.Time
		waiting []state.SchedulerChange
		want    bool
	}{
		{"no condition", always, actuation{At: 1}, hour, nil, false},
		{"no change", changed, actuation{1, true}, hour, nil, true},
		{"an unimportant change", changed, actuation{1, true}, hour, other, true},
		{"an important change", changed, actuation{1, true}, hour, important, false},
		{"the first time", changed, actuation{}, hour, nil, false},
		{"the first time with the condition", changed, actuation{1, false}, hour, nil, false},
		{"forced now", forced, actuation{1, true}, hour, nil, false},
		{"forced at another time", forced, actuation{1, true}, hour.Add(time.Hour), nil, true},
	}
	for _, tt := range tests {
		if got := tt.s.idle(tt.last, tt.at, tt.waiting); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}
