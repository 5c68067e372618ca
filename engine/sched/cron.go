package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cron says at which minutes of the calendar something happens, in local time
// (docs/requirements.md C6). The zero Cron never happens.
type Cron struct {
	Minute, Hour, Month CronSet
	Day                 CronSet // of the month
	Weekday             CronSet // 0 is Sunday, as cron counts
}

// CronSet are the values of one field of a [Cron].
type CronSet struct {
	Text   string // as it was given, for messages
	Any    bool   // "*": every value
	Values []int  // sorted
	Last   bool   // of Day: L, the last day of the month
	Nth    []Nth  // of Weekday
}

// Nth is one day of the week in a month: 5#3 is the third Friday, L5 the last one.
type Nth struct{ Weekday, N int } // N 0: the last

// CronField is a kind of field: its range, and the names of values.
type CronField struct {
	Name     string
	min, max int
	names    []string // of min, min+1 ...
}

// The kinds of fields.
var (
	CronMinute  = CronField{"minute", 0, 59, nil}
	CronHour    = CronField{"hour", 0, 23, nil}
	CronDay     = CronField{"dayOfMonth", 1, 31, nil}
	CronMonth   = CronField{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}}
	CronWeekday = CronField{"dayOfWeek", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}
)

// Parse reads a field: "*", values, ranges a-b, steps */n and a-b/n, and lists of
// these; months and days of the week by name too. dayOfMonth also has L, the last day,
// dayOfWeek also 5#3, the third Friday, and L5, the last one.
func (k CronField) Parse(text string) (CronSet, error) {
	f := CronSet{Text: text, Any: strings.TrimSpace(text) == "*"}
	for part := range strings.SplitSeq(text, ",") {
		part = strings.ToLower(strings.TrimSpace(part))
		if err := k.add(&f, part); err != nil {
			return f, fmt.Errorf("%q: %w", part, err)
		}
	}
	slices.Sort(f.Values)
	f.Values = slices.Compact(f.Values)
	return f, nil
}

func (k CronField) add(f *CronSet, part string) error {
	weekday := k.Name == CronWeekday.Name
	switch {
	case part == "l" && k.Name == CronDay.Name:
		f.Last = true
		return nil
	case weekday && len(part) > 1 && part[0] == 'l':
		d, err := k.value(part[1:])
		f.Nth = append(f.Nth, Nth{d % 7, 0})
		return err
	case weekday && strings.Contains(part, "#"):
		day, nth, _ := strings.Cut(part, "#")
		d, err := k.value(day)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(nth)
		if err != nil || n < 1 || n > 5 {
			return fmt.Errorf("a month has at most 5 of each day: write %s#1 to %s#5", day, day)
		}
		f.Nth = append(f.Nth, Nth{d % 7, n})
		return nil
	}
	body, stepText, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		var err error
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
			return fmt.Errorf("want a step of at least 1 after the /, got %q", stepText)
		}
	}
	from, to, err := k.span(body, stepped)
	if err != nil {
		return err
	}
	for v := from; v <= to; v += step {
		f.Values = append(f.Values, k.wrap(v))
	}
	return nil
}

// span returns the values of a body as a range, whose end may lie beyond the last
// value: fri-mon.
func (k CronField) span(body string, stepped bool) (from, to int, err error) {
	top := k.max
	if k.Name == CronWeekday.Name {
		top = 6 // 7 is Sunday again
	}
	if body == "*" {
		return k.min, top, nil
	}
	a, b, ranged := strings.Cut(body, "-")
	if from, err = k.value(a); err != nil {
		return 0, 0, err
	}
	switch {
	case ranged:
		if to, err = k.value(b); err != nil {
			return 0, 0, err
		}
		if to < from {
			to += top - k.min + 1
		}
	case stepped:
		to = top
	default:
		to = from
	}
	return from, to, nil
}

// wrap returns a value beyond the last one as that from the start; Sunday is 0.
func (k CronField) wrap(v int) int {
	if k.Name == CronWeekday.Name {
		return v % 7
	}
	if v > k.max {
		v -= k.max - k.min + 1
	}
	return v
}

