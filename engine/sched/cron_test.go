package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func TestCronParse(t *testing.T) {
	tests := []struct {
		kind CronField
		text string
		want string // of the values; an error text if it begins with "!"
	}{
		{CronMinute, "5", "[5]"},
		{CronMinute, "50,5,5", "[5 50]"},
		{CronMinute, "*/20", "[0 20 40]"},
		{CronMinute, "10-20/5", "[10 15 20]"},
		{CronMinute, "50/5", "[50 55]"},
		{CronMinute, "58-1", "[0 1 58 59]"},
		{CronMinute, "60", `!"60": want 0 to 59`},
		{CronMinute, "x", `!"x": want a number`},
		{CronMinute, "", `!"": want a number`},
		{CronMinute, "*/0", `!"*/0": want a step of at least 1 after the /, got "0"`},
		{CronMinute, "1,,2", `!"": want a number`},
		{CronMinute, "L", `!"l": want a number`},
		{CronHour, "22-2/2", "[0 2 22]"},
		{CronDay, "0", `!"0": want 1 to 31`},
		{CronDay, "1,L", "[1]"},
		{CronMonth, "jan,Mar", "[1 3]"},
		{CronMonth, "nov-feb", "[1 2 11 12]"},
		{CronMonth, "13", `!"13": want 1 to 12`},
		{CronMonth, "foo", `!"foo": want a number, or a name such as "jan"`},
		{CronWeekday, "mon-fri", "[1 2 3 4 5]"},
		{CronWeekday, "sat-sun", "[0 6]"},
		{CronWeekday, "7", "[0]"},
		{CronWeekday, "5-7", "[0 5 6]"},
		{CronWeekday, "*", "[0 1 2 3 4 5 6]"},
		{CronWeekday, "fri#3", "[]"},
		{CronWeekday, "5#6", `!"5#6": a month has at most 5 of each day: write 5#1 to 5#5`},
		{CronWeekday, "L9", `!"l9": want 0 to 7`},
	}
	for _, tt := range tests {
		f, err := tt.kind.Parse(tt.text)
		got := fmt.Sprint(f.Values)
		if err != nil {
			got = "!" + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s %q: got %s, want %s", tt.kind.Name, tt.text, got, tt.want)
		}
	}
}

