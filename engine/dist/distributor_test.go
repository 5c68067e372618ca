package dist

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"buildstar/config"
	"buildstar/engine/run"
	"buildstar/state"
	"buildstar/state/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bare returns a distributor whose goroutine is the test's.
func bare(start func(Start)) *Distributor {
	var d *Distributor
	locks := run.NewLocks(func() { d.LocksFreed() })
	d = New(Options{Locks: locks, Logger: slog.New(slog.DiscardHandler), Start: start})
	return d
}

// farm is a configuration of builders with five of the workers each.
func farm(builders, workers int) (*config.Snapshot, map[string]int64) {
	s := config.Snapshot{}
	ids := map[string]int64{}
	for i := range workers {
		s.Workers = append(s.Workers, &config.Worker{Name: fmt.Sprintf("w%d", i), MaxBuilds: 1})
	}
	for i := range builders {
		b := &config.Builder{Name: fmt.Sprintf("b%d", i), Factory: &config.Factory{}}
		for k := range min(5, workers) {
			b.Workers = append(b.Workers, fmt.Sprintf("w%d", (i*7+k*101)%workers))
		}
		ids[b.Name] = int64(i + 1)
		s.Builders = append(s.Builders, b)
	}
	return config.New(s), ids
}

// What was to be said of a request when it comes back is forgotten when it does not.
func TestHintOfCompleteRequest(t *testing.T) {
	d := bare(func(Start) {})
	d.Retrying(state.BuildRequest{ID: 1, BuilderID: 1}, "w0", false)
	d.turn()
	if len(d.hints) != 1 {
		t.Fatalf("hints: %v", d.hints)
	}
	d.event(context.Background(), state.Event{Row: state.BuildRequest{ID: 1, BuilderID: 1, Claimed: true, Complete: true}})
	if len(d.hints) != 0 {
		t.Errorf("hints: %v", d.hints)
	}
}

func (d *Distributor) turn() {
	d.mail.drain()
	d.round()
}

// However events come, looking only at what changed decides as looking at everything
// would: after every turn nothing is left that assign could still start.
func TestDistributorMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var started []Start
		d := bare(func(s Start) { started = append(started, s) })
		drained := map[string]bool{}
		busy := func(worker string) bool {
			return slices.ContainsFunc(started, func(s Start) bool { return s.Worker == worker })
		}
		d.o.Drained = func(worker string) {
			if drained[worker] || busy(worker) {
				t.Fatalf("%s is drained; again %v, busy %v", worker, drained[worker], busy(worker))
			}
			drained[worker] = true
		}
		snap, ids := farm(6, 4)
		lock := &config.Lock{Name: "l", MaxCount: 1}
		for _, b := range snap.Builders[:2] {
			acc := config.LockAccesses{{Lock: lock, Exclusive: true, Count: 1}}
			b.Locks = locksOf(acc)
		}
		d.Configure(snap, ids)
		d.turn()
		next := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0, 1:
				next++
				row := state.BuildRequest{ID: next, BuilderID: rapid.Int64Range(1, 6).Draw(t, "builder"), SubmittedAt: state.Time(next),
					Priority: rapid.Int64Range(0, 2).Draw(t, "priority")}
				d.event(context.Background(), state.Event{Row: row})
			case 2:
				name := fmt.Sprintf("w%d", rapid.IntRange(0, 3).Draw(t, "worker"))
				d.SetWorker(name, Status{Connected: rapid.Bool().Draw(t, "up"), Settling: rapid.IntRange(0, 3).Draw(t, "settling") == 0, Paused: rapid.IntRange(0, 3).Draw(t, "paused") == 0,
					Graceful: rapid.IntRange(0, 3).Draw(t, "graceful") == 0})
			case 3, 4:
				if len(started) > 0 {
					i := rapid.IntRange(0, len(started)-1).Draw(t, "which")
					d.Finished(started[i].Ticket)
					started = slices.Delete(started, i, i+1)
				}
			case 5:
				if len(d.index.byID) > 0 {
					id := rapid.Int64Range(1, next).Draw(t, "cancelled")
					d.event(context.Background(), state.Event{Row: state.BuildRequest{ID: id, Claimed: true, Complete: true}})
				}
			}
			d.turn()
			d.turn() // a lock that was freed in the first turn
			for name, w := range d.workers {
				switch idle := w.Connected && !w.Settling && w.Graceful && !busy(name); {
				case !idle:
					delete(drained, name)
				case !drained[name]:
					t.Fatalf("%s is idle and nobody was told", name)
				}
			}
			v := d.view()
			for id := range d.index.builders {
				d.look(&v, id)
			}
			if left, _ := assign(&v); len(left) > 0 {
				t.Fatalf("request %d could start on %s and does not", left[0].Request.ID, left[0].Worker)
			}
		}
	})
}

// The index yields requests in order, whatever was added and removed.
func TestIndexOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		want := map[int64]Request{}
		for range rapid.IntRange(0, 60).Draw(t, "n") {
			id := rapid.Int64Range(1, 40).Draw(t, "id")
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				x.remove(id)
				delete(want, id)
				continue
			}
			r := Request{ID: id, BuilderID: 1, Priority: rapid.Int64Range(0, 3).Draw(t, "priority")}
			x.add(&entry{Request: r})
			want[id] = r
		}
		var got []Request
		x.requests(1)(func(r *Request) bool {
			got = append(got, *r)
			return true
		})
		if len(got) != len(want) || len(x.byID) != len(want) {
			t.Fatalf("%d of %d requests", len(got), len(want))
		}
		for i := 1; i < len(got); i++ {
			if got[i].before(&got[i-1]) {
				t.Fatalf("out of order: %v", got)
			}
		}
	})
}

