package dist

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/latent"
	"buildstar/state"
)

// queueOf makes a builder with requests.
func builder(id int64, workers string, requests ...Request) Builder {
	for i := range requests {
		requests[i].BuilderID = id
	}
	return Builder{
		ID: id, Name: fmt.Sprintf("b%d", id), Workers: strings.Fields(workers),
		Queue: func(yield func(*Request) bool) {
			sorted := slices.Clone(requests)
			slices.SortFunc(sorted, func(a, b Request) int {
				if a.before(&b) {
					return -1
				}
				return 1
			})
			for i := range sorted {
				if !yield(&sorted[i]) {
					return
				}
			}
		},
	}
}

func req(id int64) Request { return Request{ID: id, SubmittedAt: state.Time(id)} }

func up(name string, change ...func(*Worker)) *Worker {
	w := &Worker{Name: name, Connected: true, ChangedAt: 1}
	for _, c := range change {
		c(w)
	}
	return w
}

func building(builders ...string) func(*Worker) {
	return func(w *Worker) {
		for i, b := range builders {
			w.Running = append(w.Running, Place{Builder: b, BuildID: int64(i + 1), Number: int64(i + 1), Since: 5})
		}
	}
}

func view(builders []Builder, workers ...*Worker) *View {
	v := &View{Now: 100, Builders: builders, Workers: map[string]*Worker{}, Locks: &run.LockState{}}
	for _, w := range workers {
		v.Workers[w.Name] = w
	}
	return v
}

