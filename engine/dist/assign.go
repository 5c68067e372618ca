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
	own     []closed // of single requests
}

// Of returns the reasons of a request: for each of its builder's workers the first gate
// that is closed.
func (r Reasons) Of(builder, request int64) []Reason {
	var out []Reason
	for i := range r.waits {
		w := &r.waits[i]
		if w.builder != builder {
			continue
		}
		for k := range w.gates {
			out = append(out, w.gates[k].reason())
		}
		for k := range w.own {
			if w.own[k].request == request && !slices.ContainsFunc(w.gates, func(c closed) bool { return c.name == w.own[k].name }) {
				out = append(out, w.own[k].reason())
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
	replaced    map[string]bool    // workers whose instance will be another one, decided in this run
	locks       *run.LockState     // the view's, with what was decided; nil: as in the view
	used        uint64
	lastUsed    map[string]uint64
	assignments []Assignment
	waits       []wait
	free        []*Worker // of candidates
	shut        []closed
	own         []closed // of single requests of the builder
}

func (d *decision) builder(b *Builder) {
	if why, ok := d.master(); !ok {
		d.waits = append(d.waits, wait{builder: b.ID, gates: []closed{why}})
		return
	}
	d.candidates(b)
	d.own = d.own[:0]
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
		w, fit := d.choose(b, r)
		if w == nil {
			waits = true
			return len(d.free) > 0 // an instance that is not for this one may be for the next
		}
		d.place(b, r, w, fit)
		d.candidates(b)
		return true
	})
	if waits {
		d.waits = append(d.waits, wait{b.ID, slices.Clone(d.shut), slices.Clone(d.own)})
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
// is another, then the one with the fewest builds, then the one whose instance serves it,
// then one that is started for it, then one whose instance is replaced, rather one that
// nobody behind could use; then the one whose newest build is the oldest, then the first in
// the builder's list. While an instance is being asked whether it serves the request that
// waits for the answer, unless another does: else one is started that nobody needs.
func (d *decision) choose(b *Builder, r *Request) (best *Worker, fit Fit) {
	asking := false
	for _, w := range d.free {
		f := d.fit(r, w)
		if why, ok := d.misfit(w, f); !ok {
			why.request = r.ID
			d.own = append(d.own, why)
			asking = asking || f == Asking
			continue
		}
		if best == nil || d.better(b, r, w, best, f, fit) {
			best, fit = w, f
		}
	}
	if asking && (best == nil || fit.trouble(best) > 0) {
		return nil, Asking
	}
	return best, fit
}

// better reports whether w, which suits the request as f says, is better than best.
func (d *decision) better(b *Builder, r *Request, w, best *Worker, f, fit Fit) bool {
	if x, y := w.Name == r.Avoid, best.Name == r.Avoid; x != y {
		return y
	}
	if x, y := d.load(w), d.load(best); x != y {
		return x < y
	}
	if x, y := f.trouble(w), fit.trouble(best); x != y {
		return x < y
	}
	if f == Unfit {
		if x, y := d.coveted(b, r, w), d.coveted(b, r, best); x != y {
			return y
		}
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

func (d *decision) place(b *Builder, r *Request, w *Worker, fit Fit) {
	if fit == Unfit {
		if d.replaced == nil {
			d.replaced = map[string]bool{}
		}
		d.replaced[w.Name] = true
	}
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
