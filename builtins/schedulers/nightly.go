package schedulers

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"buildstar/config/prop"
	"buildstar/engine/sched"
	"buildstar/starlark/spec"
)

// Nightly is schedulers.Nightly (docs/requirements.md C6).
var Nightly = &spec.Class{
	Module: "schedulers", Name: "Nightly",
	New:     func() any { return &nightly{Timed: Timed{Reason: triggered}} },
	Partial: true,
}

// nightly builds at times of the calendar, in local time. A time that a clock put
// forward skips is when it is put forward; of an hour that comes twice the first one
// counts, and both only with hour="*". If a time passed while the master was down, it
// builds once when it is back.
type nightly struct {
	// Name identifies the scheduler; builds have it as the property scheduler.
	Name string `star:"name"`
	// BuilderNames are the builders, or a renderable of their names; it sees the
	// attributes changes, files and sourcestamps of the properties.
	BuilderNames prop.Template[[]string] `star:"builderNames"`
	Calendar     `star:",kw"`
	ForceAt      `star:",kw"`
	Timed        `star:",kw"`
}

// Make makes the scheduler.
func (a *nightly) Make(c *spec.Call) any {
	s := a.timed(c, "Nightly", a.Name, a.BuilderNames)
	s.Cron, s.Force = a.crons(c, a.ForceAt)
	return s
}

// Calendar says at which minutes of the calendar: each part is a number, a list, or a
// string as in crontab, such as "*/15", "8-18" or "mon-fri".
type Calendar struct {
	// Minute is 0 to 59; the default is 0.
	Minute calendar `star:"minute,optional"`
	// Hour is 0 to 23; the default is "*", every one.
	Hour calendar `star:"hour,optional"`
	// DayOfMonth is 1 to 31, and "L" the last one; the default is "*".
	DayOfMonth calendar `star:"dayOfMonth,optional"`
	// Month is 1 to 12, or a name such as "jan"; the default is "*".
	Month calendar `star:"month,optional"`
	// DayOfWeek is a name such as "mon", or a number. Numbers alone and in lists count
	// from Monday, 0; those in ranges such as "1-5", and before # and after L, count
	// from Sunday, as in crontab. "5#3" is the third Friday, "L5" the last one. The
	// default is "*"; together with DayOfMonth, one of both is enough.
	DayOfWeek calendar `star:"dayOfWeek,optional"`
}

// ForceAt are times when OnlyIfChanged does not count.
type ForceAt struct {
	// ForceAtMinute, with the other ForceAt, are times when OnlyIfChanged does not
	// count. They must be among the times of the scheduler; a part that is left out is
	// that of the times.
	ForceAtMinute calendar `star:"force_at_minute,optional"`
	// ForceAtHour is the hour of these.
	ForceAtHour calendar `star:"force_at_hour,optional"`
	// ForceAtDayOfMonth is their day of the month.
	ForceAtDayOfMonth calendar `star:"force_at_day_of_month,optional"`
	// ForceAtMonth is their month.
	ForceAtMonth calendar `star:"force_at_month,optional"`
	// ForceAtDayOfWeek is their day of the week.
	ForceAtDayOfWeek calendar `star:"force_at_day_of_week,optional"`
}

// crons returns the times, and those that are forced; nil: none are.
func (a *Calendar) crons(c *spec.Call, force ForceAt) (times, forced *sched.Cron) {
	times, forced = &sched.Cron{}, &sched.Cron{}
	anyForced, bad := false, false
	for _, f := range []struct {
		kind               sched.CronField
		otherwise          string
		param, forcedParam string
		given, forcedGiven calendar
		times, forced      *sched.CronSet
	}{
		{sched.CronMinute, "0", "minute", "force_at_minute", a.Minute, force.ForceAtMinute, &times.Minute, &forced.Minute},
		{sched.CronHour, "*", "hour", "force_at_hour", a.Hour, force.ForceAtHour, &times.Hour, &forced.Hour},
		{sched.CronDay, "*", "dayOfMonth", "force_at_day_of_month", a.DayOfMonth, force.ForceAtDayOfMonth, &times.Day, &forced.Day},
		{sched.CronMonth, "*", "month", "force_at_month", a.Month, force.ForceAtMonth, &times.Month, &forced.Month},
		{sched.CronWeekday, "*", "dayOfWeek", "force_at_day_of_week", a.DayOfWeek, force.ForceAtDayOfWeek, &times.Weekday, &forced.Weekday},
	} {
		good := parseSet(c, f.kind, f.param, f.given.or(f.otherwise), f.times)
		if *f.forced = *f.times; f.forcedGiven.text != "" {
			anyForced = true
			good = parseSet(c, f.kind, f.forcedParam, f.forcedGiven.text, f.forced) && good
		}
		if bad = bad || !good || c.Bad(f.param) || c.Bad(f.forcedParam); !bad && !f.forced.Within(*f.times) {
			c.Problem("bad-value", f.forcedParam, fmt.Sprintf("%s is not within %s = %s", f.forced.Text, f.param, f.times.Text), "")
		}
	}
	if !bad && times.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		c.Problem("bad-value", "dayOfMonth", "no month that is given has such a day: it would never build", "")
	}
	if !anyForced {
		forced = nil
	}
	return times, forced
}

func parseSet(c *spec.Call, kind sched.CronField, param, text string, into *sched.CronSet) bool {
	set, err := kind.Parse(mondayFirst(kind, text))
	if err != nil {
		c.Problem("bad-value", param, err.Error(), `write a number, a list, or a string as in crontab, such as "*/15"`)
		return false
	}
	set.Text = text
	*into = set
	return true
}

// mondayFirst makes numbers that count from Monday count from Sunday: those that stand
// alone or in a list.
func mondayFirst(kind sched.CronField, text string) string {
	if kind.Name != sched.CronWeekday.Name {
		return text
	}
	parts := strings.Split(text, ",")
	for i, p := range parts {
		if n, err := strconv.Atoi(strings.TrimSpace(p)); err == nil && n >= 0 && n <= 6 {
			parts[i] = strconv.Itoa((n + 1) % 7)
		}
	}
	return strings.Join(parts, ",")
}

// calendar is a part of the calendar as text.
type calendar struct{ text string }

// TypeName is what messages call it.
func (calendar) TypeName() string { return "number, list, or string as in crontab" }

// FromValue reads it; None is not given.
func (p *calendar) FromValue(v any) error {
	items, list := v.([]any)
	if v == nil {
		return nil
	}
	if !list {
		items = []any{v}
	}
	var texts []string
	for _, e := range items {
		switch e := e.(type) {
		case int64:
			texts = append(texts, strconv.FormatInt(e, 10))
		case string:
			texts = append(texts, e)
		default:
			return fmt.Errorf("want %s, got %s", p.TypeName(), prop.Describe(e))
		}
	}
	if p.text = strings.Join(texts, ","); p.text == "" {
		return fmt.Errorf("it is empty: leave it out for the default")
	}
	return nil
}

func (p calendar) or(otherwise string) string {
	if p.text == "" {
		return otherwise
	}
	return p.text
}