func TestAssign(t *testing.T) {
	lock := &config.Lock{Name: "l", MaxCount: 1}
	wlock := &config.Lock{Name: "wl", MaxCount: 1, PerWorker: true}
	locked := func(b Builder, l *config.Lock) Builder {
		b.Locks = config.LockAccesses{{Lock: l, Count: 1}}
		return b
	}
	paused := func(w *Worker) { w.Paused = true }
	maxBuilds := func(n int) func(*Worker) { return func(w *Worker) { w.MaxBuilds = n } }
	locking := func(l *config.Lock) func(*Worker) {
		return func(w *Worker) { w.Locks = config.LockAccesses{{Lock: l, Exclusive: true}} }
	}
	used := func(n uint64) func(*Worker) { return func(w *Worker) { w.LastUsed = n } }
	held := view([]Builder{locked(builder(1, "w", req(1)), lock)}, up("w"))
	held.Locks.Take(run.Holder{Ticket: 9, Name: "other #3", BuildID: 33}, config.LockAccesses{{Lock: lock, Exclusive: true}}, "w", 7)
	heldForWorker := view([]Builder{builder(1, "w", req(1)), builder(2, "x", req(2))}, up("w", locking(lock)), up("x"))
	heldForWorker.Locks.Take(run.Holder{Ticket: 9, Name: "other #3", BuildID: 33}, config.LockAccesses{{Lock: lock, Count: 1}}, "x", 7)
	stopping := view([]Builder{builder(1, "w", req(1))}, up("w"))
	stopping.Stopping = true
	full := view([]Builder{builder(1, "w", req(1))}, up("w"))
	full.DiskFull = 50

	tests := []struct {
		name string
		view *View
		want string // request@worker ...
		why  string // code:worker ... of the builders that wait
	}{
		{"nothing", view(nil), "", ""},
		{"one", view([]Builder{builder(1, "w", req(1))}, up("w")), "1@w", ""},
		{"one build of a builder per worker", view([]Builder{builder(1, "w", req(1), req(2))}, up("w")), "1@w", "worker-busy:w"},
		{"on two workers", view([]Builder{builder(1, "w x", req(1), req(2), req(3))}, up("w"), up("x")), "1@w 2@x", "worker-busy:w worker-busy:x"},
		{"busy with another builder is fine", view([]Builder{builder(1, "w", req(1))}, up("w", building("other"))), "1@w", ""},
		{"busy with this one is not", view([]Builder{builder(1, "w", req(1))}, up("w", building("b1"))), "", "worker-busy:w"},
		{"max_builds", view([]Builder{builder(1, "w", req(1)), builder(2, "w", req(2))}, up("w", maxBuilds(1))), "1@w", "max-builds:w"},
		{"max_builds counts what runs", view([]Builder{builder(1, "w", req(1))}, up("w", maxBuilds(2), building("x", "y"))), "", "max-builds:w"},
		{"not connected", view([]Builder{builder(1, "w", req(1))}, &Worker{Name: "w"}), "", "not-connected:w"},
		{"settling", view([]Builder{builder(1, "w", req(1))}, up("w", func(w *Worker) { w.Settling = true })), "", "settling:w"},
		{"paused", view([]Builder{builder(1, "w", req(1))}, up("w", paused)), "", "paused:w"},
		{"graceful", view([]Builder{builder(1, "w", req(1))}, up("w", func(w *Worker) { w.Graceful = true })), "", "graceful:w"},
		{"not configured", view([]Builder{builder(1, "w", req(1))}), "", "no-such-worker:w"},
		{"stopping", stopping, "", "stopping:"},
		{"disk full", full, "", "disk-full:"},
		{"quarantined", view([]Builder{builder(1, "w", req(1))}, up("w", func(w *Worker) { w.Quarantine.Until = 1 })), "", "quarantined:w"},
		{"the next worker takes it", view([]Builder{builder(1, "w x", req(1))}, up("w", paused), up("x")), "1@x", ""},
		{"idle before busy", view([]Builder{builder(1, "w x", req(1))}, up("w", building("o")), up("x")), "1@x", ""},
		{"least recently used", view([]Builder{builder(1, "w x y", req(1))}, up("w", used(3)), up("x", used(1)), up("y", used(2))), "1@x", ""},
		{"spread", view([]Builder{builder(1, "w x", req(1)), builder(2, "w x", req(2))}, up("w"), up("x")), "1@w 2@x", ""},
		{"priority between builders", view([]Builder{builder(1, "w", req(1)), builder(2, "w", Request{ID: 2, Priority: 5, SubmittedAt: 9})},
			up("w", maxBuilds(1))), "2@w", "max-builds:w"},
		{"age between builders", view([]Builder{builder(1, "w", Request{ID: 2, SubmittedAt: 9}), builder(2, "w", Request{ID: 1, SubmittedAt: 3})},
			up("w", maxBuilds(1))), "1@w", "max-builds:w"},
		{"priority within a builder", view([]Builder{builder(1, "w", req(1), Request{ID: 2, Priority: 1})}, up("w")), "2@w", "worker-busy:w"},
		{"a delayed one lets others pass", view([]Builder{builder(1, "w", Request{ID: 1, NotBefore: 200}, req(2))}, up("w")), "2@w", "worker-busy:w"},
		{"another worker after a loss", view([]Builder{builder(1, "w x", Request{ID: 1, Avoid: "w"})}, up("w"), up("x", building("o"))), "1@x", ""},
		{"the same if there is no other", view([]Builder{builder(1, "w x", Request{ID: 1, Avoid: "w"})}, up("w"), up("x", paused)), "1@w", ""},
		{"a stuck builder holds up nobody", view([]Builder{builder(1, "w", Request{ID: 1, Priority: 9}), builder(2, "x", req(2))},
			up("w", paused), up("x")), "2@x", "paused:w"},
		{"a lock is held", held, "", "lock:w"},
		{"a lock is taken in this round", view([]Builder{locked(builder(1, "w", req(1)), lock), locked(builder(2, "x", req(2)), lock)},
			up("w"), up("x")), "1@w", "lock:x"},
		{"a worker lock is one per worker", view([]Builder{locked(builder(1, "w", req(1)), wlock), locked(builder(2, "x", req(2)), wlock)},
			up("w"), up("x")), "1@w 2@x", ""},
		{"a lock of the worker is held", heldForWorker, "2@x", "lock:w"},
		{"two workers with one lock", view([]Builder{builder(1, "w", req(1)), builder(2, "x", req(2))},
			up("w", locking(lock)), up("x", locking(lock))), "1@w", "lock:x"},
		{"one worker with a lock builds one at a time", view([]Builder{builder(1, "w", req(1)), builder(2, "w", req(2))},
			up("w", locking(wlock))), "1@w", "lock:w"},
		{"the builder's lock is taken too", view([]Builder{locked(builder(1, "w", req(1)), lock), locked(builder(2, "x", req(2)), lock)},
			up("w", locking(wlock)), up("x", locking(wlock))), "1@w", "lock:x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, reasons := assign(tt.view)
			var as, why []string
			for _, a := range got {
				as = append(as, fmt.Sprintf("%d@%s", a.Request.ID, a.Worker))
			}
			for _, b := range tt.view.Builders {
				for _, r := range reasons.Of(b.ID, first(b)) {
					why = append(why, r.Code+":"+r.Worker)
					if r.Text == "" || r.Unblock == "" {
						t.Errorf("reason without words: %+v", r)
					}
				}
			}
			if s := strings.Join(as, " "); s != tt.want {
				t.Errorf("assigned %q, want %q", s, tt.want)
			}
			if s := strings.Join(why, " "); s != tt.why {
				t.Errorf("reasons %q, want %q", s, tt.why)
			}
		})
	}
}