// cron parses "minute hour day month weekday".
func cron(t testing.TB, text string) *Cron {
	t.Helper()
	c := &Cron{}
	parts := strings.Fields(text)
	for i, f := range []struct {
		kind CronField
		into *CronSet
	}{{CronMinute, &c.Minute}, {CronHour, &c.Hour}, {CronDay, &c.Day}, {CronMonth, &c.Month}, {CronWeekday, &c.Weekday}} {
		set, err := f.kind.Parse(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		*f.into = set
	}
	return c
}

func berlin(t testing.TB) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func TestCronNext(t *testing.T) {
	const form = "2006-01-02 15:04:05 MST"
	tests := []struct{ cron, after, want string }{
		{"0 3 * * *", "2026-01-10 02:59:59 CET", "2026-01-10 03:00:00 CET"},
		{"0 3 * * *", "2026-01-10 03:00:00 CET", "2026-01-11 03:00:00 CET"},
		{"*/15 * * * *", "2026-01-10 23:50:00 CET", "2026-01-11 00:00:00 CET"},
		{"0 0 29 2 *", "2026-01-10 00:00:00 CET", "2028-02-29 00:00:00 CET"},
		{"0 0 L * *", "2026-02-10 00:00:00 CET", "2026-02-28 00:00:00 CET"},
		{"0 0 L * *", "2026-04-01 00:00:00 CEST", "2026-04-30 00:00:00 CEST"},
		{"0 0 * * mon", "2026-01-10 00:00:00 CET", "2026-01-12 00:00:00 CET"},
		{"0 0 * * fri#3", "2026-01-17 00:00:00 CET", "2026-02-20 00:00:00 CET"},
		{"0 0 * * Lfri", "2026-01-17 00:00:00 CET", "2026-01-30 00:00:00 CET"},
		{"0 0 13 * fri", "2026-01-03 00:00:00 CET", "2026-01-09 00:00:00 CET"}, // either is enough
		{"0 0 13 * fri", "2026-01-09 00:00:00 CET", "2026-01-13 00:00:00 CET"},
		{"0 0 31 2 *", "2026-01-03 00:00:00 CET", ""},
		// 2026-03-29: 02:00 CET is 03:00 CEST
		{"30 2 * * *", "2026-03-28 12:00:00 CET", "2026-03-29 03:00:00 CEST"},
		{"30 2 * * *", "2026-03-29 03:00:00 CEST", "2026-03-30 02:30:00 CEST"},
		{"0 * * * *", "2026-03-29 01:00:00 CET", "2026-03-29 03:00:00 CEST"},
		{"*/30 2,3 * * *", "2026-03-29 03:00:00 CEST", "2026-03-29 03:30:00 CEST"},
		// 2026-10-25: 03:00 CEST is 02:00 CET
		{"30 2 * * *", "2026-10-25 01:00:00 CEST", "2026-10-25 02:30:00 CEST"},
		{"30 2 * * *", "2026-10-25 02:30:00 CEST", "2026-10-26 02:30:00 CET"},
		{"30 * * * *", "2026-10-25 02:30:00 CEST", "2026-10-25 02:30:00 CET"},
		{"30 * * * *", "2026-10-25 02:30:00 CET", "2026-10-25 03:30:00 CET"},
	}
	for _, tt := range tests {
		after, err := time.ParseInLocation(form, tt.after, berlin(t))
		if err != nil {
			t.Fatal(err)
		}
		c := cron(t, tt.cron)
		got := c.Next(after)
		if text := got.Format(form); text != tt.want && !(got.IsZero() && tt.want == "") {
			t.Errorf("%s after %s: got %s, want %s", tt.cron, tt.after, text, tt.want)
		}
		if !got.IsZero() && !c.Matches(got) {
			t.Errorf("%s: %s does not match", tt.cron, got.Format(form))
		}
	}
}

// every returns the times of a span minute by minute, as the doc of Next has it.
func every(c *Cron, from, to time.Time) (all []time.Time) {
	seen := map[string]bool{}
	match := func(wall time.Time) bool {
		day := time.Date(wall.Year(), wall.Month(), wall.Day(), 12, 0, 0, 0, time.UTC)
		return c.matchesDay(day) && slices.Contains(c.Hour.Values, wall.Hour()) && slices.Contains(c.Minute.Values, wall.Minute())
	}
	wallOf := func(t time.Time) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), 0, 0, time.UTC)
	}
	last := wallOf(from.Add(-time.Minute))
	for t := from; t.Before(to); t = t.Add(time.Minute) {
		wall := wallOf(t)
		hit := match(wall) && (c.Hour.Any || !seen[wall.String()])
		seen[wall.String()] = true
		for skipped := last.Add(time.Minute); skipped.Before(wall); skipped = skipped.Add(time.Minute) {
			hit = hit || match(skipped)
		}
		last = wall
		if hit {
			all = append(all, t)
		}
	}
	return all
}

func FuzzCronNext(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo", "UTC"}
	days := []time.Time{
		time.Date(2026, 3, 27, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 23, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 6, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 2, 0, 0, 0, 0, time.UTC),
		time.Date(2018, 11, 2, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 22, 0, 0, 0, 0, time.UTC),
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		loc, err := time.LoadLocation(zones[r.IntN(len(zones))])
		if err != nil {
			t.Fatal(err)
		}
		pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
		text := strings.Join([]string{
			pick("0", "30", "*/20", "*", "59"), pick("*", "0", "2", "1-3", "23", "*/2"),
			pick("*", "*", "8", "L"), "*", pick("*", "*", "sun", "fri-sun", "sun#1"),
		}, " ")
		c := cron(t, text)
		from := days[r.IntN(len(days))].In(loc)
		to := from.Add(5 * 24 * time.Hour)
		want := every(c, from, to)
		want = slices.DeleteFunc(want, func(at time.Time) bool { return at.Sub(from) < 48*time.Hour })
		var got []time.Time
		for at := c.Next(from.Add(48*time.Hour - 1)); !at.IsZero() && at.Before(to); at = c.Next(at) {
			got = append(got, at)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("%s in %s from %s:\n got %v\nwant %v", text, loc, from, got, want)
		}
	})
}