func (k CronField) value(text string) (int, error) {
	if i := slices.Index(k.names, text); i >= 0 {
		return k.min + i, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		names := ""
		if k.names != nil {
			names = fmt.Sprintf(", or a name such as %q", k.names[0])
		}
		return 0, fmt.Errorf("want a number%s", names)
	}
	if n < k.min || n > k.max {
		return 0, fmt.Errorf("want %d to %d", k.min, k.max)
	}
	return n, nil
}

// Within reports whether every value of f is one of g.
func (f CronSet) Within(g CronSet) bool {
	if g.Any {
		return true
	}
	in := func(v int) bool { return slices.Contains(g.Values, v) }
	for _, v := range f.Values {
		if !in(v) {
			return false
		}
	}
	for _, n := range f.Nth {
		if !in(n.Weekday) && !slices.Contains(g.Nth, n) {
			return false
		}
	}
	return !f.Last || g.Last
}

// horizon is how many days Next looks ahead: February 29th may be 8 years away, and one
// that is a Monday 40.
const horizon = 41 * 366

// Next returns the first time after t, in the location of t; the zero time if there is
// none. Each time of the wall clock counts once: one that a clock put forward skips
// happens as it is put forward, and of an hour that comes twice the first one counts.
// Only where every hour counts, both do.
func (c *Cron) Next(t time.Time) time.Time {
	y, m, d := t.Date()
	for i := -1; i < horizon; i++ {
		day := time.Date(y, m, d+i, 12, 0, 0, 0, time.UTC) // noon: only its date counts
		if !c.matchesDay(day) {
			continue
		}
		var first time.Time
		for _, at := range c.timesOf(day, t.Location()) {
			if at.After(t) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		if !first.IsZero() {
			return first
		}
	}
	return time.Time{}
}

// Matches reports whether t, to the minute, is one of the times.
func (c *Cron) Matches(t time.Time) bool {
	t = t.Truncate(time.Minute)
	return c.Next(t.Add(-1)).Equal(t)
}

func (c *Cron) matchesDay(day time.Time) bool {
	if !slices.Contains(c.Month.Values, int(day.Month())) {
		return false
	}
	last := day.AddDate(0, 0, 1).Day() == 1
	inMonth := slices.Contains(c.Day.Values, day.Day()) || c.Day.Last && last
	inWeek := slices.Contains(c.Weekday.Values, int(day.Weekday()))
	for _, n := range c.Weekday.Nth {
		if n.Weekday != int(day.Weekday()) {
			continue
		}
		if n.N == 0 {
			inWeek = inWeek || day.AddDate(0, 0, 7).Month() != day.Month()
		} else {
			inWeek = inWeek || (day.Day()-1)/7+1 == n.N
		}
	}
	if !c.Day.Any && !c.Weekday.Any { // as cron does: either is enough
		return inMonth || inWeek
	}
	return inMonth && inWeek
}

// timesOf returns the times of a day that matches, in no order.
func (c *Cron) timesOf(day time.Time, loc *time.Location) []time.Time {
	y, m, d := day.Date()
	var out []time.Time
	for _, hour := range c.Hour.Values {
		for _, minute := range c.Minute.Values {
			times := wallTimes(time.Date(y, m, d, hour, minute, 0, 0, time.UTC), loc)
			if !c.Hour.Any {
				times = times[:1]
			}
			out = append(out, times...)
		}
	}
	return out
}

// wallTimes returns when the clocks of a location show what wall shows in UTC: at least
// one time, in order. Where they are put forward past it, it is the time at which that
// happens.
func wallTimes(wall time.Time, loc *time.Location) []time.Time {
	const day = 24 * time.Hour
	_, before := wall.Add(-day).In(loc).Zone()
	_, after := wall.Add(day).In(loc).Zone()
	var out []time.Time
	for _, offset := range []int{before, after} {
		t := wall.Add(-time.Duration(offset) * time.Second).In(loc)
		if _, is := t.Zone(); is == offset && !slices.ContainsFunc(out, t.Equal) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		gap, _ := wall.Add(-time.Duration(before) * time.Second).In(loc).ZoneBounds()
		out = append(out, gap)
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}