// What an instance was started for decides who gets it: "a" and "b" are what requests need
// and instances serve.
func TestAssignFits(t *testing.T) {
	needs := map[int64]string{1: "a", 2: "b", 3: "b", 4: "a", 5: "?", 6: "wait"}
	is := map[string]string{"ia": "a", "ib": "b", "ic": "c"}
	vm := func(name string, change ...func(*Worker)) *Worker {
		w := &Worker{Name: name, Latent: true, Varies: true}
		if is[name] != "" {
			w.Connected, w.Instance.State = true, latent.Up
		}
		for _, c := range change {
			c(w)
		}
		return w
	}
	fixed := func(w *Worker) { w.Varies = false }
	old := func(w *Worker) { w.Instance.Outdated = true }
	starting := func(w *Worker) { w.Instance.State = latent.Starting }
	two := func(rs ...Request) []Builder {
		var bs []Builder
		for i, r := range rs {
			bs = append(bs, builder(int64(i+1), "ia ib down", r))
		}
		return bs
	}
	tests := []struct {
		name string
		view *View
		want string
		why  string // of the first request
	}{
		{"the one that serves it", view([]Builder{builder(1, "ia ib down", req(2))}, vm("ia"), vm("ib"), vm("down")), "2@ib", ""},
		{"rather a start than a replacement", view([]Builder{builder(1, "ia down", req(2))}, vm("ia"), vm("down")), "2@down", ""},
		{"a replacement if there is nothing else", view([]Builder{builder(1, "ia", req(2))}, vm("ia")), "2@ia", ""},
		{"not while it builds", view([]Builder{builder(1, "ia", req(2))}, vm("ia", building("b9"))), "", "other-instance:ia"},
		{"what builds serves the next", view([]Builder{builder(1, "ia", req(2), req(4))}, vm("ia", building("b9"))), "4@ia", "worker-busy:ia"},
		{"the one that nobody behind could use is replaced", view([]Builder{builder(1, "ia ic", req(2), req(4))}, vm("ia"), vm("ic")), "2@ic 4@ia", ""},
		{"an answer is waited for", view([]Builder{builder(1, "ia down", req(6))}, vm("ia"), vm("down")), "", "instance-asked:ia"},
		{"not by those behind", view([]Builder{builder(1, "ia", req(6), req(4))}, vm("ia")), "4@ia", "worker-busy:ia"},
		{"what cannot be told is tried", view([]Builder{builder(1, "ia", req(5))}, vm("ia", building("b9"))), "5@ia", ""},
		{"one that is being started may be another", view([]Builder{builder(1, "down", req(1))}, vm("down", starting, building("b9"))), "", "instance-starting:down"},
		{"unless all are the same", view([]Builder{builder(1, "down", req(1))}, vm("down", starting, building("b9"), fixed)), "1@down", ""},
		{"one that is replaced is another", view(two(req(2), req(4)), vm("ia")), "2@ia", ""},
		{"an outdated one finishes", view([]Builder{builder(1, "ia", req(1))}, vm("ia", fixed, old, building("b9"))), "", "other-instance:ia"},
		{"and is replaced", view([]Builder{builder(1, "ia", req(1))}, vm("ia", fixed, old)), "1@ia", ""},
		{"all are the same", view([]Builder{builder(1, "ia", req(2))}, vm("ia", fixed, building("b9"))), "2@ia", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.view.Fit = func(r *Request, worker string) Fit {
				switch need := needs[r.ID]; {
				case need == "?":
					return Unclear
				case need == "wait":
					return Asking
				case need != is[worker]:
					return Unfit
				}
				return Fits
			}
			var why []string
			got, reasons := assign(tt.view)
			for _, r := range reasons.Of(1, first(tt.view.Builders[0])) {
				why = append(why, r.Code+":"+r.Worker)
				if r.Text == "" || r.Unblock == "" {
					t.Errorf("reason without words: %+v", r)
				}
			}
			if s := strings.Join(requests(got), " "); s != tt.want {
				t.Errorf("assigned %q, want %q", s, tt.want)
			}
			if s := strings.Join(why, " "); s != tt.why {
				t.Errorf("reasons %q, want %q", s, tt.why)
			}
		})
	}
}

