package ui

import (
	"context"
	"slices"
	"testing"

	"buildstar/config"
	"buildstar/state"
)

// The ring follows what happens without reading old builds again, whatever order
// builds end in.
func TestRecentFollows(t *testing.T) {
	f := newFixture(t)
	f.fill(t)
	var c recent
	look := func(builder int64) (numbers []int64) {
		t.Helper()
		err := f.store.View(context.Background(), func(tx state.ReadTx) error {
			if err := c.refresh(tx); err != nil {
				return err
			}
			ring, err := c.of(tx, builder)
			for _, p := range ring {
				numbers = append(numbers, p.Number)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return numbers
	}
	if got := look(4); !slices.Equal(got, []int64{4, 3, 2, 1}) {
		t.Fatalf("at first %v", got)
	}
	if got := look(3); len(got) != ringSize || got[0] != 18 {
		t.Fatalf("a long history: %v", got)
	}
	slow := f.addBuild(t, 4, state.Now(), config.Unfinished)
	if got := look(4); got[0] != 4 {
		t.Errorf("with one that runs: %v", got)
	}
	f.addBuild(t, 4, state.Now(), config.Success)
	if got := look(4); !slices.Equal(got, []int64{6, 4, 3, 2, 1}) {
		t.Errorf("after a later one ended: %v", got)
	}
	f.update(t, func(tx state.Tx) error {
		slow.Complete, slow.CompleteAt, slow.Results = true, state.Now(), config.Failure
		return tx.PutBuild(slow, "finished")
	})
	if got := look(4); !slices.Equal(got, []int64{6, 5, 4, 3, 2, 1}) {
		t.Errorf("after the slow one ended: %v", got)
	}
	// A ring that is first read from an older view still has what ended meanwhile.
	c.rings = map[int64][]past{}
	if got := look(4); !slices.Equal(got, []int64{6, 5, 4, 3, 2, 1}) {
		t.Errorf("read again: %v", got)
	}
}

func TestRedAndMedian(t *testing.T) {
	ring := func(rs ...config.Result) (ps []past) {
		for i, r := range rs {
			ps = append(ps, past{ID: int64(100 - i), Results: r, End: state.Time(1000 * (i + 1))})
		}
		return ps
	}
	for _, tt := range []struct {
		name          string
		ring          []past
		n             int
		newest, first int64
		median        int64
	}{
		{"nothing built", nil, 0, 0, 0, 0},
		{"green", ring(config.Success, config.Failure), 0, 0, 0, 1000},
		{"red twice", ring(config.Failure, config.Exception, config.Success), 2, 100, 99, 3000},
		{"cancelled says nothing", ring(config.Cancelled, config.Failure, config.Retry, config.Failure, config.Warnings), 2, 99, 97, 5000},
		{"never green", ring(config.Failure, config.Failure), 2, 100, 99, 2000},
		{"only cancelled", ring(config.Cancelled), 0, 0, 0, 0},
	} {
		n, newest, first := red(tt.ring)
		if n != tt.n || newest.ID != tt.newest || first.ID != tt.first {
			t.Errorf("%s: red %d, newest %d, first %d", tt.name, n, newest.ID, first.ID)
		}
		if m := median(tt.ring); m != tt.median {
			t.Errorf("%s: median %d, want %d", tt.name, m, tt.median)
		}
	}
}

func TestDuration(t *testing.T) {
	for ms, want := range map[int64]string{-1: "0 s", 0: "0 s", 340: "340 ms", 999: "999 ms", 1200: "1.2 s", 8000: "8 s", 9999: "9.9 s", 59_999: "59 s", 61_000: "1 m 01 s", 3_661_000: "1 h 01 m", 90_000_000: "1 d 1 h"} {
		if got := duration(ms); got != want {
			t.Errorf("duration(%d) = %q, want %q", ms, got, want)
		}
	}
}

func FuzzPlainText(f *testing.F) {
	for _, s := range []string{"a\x1b[1;31mb\x1b[0m", "10%\r20%\r", "\x1b]8;;http://x\x07l\x1b]8;;\x07", "\x1b", "\xff\x00\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range plainText(s) {
			if r < ' ' && r != '\t' || r == 0x7f {
				t.Fatalf("%q becomes %q", s, plainText(s))
			}
		}
	})
}

func TestPlainText(t *testing.T) {
	for s, want := range map[string]string{
		"\x1b[1;31mred\x1b[0m end": "red end", "10%\r50%\r100%": "100%", "done\r": "done", "a\tb": "a\tb", "bell\x07": "bell␛",
		"\x1b]8;;http://x\x07link\x1b]8;;\x07": "link", "\xffx": "�x",
	} {
		if got := plainText(s); got != want {
			t.Errorf("plainText(%q) = %q, want %q", s, got, want)
		}
	}
}
