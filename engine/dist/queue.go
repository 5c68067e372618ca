package dist

import (
	"container/heap"
	"slices"

	"buildstar/state"
)

// index holds every waiting request, by builder. Adding and removing one costs the
// logarithm of its builder's queue; nothing costs the number of all requests.
type index struct {
	byID     map[int64]*entry
	builders map[int64]*queue
}

// entry is one request in the index.
type entry struct {
	Request
	row state.BuildRequest
	at  int // in its heap; -1: it waits for its time
	key string
}

// queue is the requests of one builder: those that could start, as a heap, and
// those that must wait for their time after a RETRY.
type queue struct {
	ready   requestHeap
	delayed []*entry
	keys    map[string][]int64 // requests that ask for the same, for collapsing; nil: not needed yet
	unkeyed []*entry           // those that are not in keys yet
}

type requestHeap []*entry

func (h requestHeap) Len() int           { return len(h) }
func (h requestHeap) Less(i, j int) bool { return h[i].before(&h[j].Request) }
func (h requestHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *requestHeap) Push(x any) {
	e := x.(*entry)
	e.at = len(*h)
	*h = append(*h, e)
}
func (h *requestHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

func newIndex() *index {
	return &index{byID: map[int64]*entry{}, builders: map[int64]*queue{}}
}

// add puts a request into its builder's queue; one that is there already is
// replaced.
func (x *index) add(e *entry) {
	x.remove(e.ID)
	q := x.builders[e.BuilderID]
	if q == nil {
		q = &queue{}
		x.builders[e.BuilderID] = q
	}
	x.byID[e.ID] = e
	switch {
	case q.keys == nil:
	case e.key == "":
		q.unkeyed = append(q.unkeyed, e)
	default:
		q.keys[e.key] = append(q.keys[e.key], e.ID)
	}
	if e.NotBefore != 0 {
		e.at = -1
		q.delayed = append(q.delayed, e)
		return
	}
	heap.Push(&q.ready, e)
}

// remove takes a request out and returns it, or nil.
func (x *index) remove(id int64) *entry {
	e := x.byID[id]
	if e == nil {
		return nil
	}
	delete(x.byID, id)
	q := x.builders[e.BuilderID]
	if e.at < 0 {
		q.delayed = slices.DeleteFunc(q.delayed, func(d *entry) bool { return d == e })
	} else {
		heap.Remove(&q.ready, e.at)
	}
	q.forget(e)
	if len(q.ready)+len(q.delayed) == 0 {
		delete(x.builders, e.BuilderID)
	}
	return e
}

// forget takes a request out of the table of equal ones.
func (q *queue) forget(e *entry) {
	if q.keys == nil || e.key == "" {
		return
	}
	ids := slices.DeleteFunc(q.keys[e.key], func(id int64) bool { return id == e.ID })
	if len(ids) == 0 {
		delete(q.keys, e.key)
		return
	}
	q.keys[e.key] = ids
}

// entries returns every request of the queue.
func (q *queue) entries() []*entry { return slices.Concat(q.ready, q.delayed) }

// due moves what waited for its time into the queue, and returns when the next one
// will be due; 0 if none waits.
func (x *index) due(builderID int64, now state.Time) state.Time {
	q := x.builders[builderID]
	if q == nil || len(q.delayed) == 0 {
		return 0
	}
	var next state.Time
	kept := q.delayed[:0]
	for _, e := range q.delayed {
		if e.NotBefore <= now {
			e.NotBefore = 0
			heap.Push(&q.ready, e)
			continue
		}
		kept = append(kept, e)
		if next == 0 || e.NotBefore < next {
			next = e.NotBefore
		}
	}
	clear(q.delayed[len(kept):])
	q.delayed = kept
	return next
}

// requests yields a builder's waiting requests in order without changing anything.
// The first costs nothing, the n-th a logarithm; those that wait for their time
// come last.
func (x *index) requests(builderID int64) Queue {
	return func(yield func(*Request) bool) {
		q := x.builders[builderID]
		if q == nil {
			return
		}
		if len(q.ready) > 0 && !walk(q.ready, yield) {
			return
		}
		for _, e := range q.delayed {
			if !yield(&e.Request) {
				return
			}
		}
	}
}

// walk yields a heap in order: a second, small heap holds the places to look at
// next.
func walk(h requestHeap, yield func(*Request) bool) bool {
	if !yield(&h[0].Request) {
		return false
	}
	front := frontier{heap: h}
	front.children(0)
	for len(front.at) > 0 {
		i := heap.Pop(&front).(int)
		if !yield(&h[i].Request) {
			return false
		}
		front.children(i)
	}
	return true
}

type frontier struct {
	heap requestHeap
	at   []int
}

func (f *frontier) children(i int) {
	for _, c := range [2]int{2*i + 1, 2*i + 2} {
		if c < len(f.heap) {
			heap.Push(f, c)
		}
	}
}

func (f frontier) Len() int           { return len(f.at) }
func (f frontier) Less(i, j int) bool { return f.heap.Less(f.at[i], f.at[j]) }
func (f frontier) Swap(i, j int)      { f.at[i], f.at[j] = f.at[j], f.at[i] }
func (f *frontier) Push(x any)        { f.at = append(f.at, x.(int)) }
func (f *frontier) Pop() any {
	n := len(f.at) - 1
	i := f.at[n]
	f.at = f.at[:n]
	return i
}
