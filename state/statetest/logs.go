package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"buildstar/state"
	"github.com/google/go-cmp/cmp"
)

// ExerciseLogs checks what every state.LogStore promises. open returns an empty store;
// the suite closes what it opens.
func ExerciseLogs(t *testing.T, open func(t *testing.T) state.LogStore) {
	tests := []struct {
		name string
		run  func(*testing.T, state.LogStore)
	}{
		{"what is appended can be read at once", logsReadBack},
		{"lines keep their stream, number and time", logsRuns},
		{"any part can be read", logsParts},
		{"several logs of a build do not mix", logsApart},
		{"a long line arrives whole", logsLongLine},
		{"the position of a command is remembered", logsResume},
		{"bad appends change nothing", logsRefused},
		{"what nobody wrote is empty", logsMissing},
		{"a build has one writer", logsOneWriter},
		{"a build goes on", logsReopen},
		{"a closed build reads the same", logsClosed},
		{"a reopened build goes on", logsReopened},
		{"a deleted build is empty", logsDelete},
		{"readers beside the writer see whole appends", logsBeside},
		{"reading stops when told to", logsStop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			tt.run(t, s)
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// same compares lines; only when they differ is it worth finding out where.
func same(t *testing.T, want, got []line) {
	t.Helper()
	if !slices.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
}

// line is one line as a reader sees it.
type line struct {
	N      int64
	Stream byte
	Text   string
	At     state.Time
}

// readLines returns lines of a log and checks the form in which they come.
func readLines(t *testing.T, s state.LogStore, build, log, from, limit int64) []line {
	t.Helper()
	var all []line
	err := s.Lines(t.Context(), build, log, from, limit, func(r state.LogRun) error {
		if !bytes.HasSuffix(r.Text, []byte("\n")) {
			return fmt.Errorf("run at line %d does not end with a line feed", r.First)
		}
		for i, text := range strings.SplitAfter(string(r.Text[:len(r.Text)-1]), "\n") {
			l := line{N: r.First + int64(i), Stream: r.Stream, Text: strings.TrimSuffix(text, "\n")}
			if len(r.Times) > 0 {
				l.At = r.Times[min(i, len(r.Times)-1)]
			}
			all = append(all, l)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Lines(%d, %d, %d, %d): %v", build, log, from, limit, err)
	}
	return all
}

func openBuild(t *testing.T, s state.LogStore, build int64) state.LogSegment {
	t.Helper()
	g, err := s.OpenBuild(build)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func appendTo(t *testing.T, g state.LogSegment, log int64, runs ...state.LogRun) {
	t.Helper()
	if err := g.Append(log, state.Resume{}, runs...); err != nil {
		t.Fatal(err)
	}
}

func out(text string) state.LogRun { return state.LogRun{Stream: 'o', Text: []byte(text)} }

func logsReadBack(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	appendTo(t, g, 7, out("a\n"))
	want := []line{{0, 'o', "a", 0}}
	same(t, want, readLines(t, s, 1, 7, 0, -1))
	appendTo(t, g, 7, out("b\nc\n"))
	want = append(want, line{1, 'o', "b", 0}, line{2, 'o', "c", 0})
	same(t, want, readLines(t, s, 1, 7, 0, -1))
	if n, err := s.NumLines(1, 7); n != 3 || err != nil {
		t.Errorf("NumLines = %d, %v; want 3", n, err)
	}
}

func logsRuns(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	appendTo(t, g, 7,
		state.LogRun{Stream: 'h', Text: []byte("sh -c x\n"), Times: []state.Time{5}},
		state.LogRun{Stream: 'o', Text: []byte("1\n\n3\n"), Times: []state.Time{5, 6}},
		state.LogRun{Stream: 'e', Text: []byte("oops\n"), Times: []state.Time{4}})
	appendTo(t, g, 7, state.LogRun{Stream: 'e', Text: []byte("more\n")})
	want := []line{{0, 'h', "sh -c x", 5}, {1, 'o', "1", 5}, {2, 'o', "", 6}, {3, 'o', "3", 6}, {4, 'e', "oops", 4}, {5, 'e', "more", 0}}
	for range 2 {
		same(t, want, readLines(t, s, 1, 7, 0, -1))
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fill appends random lines in appends of random sizes and returns them.
func fill(t *testing.T, g state.LogSegment, log int64, rng *rand.Rand, n int, width int) []line {
	t.Helper()
	var all []line
	var batch []state.LogRun
	for len(all) < n {
		r := state.LogRun{Stream: "oeh"[rng.IntN(3)]}
		for range 1 + rng.IntN(300) {
			l := line{int64(len(all)), r.Stream, strings.Repeat(string(rune('a'+len(all)%26)), rng.IntN(width)), state.Time(1000 + rng.IntN(3))}
			all = append(all, l)
			r.Text = append(append(r.Text, l.Text...), '\n')
			r.Times = append(r.Times, l.At)
		}
		if batch = append(batch, r); rng.IntN(4) > 0 {
			appendTo(t, g, log, batch...)
			batch = nil
		}
	}
	if batch != nil {
		appendTo(t, g, log, batch...)
	}
	return all
}

func logsParts(t *testing.T, s state.LogStore) {
	rng := rand.New(rand.NewPCG(1, 2))
	g := openBuild(t, s, 1)
	all := fill(t, g, 7, rng, 10_000, 80)
	n := int64(len(all))
	check := func() {
		t.Helper()
		same(t, all, readLines(t, s, 1, 7, 0, -1))
		for range 100 {
			from, limit := rng.Int64N(n+10), rng.Int64N(3000)
			want := all[min(from, n):min(from+limit, n)]
			same(t, want, readLines(t, s, 1, 7, from, limit))
		}
	}
	check()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	check()
}

func logsApart(t *testing.T, s state.LogStore) {
	rng := rand.New(rand.NewPCG(3, 4))
	g := openBuild(t, s, 1)
	h := openBuild(t, s, 1001)
	want := map[[2]int64][]string{}
	for i := range 3000 {
		log := rng.Int64N(4)
		text := fmt.Sprint(i)
		appendTo(t, g, log, out(text+"\n"))
		appendTo(t, h, log, out("-"+text+"\n"))
		want[[2]int64{1, log}] = append(want[[2]int64{1, log}], text)
		want[[2]int64{1001, log}] = append(want[[2]int64{1001, log}], "-"+text)
	}
	for range 2 {
		for k, texts := range want {
			var got []string
			for _, l := range readLines(t, s, k[0], k[1], 0, -1) {
				got = append(got, l.Text)
			}
			if diff := cmp.Diff(texts, got); diff != "" {
				t.Errorf("build %d log %d: %s", k[0], k[1], diff)
			}
		}
		if err := errors.Join(g.Close(), h.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func logsLongLine(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	long := strings.Repeat("é", 16<<20)
	appendTo(t, g, 7, out("before\n"), out(long+"\nafter\n"))
	for range 2 {
		got := readLines(t, s, 1, 7, 0, -1)
		if len(got) != 3 || got[0].Text != "before" || got[1].Text != long || got[2].Text != "after" {
			t.Fatalf("got %d lines, lengths differ or text does", len(got))
		}
		if got := readLines(t, s, 1, 7, 2, 1); len(got) != 1 || got[0].Text != "after" {
			t.Fatalf("got %v", got)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func logsResume(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	if _, ok := g.Resume("1-1"); ok {
		t.Error("Resume of an unknown command is ok")
	}
	for i := range 100 {
		if err := g.Append(7, state.Resume{CommandID: "1-1", Update: int64(i)}, out(strings.Repeat("x", 1000)+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	// An update may carry no text: it moves the position on all the same.
	if err := g.Append(7, state.Resume{CommandID: "1-2", Update: 9}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for id, want := range map[string]int64{"1-1": 99, "1-2": 9} {
			if got, ok := g.Resume(id); got != want || !ok {
				t.Errorf("Resume(%s) = %d, %v; want %d", id, got, ok, want)
			}
		}
	}
	check()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = openBuild(t, s, 1)
	check()
	if n, err := s.NumLines(1, 7); n != 100 || err != nil {
		t.Errorf("NumLines = %d, %v; want 100", n, err)
	}
}

func logsRefused(t *testing.T, s state.LogStore) {
	g := openBuild(t, s, 1)
	appendTo(t, g, 7, out("a\n"))
	for _, runs := range [][]state.LogRun{
		{out("no line feed")},
		{out("b\n"), out("")},
		{out("b\n"), {Stream: 'x', Text: []byte("c\n")}},
	} {
		if err := g.Append(7, state.Resume{}, runs...); err == nil {
			t.Errorf("Append(%v) worked", runs)
		}
	}
	if got := readLines(t, s, 1, 7, 0, -1); len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Append(7, state.Resume{}, out("b\n")); err == nil {
		t.Error("Append after Close worked")
	}
}
