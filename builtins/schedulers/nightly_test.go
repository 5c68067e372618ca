package schedulers

import (
	"testing"
	"time"
)

// until lets time pass until a second before, and a second after, a time of the day.
func (r *rig) at(day, hour, minute int, want string) {
	r.t.Helper()
	now := time.Now()
	at := time.Date(now.Year(), now.Month(), day, hour, minute, 0, 0, time.Local)
	r.pass(time.Until(at) - time.Second)
	r.expect("")
	r.pass(2 * time.Second)
	r.expect(want)
}

// A bubble begins on Saturday, January 1st 2000, in UTC.
func begin(r *rig, day int) {
	r.pass(time.Until(time.Date(2000, 1, day, 0, 0, 0, 0, time.Local)))
	r.sets()
}

func TestNightly(t *testing.T) {
	inRig(t, `schedulers.Nightly("n", ["a"], hour=3, minute=30)`, func(r *rig) {
		begin(r, 3)
		r.pass(4 * time.Hour)
		if set := r.rows()[0]; set.Reason != "The Nightly scheduler named 'n' triggered this build" {
			t.Errorf("reason %q", set.Reason)
		}
		r.at(4, 3, 30, "n:a -@-")
		r.restart(3 * 24 * time.Hour) // made up once
		r.expect("n:a -@-")
		r.at(8, 3, 30, "n:a -@-")
	})
}

func TestNightlyFields(t *testing.T) {
	for _, tt := range []struct {
		args             string
		day, hour, minut int // the first time after January 3rd, a Monday
	}{
		{``, 3, 1, 0},
		{`minute=20`, 3, 0, 20},
		{`minute=[40, 50]`, 3, 0, 40},
		{`minute="*/45"`, 3, 0, 45},
		{`hour=5`, 3, 5, 0},
		{`hour="6-8"`, 3, 6, 0},
		{`dayOfMonth=7, hour=0`, 7, 0, 0},
		{`dayOfMonth="L", hour=0`, 31, 0, 0},
		{`dayOfMonth=[5, 9], hour=0`, 5, 0, 0},
		{`dayOfWeek=6, hour=0`, 9, 0, 0},
		{`dayOfWeek=[5, 4], hour=0`, 7, 0, 0},
		{`dayOfWeek="5,6", hour=0`, 8, 0, 0},
		{`dayOfWeek="5-6", hour=0`, 7, 0, 0}, // as in crontab: Friday and Saturday
		{`dayOfWeek="sun", hour=0`, 9, 0, 0},
		{`dayOfWeek="5#3", hour=0`, 21, 0, 0},
		{`month="jan", dayOfMonth=5, hour=0`, 5, 0, 0},
		{`month=[1, 4], dayOfMonth=6, hour=0`, 6, 0, 0},
	} {
		t.Run(tt.args, func(t *testing.T) {
			inRig(t, `schedulers.Nightly("n", ["a"], `+tt.args+`)`, func(r *rig) {
				begin(r, 3)
				r.at(tt.day, tt.hour, tt.minut, "n:a -@-")
			})
		})
	}
	inRig(t, `schedulers.Nightly("n", ["a"], month="feb-dec")`, func(r *rig) {
		begin(r, 3)
		r.pass(27 * 24 * time.Hour)
		r.expect("")
	})
}

func TestNightlyForceAt(t *testing.T) {
	for _, forced := range []string{
		`force_at_hour=3`, `force_at_hour="3", force_at_minute=0`, `force_at_minute=0, force_at_hour=[3]`,
	} {
		inRig(t, `schedulers.Nightly("n", ["a"], onlyIfChanged=True, hour="*/3", `+forced+`)`, func(r *rig) {
			begin(r, 3)
			r.at(3, 3, 0, "n:a -@-")
			r.at(3, 6, 0, "")
			r.change("main")
			r.at(3, 9, 0, "n:a main@r1")
			r.at(4, 0, 0, "")
			r.at(4, 3, 0, "n:a -@-")
		})
	}
	for _, forced := range []string{
		`force_at_day_of_month=4`, `force_at_day_of_week=1`, `force_at_day_of_month=4, force_at_month="jan"`,
	} {
		inRig(t, `schedulers.Nightly("n", ["a"], onlyIfChanged=True, hour=3, `+forced+`)`, func(r *rig) {
			begin(r, 3)
			r.at(3, 3, 0, "")
			r.at(4, 3, 0, "n:a -@-")
			r.at(5, 3, 0, "")
		})
	}
	inRig(t, `schedulers.Nightly("n", ["a"], onlyIfChanged=True, hour=3, force_at_month=2)`, func(r *rig) {
		begin(r, 3)
		r.at(3, 3, 0, "")
	})
}
