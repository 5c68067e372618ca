package dist

import (
	"cmp"
	"slices"

	"buildstar/engine/run"
)

// scanLimit bounds how many requests of one builder a decision looks at: those
// behind so many that must wait for themselves wait for the next event.
const scanLimit = 100

// assign decides which requests start now, and says for every builder of the view
// that still has some waiting what they wait for (docs/requirements.md C2, D1 pains 11
// and 12). It is pure: the same view gives the same answer.
//
// Builders come by highest priority, oldest request, name. A builder takes its
// requests in order, each on the best free worker; a request that cannot start
// does not hold up those behind it, nor other builders.
func assign(v *View) ([]Assignment, Reasons) {
	d := decision{view: v, placed: map[string][]Place{}}
	for _, b := range byUrgency(v.Builders) {
		d.builder(b)
	}
	return d.assignments, Reasons{d.waits}
}

// Reasons are what the builders of a view still wait for. They read the view, so
// they are to be asked for before it changes.
type Reasons struct{ waits []wait }

// wait is one builder's closed gates.
type wait struct {
	builder int64
	gates   []closed
}

// Of returns the reasons of one builder: for each of its workers the first gate
// that is closed.
func (r Reasons) Of(builder int64) []Reason {
	var out []Reason
	for i := range r.waits {
		if r.waits[i].builder == builder {
			for k := range r.waits[i].gates {
				out = append(out, r.waits[i].gates[k].reason())
			}
		}
	}
	return out
}

// byUrgency returns the builders that have requests, most urgent first.
func byUrgency(builders []Builder) []*Builder {
	type head struct {
		b *Builder
		r *Request
	}
	heads := make([]head, 0, len(builders))
	for i := range builders {
		builders[i].Queue(func(r *Request) bool {
			heads = append(heads, head{&builders[i], r})
			return false
		})
	}
	slices.SortFunc(heads, func(x, y head) int {
		return cmp.Or(
			cmp.Compare(y.r.Priority, x.r.Priority),
			cmp.Compare(x.r.SubmittedAt, y.r.SubmittedAt),
			cmp.Compare(x.b.Name, y.b.Name),
		)
	})
	sorted := make([]*Builder, len(heads))
	for i, h := range heads {
		sorted[i] = h.b
	}
	return sorted
}

// decision is one run of assign: the view, and what was decided on top of it.
type decision struct {
	view        *View
	placed      map[string][]Place // by worker, decided in this run
	locks       *run.LockState     // the view's, with what was decided; nil: as in the view
	used        uint64
	lastUsed    map[string]uint64
	assignments []Assignment
	waits       []wait
	free        []*Worker // of candidates
	shut        []closed
}

func (d *decision) builder(b *Builder) {
	if why, ok := d.master(); !ok {
		d.waits = append(d.waits, wait{b.ID, []closed{why}})
		return
	}
	d.candidates(b)
	seen := 0
	waits := false
	b.Queue(func(r *Request) bool {
		if seen++; seen > scanLimit {
			waits = true
			return false
		}
		if r.NotBefore > d.view.Now {
			waits = true
			return true
		}
		w := d.choose(d.free, r)
		if w == nil {
			waits = true
			return false
		}
		d.place(b, r, w)
		d.candidates(b)
		return true
	})
	if waits {
		d.waits = append(d.waits, wait{b.ID, slices.Clone(d.shut)})
	}
}

// candidates finds the builder's workers that can take a build now, and for each of
// the others the first gate that is closed.
func (d *decision) candidates(b *Builder) {
	d.free, d.shut = d.free[:0], d.shut[:0]
	for _, name := range b.Workers {
		w := d.view.Workers[name]
		var why closed
		switch {
		case w == nil:
			d.shut = append(d.shut, closed{code: "no-such-worker", name: name})
		case d.gates(b, w, &why):
			d.free = append(d.free, w)
		default:
			d.shut = append(d.shut, why)
		}
	}
}

// choose returns the worker for a request: not the one it was lost with if there
// is another, then the one with the fewest builds, then one that need not be started,
// then the one whose newest build is the oldest, then the first in the builder's list.
func (d *decision) choose(free []*Worker, r *Request) *Worker {
	var best *Worker
	for _, w := range free {
		if best == nil || d.better(w, best, r) {
			best = w
		}
	}
	return best
}

func (d *decision) better(w, best *Worker, r *Request) bool {
	if a, b := w.Name == r.Avoid, best.Name == r.Avoid; a != b {
		return b
	}
	if a, b := d.load(w), d.load(best); a != b {
		return a < b
	}
	if a, b := w.cold(), best.cold(); a != b {
		return b
	}
	return d.last(w) < d.last(best)
}

func (d *decision) load(w *Worker) int { return len(w.Running) + len(d.placed[w.Name]) }

// last orders workers by use: what was decided in this run is later than
// everything before.
func (d *decision) last(w *Worker) uint64 {
	if n, ok := d.lastUsed[w.Name]; ok {
		return 1<<63 + n
	}
	return w.LastUsed
}

func (d *decision) place(b *Builder, r *Request, w *Worker) {
	locks := holds(b, w)
	d.assignments = append(d.assignments, Assignment{Request: r, Builder: b.Name, Worker: w.Name, Locks: locks})
	d.placed[w.Name] = append(d.placed[w.Name], Place{Builder: b.Name, Since: d.view.Now})
	if d.lastUsed == nil {
		d.lastUsed = map[string]uint64{}
	}
	d.used++
	d.lastUsed[w.Name] = d.used
	if len(locks) > 0 {
		if d.locks == nil {
			c := d.view.Locks.Clone()
			d.locks = &c
		}
		d.locks.Take(run.Holder{Step: -1, Name: b.Name}, locks, w.Name, d.view.Now)
	}
}

func (d *decision) lockState() *run.LockState {
	if d.locks != nil {
		return d.locks
	}
	return d.view.Locks
}
