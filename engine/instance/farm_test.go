package instance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"buildstar/config/prop"
	"buildstar/latent"
	"buildstar/state"
)

// memory is a store that has nothing but a ledger.
type memory struct {
	mu      sync.Mutex
	rows    []state.Instance // by ID-1
	refused int              // how many writes fail yet
	failed  bool             // one did
}

// memoryOf is the memory as one master has it.
type memoryOf struct {
	state.Store
	*memory
	dead *atomic.Bool
}

func (m memoryOf) Update(_ context.Context, fn func(state.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.dead.Load():
		return errors.New("the master is dead")
	case m.refused > 0:
		m.refused--
		m.failed = true
		return state.ErrFull
	}
	before := slices.Clone(m.rows)
	err := fn(memoryTx{nil, m.memory})
	if err != nil {
		m.rows = before
	}
	return err
}

func (m memoryOf) View(_ context.Context, fn func(state.ReadTx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fn(memoryTx{nil, m.memory})
}

func (m *memory) all() []state.Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.rows)
}

func (m *memory) open() []state.Instance {
	return slices.DeleteFunc(m.all(), func(r state.Instance) bool { return r.GoneAt != 0 })
}

// hasFailed reports whether a write ever failed.
func (m *memory) hasFailed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

func (m *memory) refuse(writes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = writes
}

// memoryTx is a transaction; the caller holds mu.
type memoryTx struct {
	state.Tx
	m *memory
}

func (t memoryTx) Instances(q state.Query) (rows []state.Instance, err error) {
	for _, r := range t.m.rows {
		if len(q.Where) == 1 && q.Where[0].Field == "gone_at" && q.Where[0].Values[0] == nil && r.GoneAt != 0 {
			continue
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (t memoryTx) AddInstance(r state.Instance) (int64, error) {
	r.ID = int64(len(t.m.rows)) + 1
	t.m.rows = append(t.m.rows, r)
	return r.ID, nil
}

func (t memoryTx) PutInstance(r state.Instance) error {
	t.m.rows[r.ID-1] = r
	return nil
}

// farm is a provider that does what the simulation plans.
type farm struct {
	memory *memory

	mu       sync.Mutex
	vms      []vm
	masters  []*atomic.Bool    // whether they are dead
	busy     map[string]string // the call of a worker, by "MASTER WORKER"
	stopped  map[string]bool   // "MASTER ATTEMPT" that was stopped
	started  map[int64]bool
	next     map[string][]int // what becomes of the next calls
	sessions map[string]int64 // worker -> the instance that is connected
	wrong    []string
}

// vm is an instance.
type vm struct {
	attempt          int64
	worker, password string
	late             bool // it came when the master that had asked for it was dead
}

var errFarm = errors.New("the farm is on fire")

func newFarm(m *memory) *farm {
	return &farm{memory: m, busy: map[string]string{}, stopped: map[string]bool{}, started: map[int64]bool{}, next: map[string][]int{}, sessions: map[string]int64{}}
}

// enter makes a master known and returns its number.
func (f *farm) enter(dead *atomic.Bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.masters = append(f.masters, dead)
	return strconv.Itoa(len(f.masters) - 1)
}

func (f *farm) blame(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

func (f *farm) faults() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	wrong := f.wrong
	f.wrong = nil
	return wrong
}

func (f *farm) list() []vm {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.vms)
}

func (f *farm) remove(attempt int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vms = slices.DeleteFunc(f.vms, func(v vm) bool { return v.attempt == attempt })
}

func (f *farm) late(attempt int64) bool {
	return slices.ContainsFunc(f.list(), func(v vm) bool { return v.attempt == attempt && v.late })
}

// plan says what becomes of the next calls of a kind.
func (f *farm) plan(a, b int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	call := []string{"start", "stop", "check", "stop"}[a%4]
	for range 1 + a/4*2 {
		f.next[call] = append(f.next[call], b)
	}
}

func (f *farm) obey() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.next)
}

// farmParams are what a worker says of its instances.
type farmParams struct {
	farm    *farm
	Version int
}

func (*farmParams) Kind() string                                                 { return "farm" }
func (*farmParams) Varies() bool                                                 { return true }
func (*farmParams) Render(context.Context, prop.Props) (latent.Arguments, error) { return nil, nil }
func (p *farmParams) Open(e latent.Env) (latent.Backend, error) {
	n, err := strconv.Atoi(e.Basedir)
	return &farmer{p.farm, e.Basedir, p.farm.masters[n]}, err
}

// farmer is the backend of one master.
type farmer struct {
	*farm
	master string
	dead   *atomic.Bool
}