// A request that was lost with its worker waits, doubling, and then may start.
func TestBackoff(t *testing.T) {
	for retries, want := range map[int64]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 50: time.Minute} {
		if got := backoff(retries); got != want {
			t.Errorf("backoff(%d) = %v, want %v", retries, got, want)
		}
	}
	x := newIndex()
	x.add(&entry{Request: Request{ID: 1, BuilderID: 1, NotBefore: 100}})
	x.add(&entry{Request: Request{ID: 2, BuilderID: 1, NotBefore: 50}})
	if next := x.due(1, 10); next != 50 {
		t.Errorf("next due: %d", next)
	}
	if next := x.due(1, 60); next != 100 || len(x.builders[1].ready) != 1 {
		t.Errorf("next due: %d, ready: %d", next, len(x.builders[1].ready))
	}
	if x.remove(1) == nil || x.remove(2) == nil || len(x.builders) != 0 {
		t.Error("the index is not empty")
	}
}

// Requests that wait when the master starts are found in state.
func TestDistributorLoads(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "state.sqlite"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	snap, ids := farm(2, 2)
	var requests []int64
	err = store.Update(t.Context(), func(tx state.Tx) error {
		for _, b := range snap.Builders {
			if _, err := tx.PutBuilder(state.Builder{Name: b.Name, Active: true}); err != nil {
				return err
			}
		}
		if _, err := tx.PutWorker(state.Worker{Name: "w0", Active: true}, "configured"); err != nil {
			return err
		}
		if _, err := tx.PutGeneration(state.Generation{Digest: []byte{1}}); err != nil {
			return err
		}
		ss, err := tx.AddSourceStamp(state.SourceStamp{})
		if err != nil {
			return err
		}
		_, requests, err = tx.AddBuildset(state.Buildset{Results: config.Unfinished, SourceStamps: []state.SourceStamp{{ID: ss}}},
			[]state.BuildRequest{{BuilderID: 1, Results: config.Unfinished}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan Start, 10)
	var d *Distributor
	locks := run.NewLocks(func() { d.LocksFreed() })
	d = New(Options{Store: store, Locks: locks, Logger: slog.New(slog.DiscardHandler), Start: func(s Start) { started <- s }})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	d.Configure(snap, ids)
	for _, w := range snap.Workers {
		d.SetWorker(w.Name, Status{Connected: true})
	}
	s := <-started
	if s.Request.ID != requests[0] || s.Builder != "b0" {
		t.Errorf("started %+v", s)
	}
	if _, err := Open(ctx, store, s, 1, 2, ""); !errors.Is(err, ErrOldGeneration) {
		t.Errorf("Open with a configuration that is gone: %v", err)
	}
	o, err := Open(ctx, store, s, 1, 1, "")
	if err != nil || o.Build.Number != 1 || o.Buildset.ID == 0 {
		t.Errorf("Open: %+v, %v", o, err)
	}
	if _, err := Open(ctx, store, s, 1, 1, ""); err == nil {
		t.Error("a request was claimed twice")
	}
	d.Refused(s.Ticket, fmt.Errorf("lost: %w", state.ErrNotFound))
	if n, err := d.Waiting(ctx); n != 0 || err != nil {
		t.Errorf("%d requests wait, %v", n, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A configured farm with many requests waiting and every worker busy.
func busyFarm(b *testing.B, requests int) (*Distributor, []Start) {
	b.Helper()
	var started []Start
	d := bare(func(s Start) { started = append(started, s) })
	snap, ids := farm(1000, 500)
	d.Configure(snap, ids)
	for _, w := range snap.Workers {
		d.SetWorker(w.Name, Status{Connected: true})
	}
	for i := range requests {
		d.index.add(newEntry(state.BuildRequest{ID: int64(i + 1), BuilderID: int64(i%1000 + 1), SubmittedAt: state.Time(i)}))
	}
	d.all = true
	d.turn()
	if len(started) != 500 {
		b.Fatalf("%d started", len(started))
	}
	return d, started
}

// BenchmarkWorkerFreed is a build that ends, the next one that starts, and a new
// request, with 50,000 waiting for 1,000 builders on 500 workers (the goal:
// 100 us, not growing with the queue).
func BenchmarkWorkerFreed(b *testing.B) {
	for _, n := range []int{5_000, 50_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d, started := busyFarm(b, n)
			var fresh []Start
			d.o.Start = func(s Start) { fresh = append(fresh, s) }
			id := int64(n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s := started[i%len(started)]
				fresh = fresh[:0]
				d.Finished(s.Ticket)
				d.turn()
				if len(fresh) != 1 {
					b.Fatalf("%d started", len(fresh))
				}
				started[i%len(started)] = fresh[0]
				id++
				d.event(context.Background(), state.Event{Row: state.BuildRequest{ID: id, BuilderID: s.Request.BuilderID, SubmittedAt: state.Time(id)}})
			}
		})
	}
}

// BenchmarkRequestAdded is a request that cannot start.
func BenchmarkRequestAdded(b *testing.B) {
	d, _ := busyFarm(b, 50_000)
	id := int64(50_000)
	b.ReportAllocs()
	for b.Loop() {
		id++
		d.event(context.Background(), state.Event{Row: state.BuildRequest{ID: id, BuilderID: id%1000 + 1, SubmittedAt: state.Time(id)}})
		d.turn()
		d.index.remove(id)
	}
}

// BenchmarkEverything is a decision over all builders, after a reload.
func BenchmarkEverything(b *testing.B) {
	d, _ := busyFarm(b, 50_000)
	b.ReportAllocs()
	for b.Loop() {
		d.all = true
		d.turn()
	}
}