// A reason names what is in the way, since when, and what would end it.
func TestReasons(t *testing.T) {
	lock := &config.Lock{Name: "db", MaxCount: 1}
	b := builder(1, "w", req(1))
	b.Locks = config.LockAccesses{{Lock: lock, Count: 1}}
	v := view([]Builder{b}, up("w"))
	v.Locks.Take(run.Holder{Ticket: 9, Name: "deploy #3", BuildID: 33}, config.LockAccesses{{Lock: lock, Count: 1}}, "w", 7)
	_, reasons := assign(v)
	want := Reason{Code: "lock", Text: `lock "db" held by deploy #3`, Worker: "w", BuildID: 33, Since: 7, Unblock: "deploy #3 releases it"}
	if got := reasons.Of(1, 1); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	v = view([]Builder{builder(1, "w", req(1))}, up("w", building("b1")))
	_, reasons = assign(v)
	want = Reason{Code: "worker-busy", Text: `worker "w" is building b1 #1`, Worker: "w", BuildID: 1, Since: 5, Unblock: "b1 #1 finishes"}
	if got := reasons.Of(1, 1); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// Whatever the view: never two builds of a builder on one worker, never more than
// max_builds, never a request twice, never on a worker that may not, and whoever
// still waits is told why.
func TestAssignProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		before := fmt.Sprint(describe(v))
		got, reasons := assign(v)
		if after := fmt.Sprint(describe(v)); after != before {
			t.Fatalf("assign changed the view:\n%s\n%s", before, after)
		}
		again, _ := assign(v)
		if fmt.Sprint(requests(got)) != fmt.Sprint(requests(again)) {
			t.Fatalf("not deterministic: %v, %v", requests(got), requests(again))
		}
		check(t, v, got, reasons)
	})
}

// first is the first request of a builder.
func first(b Builder) (id int64) {
	b.Queue(func(r *Request) bool {
		id = r.ID
		return false
	})
	return id
}

func requests(as []Assignment) (out []string) {
	for _, a := range as {
		out = append(out, fmt.Sprintf("%d@%s", a.Request.ID, a.Worker))
	}
	return out
}

func describe(v *View) (out []string) {
	for _, w := range v.Workers {
		out = append(out, fmt.Sprintf("%+v", *w))
	}
	slices.Sort(out)
	return append(out, fmt.Sprintf("%+v", v.Locks.All()))
}