// begin begins a call, and returns what becomes of it.
func (f *farmer) begin(call string, in latent.Ref) (fate int, end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.master + " " + in.Worker
	if was := f.busy[at]; was != "" {
		f.wrong = append(f.wrong, fmt.Sprintf("%s %d during %s", call, in.Attempt, was))
	}
	f.busy[at] = fmt.Sprintf("%s %d", call, in.Attempt)
	if planned := f.next[call]; len(planned) > 0 {
		fate, f.next[call] = planned[0], planned[1:]
	}
	return fate, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.busy, at)
	}
}

// hang waits; it reports whether all of the time went by.
func hang(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// create makes an instance.
func (f *farmer) create(in latent.Launch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.vms = append(f.vms, vm{in.Attempt, in.Worker, in.Password, f.dead.Load()})
}

func (f *farmer) Start(ctx context.Context, in latent.Launch) (s latent.Started, err error) {
	if f.dead.Load() {
		return s, errFarm
	}
	fate, end := f.begin("start", in.Ref)
	defer end()
	f.admit(in)
	s = latent.Started{Handle: fmt.Sprint("h", in.Attempt), Info: []string{fmt.Sprint(in.Ref.Arguments["image"])}}
	switch fate {
	case 1: // slow
		if !hang(ctx, 30*time.Second) {
			if f.dead.Load() { // the request had been sent
				time.AfterFunc(time.Minute, func() { f.create(in) })
			}
			return s, context.Cause(ctx)
		}
	case 2:
		return s, errFarm
	case 3: // its reply is lost
		f.create(in)
		return s, errFarm
	case 4:
		return s, latent.Cannotf("there is no such image")
	case 5: // nothing comes of it
		hang(ctx, 24*time.Hour)
		return s, context.Cause(ctx)
	case 6: // its reply never comes
		f.create(in)
		hang(ctx, 24*time.Hour)
		return s, context.Cause(ctx)
	case 7: // a slow reply
		f.create(in)
		if !hang(ctx, 30*time.Second) {
			return s, context.Cause(ctx)
		}
		return s, nil
	}
	f.create(in)
	return s, nil
}

// admit sees whether the instance may be started.
func (f *farmer) admit(in latent.Launch) {
	rows := f.memory.open()
	if !slices.ContainsFunc(rows, func(r state.Instance) bool {
		return r.ID == in.Attempt && r.Worker == in.Worker && r.Password.Reveal() == in.Password
	}) {
		f.blame("start %d is not in the ledger", in.Attempt)
	}
	for _, v := range f.list() {
		if v.worker == in.Worker && !v.late {
			f.blame("start %d while there is %d", in.Attempt, v.attempt)
		}
	}
	f.mu.Lock()
	again := f.started[in.Attempt]
	f.started[in.Attempt] = true
	f.mu.Unlock()
	if again {
		f.blame("start %d again", in.Attempt)
	}
}

func (f *farmer) Stop(ctx context.Context, in latent.Ref, _ bool) error {
	switch {
	case f.dead.Load():
		return errFarm
	case f.late(in.Attempt): // which nobody waits for any more
		f.remove(in.Attempt)
		return nil
	}
	fate, end := f.begin("stop", in)
	defer end()
	at := fmt.Sprint(f.master, " ", in.Attempt)
	f.mu.Lock()
	again := f.stopped[at]
	f.mu.Unlock()
	if again && !f.memory.hasFailed() {
		f.blame("stop %d again", in.Attempt)
	}
	switch fate {
	case 1:
		if !hang(ctx, 30*time.Second) {
			return context.Cause(ctx)
		}
	case 2, 5:
		return errFarm
	case 3, 6: // it is done, and nobody knows
		f.remove(in.Attempt)
		return errFarm
	case 4:
		hang(ctx, 24*time.Hour)
		return context.Cause(ctx)
	}
	f.remove(in.Attempt)
	f.mu.Lock()
	f.stopped[at] = true
	f.mu.Unlock()
	return nil
}

func (f *farmer) Check(ctx context.Context, in latent.Ref) (bool, string, error) {
	if f.dead.Load() {
		return false, "", errFarm
	}
	fate, end := f.begin("check", in)
	defer end()
	switch fate {
	case 1:
		return false, "it burns", nil
	case 2:
		return false, "", errFarm
	case 3:
		return hang(ctx, time.Minute), "", nil
	}
	there := slices.ContainsFunc(f.list(), func(v vm) bool { return v.attempt == in.Attempt })
	return there, "it is gone", nil
}

func (f *farmer) List(context.Context) (refs []latent.Ref, err error) {
	for _, v := range f.list() {
		refs = append(refs, latent.Ref{Worker: v.worker, Attempt: v.attempt, Handle: fmt.Sprint("h", v.attempt)})
	}
	return refs, nil
}
