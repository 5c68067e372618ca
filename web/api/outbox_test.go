package api

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"buildstar/state"
)

// row makes a frame of an event about a row.
func rowFrame(seq uint64, key string, row any) frame {
	return newFrame(&event{seq: seq, keys: []string{key}, row: row, json: fmt.Appendf(nil, "%d", seq)}, key)
}

// drain returns the keys and positions of what can be sent now.
func drain(o *outbox, now time.Time) string {
	var out []string
	for {
		f, safe, ok, _, code, _ := o.next(now)
		switch {
		case code != 0:
			return strings.Join(append(out, fmt.Sprintf("close %d", code)), " ")
		case !ok:
			return strings.Join(out, " ")
		case f.seq == 0:
			out = append(out, string(f.json))
		default:
			out = append(out, fmt.Sprintf("%s=%s@%d", f.key, f.json, safe))
		}
	}
}

func TestOutboxCoalesces(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name string
		push []frame
		want string
	}{
		{"updates of a row replace each other",
			[]frame{rowFrame(1, "builds/1/update", nil), rowFrame(2, "builds/2/update", nil), rowFrame(3, "builds/1/update", nil)},
			"builds/2/update=2@2 builds/1/update=3@3"},
		{"the end of a build replaces its update",
			[]frame{rowFrame(1, "builds/1/update", nil), rowFrame(2, "builds/1/finished", nil)},
			"builds/1/finished=2@2"},
		{"its beginning stays",
			[]frame{rowFrame(1, "builds/1/new", nil), rowFrame(2, "builds/1/update", nil), rowFrame(3, "builds/1/update", nil)},
			"builds/1/new=1@1 builds/1/update=3@3"},
		{"changed properties are not the whole",
			[]frame{rowFrame(1, "builds/1/properties/update", state.Properties{}), rowFrame(2, "builds/1/properties/update", state.Properties{})},
			"builds/1/properties/update=1@1 builds/1/properties/update=2@2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newOutbox(true)
			for _, f := range tt.push {
				o.push(f)
			}
			if got := drain(o, now); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// A row comes at most ten times a second, others overtake it, and the position
// given meanwhile is before the update that waits.
func TestOutboxPaces(t *testing.T) {
	now := time.Now()
	o := newOutbox(true)
	o.push(rowFrame(1, "logs/7/append", nil))
	if got := drain(o, now); got != "logs/7/append=1@1" {
		t.Errorf("first: %s", got)
	}
	o.push(rowFrame(2, "logs/7/append", nil))
	o.push(rowFrame(3, "builds/1/new", nil))
	if got := drain(o, now.Add(10*time.Millisecond)); got != "builds/1/new=3@1" {
		t.Errorf("at once: %s", got)
	}
	if _, _, ok, wait, _, _ := o.next(now.Add(40 * time.Millisecond)); ok || wait != 60*time.Millisecond {
		t.Errorf("waits %v", wait)
	}
	if got := drain(o, now.Add(100*time.Millisecond)); got != "logs/7/append=2@3" {
		t.Errorf("later: %s", got)
	}
}

func TestOutboxOverflows(t *testing.T) {
	now := time.Now()
	for _, ours := range []bool{true, false} {
		o := newOutbox(ours)
		o.control([]byte("ack"))
		for i := range uint64(3 * maxFrames) {
			o.push(rowFrame(i+1, fmt.Sprintf("builds/%d/new", i), nil))
		}
		if len(o.frames) > maxFrames+1 {
			t.Errorf("holds %d frames", len(o.frames))
		}
		got := drain(o, now)
		if ours && (!strings.HasPrefix(got, `ack {"resync":true} builds/`) || strings.Count(got, "resync") != 1) {
			t.Errorf("ours: %.80s", got)
		}
		if !ours && got != "close 1013" {
			t.Errorf("others: %.80s", got)
		}
	}
	big := newOutbox(true)
	for i := range uint64(100) {
		f := rowFrame(i+1, fmt.Sprintf("buildsets/%d/new", i), nil)
		f.json = make([]byte, 100<<10)
		big.push(f)
	}
	if big.bytes > maxFrameBytes+200<<10 {
		t.Errorf("holds %d bytes", big.bytes)
	}
	flood := newOutbox(true)
	for range maxFrames + 1 {
		flood.control([]byte("ack"))
	}
	if got := drain(flood, now); got != "close 1013" {
		t.Errorf("acknowledgements nobody reads: %.80s", got)
	}
}

// Whenever a client is cut off and comes back with the last position it was given,
// it ends with the newest state of every row.
func TestOutboxNeverLosesARow(t *testing.T) {
	verbs := []string{"new", "update", "append", "finished"}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		now := time.Now()
		var events []frame
		truth, client := map[string]uint64{}, map[string]uint64{}
		o, pos := newOutbox(true), uint64(0)
		read := func(n int) {
			for range n {
				f, safe, ok, _, _, _ := o.next(now)
				if !ok {
					return
				}
				if f.seq < client[f.path] && f.full && safe >= f.seq {
					t.Fatalf("seed %d: %s goes back from %d to %d", seed, f.path, client[f.path], f.seq)
				}
				client[f.path] = max(client[f.path], f.seq)
				pos = safe
			}
		}
		for i := range uint64(100) {
			f := rowFrame(i+1, fmt.Sprintf("builds/%d/%s", rnd.IntN(4), verbs[rnd.IntN(4)]), nil)
			events = append(events, f)
			truth[f.path] = f.seq
			o.push(f)
			now = now.Add(time.Duration(rnd.IntN(40)) * time.Millisecond)
			read(rnd.IntN(3))
			if rnd.IntN(10) == 0 { // cut off
				o = newOutbox(true)
				for _, e := range events {
					if e.seq > pos {
						o.push(e)
					}
				}
			}
		}
		for range 10 {
			now = now.Add(keyInterval)
			read(1000)
		}
		for path, seq := range truth {
			if client[path] != seq {
				t.Fatalf("seed %d: client has %s at %d, it is at %d", seed, path, client[path], seq)
			}
		}
	}
}

func TestTrie(t *testing.T) {
	a, b := &socket{}, &socket{}
	var tr trie
	tr.add("builds/*/*", a)
	tr.add("builds/1/new", a)
	tr.add("*/1/*", b)
	tr.add("builds/1/steps/*/*", b)
	count := func(key string) string {
		n := map[*socket]int{}
		tr.match(key, func(s *socket) { n[s]++ })
		return fmt.Sprint(n[a], n[b])
	}
	for key, want := range map[string]string{
		"builds/1/new": "2 1", "builds/2/new": "1 0", "workers/1/new": "0 1", "builds/1": "0 0", "builds/1/steps/4/new": "0 1", "": "0 0", "builds/1/new/x": "0 0",
	} {
		if got := count(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	tr.remove("builds/*/*", a)
	tr.remove("builds/*/*", a)
	tr.remove("nothing/*/*", a)
	tr.remove("builds/1/new", a)
	tr.remove("*/1/*", b)
	tr.remove("builds/1/steps/*/*", b)
	if len(tr.words) > 0 || tr.star != nil {
		t.Error("branches are left over")
	}
}