func drawView(t *rapid.T) *View {
	v := view(nil)
	lock := &config.Lock{Name: "l", MaxCount: rapid.IntRange(1, 2).Draw(t, "maxCount")}
	names := []string{"u", "v", "w", "x"}
	builders := rapid.IntRange(1, 5).Draw(t, "builders")
	for _, n := range names[:rapid.IntRange(1, len(names)).Draw(t, "workers")] {
		w := &Worker{
			Name: n, Connected: rapid.Bool().Draw(t, "connected"), Paused: rapid.IntRange(0, 4).Draw(t, "paused") == 0,
			Quarantine: state.Quarantine{Until: state.Time(max(0, rapid.IntRange(-3, 1).Draw(t, "quarantine")))},
			Graceful:   rapid.IntRange(0, 4).Draw(t, "graceful") == 0,
			MaxBuilds:  rapid.IntRange(0, 3).Draw(t, "max_builds"), LastUsed: rapid.Uint64Range(0, 5).Draw(t, "used"), ChangedAt: 1,
		}
		for i := 1; i <= builders; i++ {
			if rapid.IntRange(0, 3).Draw(t, "running") == 0 && (w.MaxBuilds == 0 || len(w.Running) < w.MaxBuilds) {
				w.Running = append(w.Running, Place{Builder: fmt.Sprintf("b%d", i), BuildID: int64(i), Number: 1, Since: 2})
			}
		}
		if w.Latent = rapid.Bool().Draw(t, "latent"); w.Latent {
			w.Varies = rapid.Bool().Draw(t, "varies")
			w.Instance.State = rapid.SampledFrom([]latent.State{latent.Down, latent.Starting, latent.Stopping}).Draw(t, "state")
			if w.Connected {
				w.Instance.State = latent.Up
			}
		}
		v.Workers[n] = w
	}
	fits := rapid.SliceOfN(rapid.SampledFrom([]Fit{Fits, Unfit, Unclear, Asking}), 7, 7).Draw(t, "fits")
	v.Fit = func(r *Request, worker string) Fit { return fits[(r.ID+int64(worker[0]))%7] }
	id := int64(0)
	for i := 1; i <= builders; i++ {
		var rs []Request
		for range rapid.IntRange(0, 4).Draw(t, "requests") {
			id++
			rs = append(rs, Request{
				ID: id, Priority: rapid.Int64Range(0, 2).Draw(t, "priority"), SubmittedAt: state.Time(id),
				NotBefore: state.Time(rapid.SampledFrom([]int64{0, 0, 50, 150}).Draw(t, "notBefore")),
				Avoid:     rapid.SampledFrom([]string{"", "u", "v"}).Draw(t, "avoid"),
			})
		}
		b := builder(int64(i), strings.Join(rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 4, rapid.ID).Draw(t, "of"), " "), rs...)
		if rapid.Bool().Draw(t, "locks") {
			b.Locks = config.LockAccesses{{Lock: lock, Exclusive: rapid.Bool().Draw(t, "exclusive"), Count: 1}}
		}
		v.Builders = append(v.Builders, b)
	}
	return v
}

func check(t *rapid.T, v *View, got []Assignment, reasons Reasons) {
	places := map[string][]string{}
	for n, w := range v.Workers {
		for _, p := range w.Running {
			places[n] = append(places[n], p.Builder)
		}
	}
	seen, replaced := map[int64]bool{}, map[string]bool{}
	locks := v.Locks.Clone()
	for _, a := range got {
		w := v.Workers[a.Worker]
		switch {
		case seen[a.Request.ID]:
			t.Fatalf("request %d is assigned twice", a.Request.ID)
		case !w.Connected && !w.Latent || w.Paused || w.Graceful || w.Quarantine.Until != 0:
			t.Fatalf("request %d is assigned to worker %+v", a.Request.ID, w)
		case slices.Contains(places[a.Worker], a.Builder):
			t.Fatalf("two builds of %s on %s", a.Builder, a.Worker)
		case w.MaxBuilds > 0 && len(places[a.Worker]) >= w.MaxBuilds:
			t.Fatalf("more than %d builds on %s", w.MaxBuilds, a.Worker)
		case a.Request.NotBefore > v.Now:
			t.Fatalf("request %d is assigned before its time", a.Request.ID)
		}
		if w.Latent && w.Varies && len(places[a.Worker]) > 0 && (!w.Connected || replaced[a.Worker] || v.Fit(a.Request, a.Worker) == Unfit) {
			t.Fatalf("request %d is assigned to %+v, whose instance is not for it", a.Request.ID, w)
		}
		replaced[a.Worker] = replaced[a.Worker] || w.Connected && w.Varies && v.Fit(a.Request, a.Worker) == Unfit
		if _, ok := locks.Free(a.Locks, a.Worker); !ok {
			t.Fatalf("the lock for request %d is not free", a.Request.ID)
		}
		locks.Take(run.Holder{Name: a.Builder}, a.Locks, a.Worker, 1)
		seen[a.Request.ID] = true
		places[a.Worker] = append(places[a.Worker], a.Builder)
	}
	for _, b := range v.Builders {
		b.Queue(func(r *Request) bool {
			if !seen[r.ID] && r.NotBefore <= v.Now && len(reasons.Of(b.ID, r.ID)) == 0 {
				t.Fatalf("request %d of %s waits without a reason", r.ID, b.Name)
			}
			return true
		})
	}
}

func locksOf(l config.LockAccesses) prop.Template[config.LockAccesses] { return prop.Of(l) }
