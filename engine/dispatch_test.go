package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/engine/sched"
	"buildstar/state"
)

// stage records which builds run, and keeps each until it is let go.
type stage struct {
	mu    sync.Mutex
	order []string
	gates map[string]chan struct{}
	enter chan string
	now   int
	most  int
}

func newStage() *stage {
	return &stage{gates: map[string]chan struct{}{}, enter: make(chan string, 100)}
}

// step waits on the stage until the builder is let go.
func (s *stage) step(change ...func(*run.Common)) config.Step {
	return do("stage", func(ctx context.Context, r *run.Running) (config.Result, error) {
		name := r.Builder().Name
		s.mu.Lock()
		s.order = append(s.order, name)
		s.now++
		s.most = max(s.most, s.now)
		gate := s.gates[name]
		s.mu.Unlock()
		s.enter <- name
		defer func() {
			s.mu.Lock()
			s.now--
			s.mu.Unlock()
		}()
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
				return config.Exception, ctx.Err()
			}
		}
		return config.Success, nil
	}, change...)
}

func (s *stage) hold(builder string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gate := make(chan struct{})
	s.gates[builder] = gate
	return func() { close(gate) }
}

// many is a configuration of several builders with the same factory on worker w.
func many(step config.Step, names ...string) *config.Snapshot {
	snap := oneBuilder()
	snap.Builders = nil
	for _, n := range names {
		snap.Builders = append(snap.Builders, &config.Builder{
			Name: n, WorkerBuilddir: n, Workers: []string{"w"}, Factory: &config.Factory{Steps: []config.Step{step}},
		})
	}
	return snap
}

func (r *running) explain(request int64, code string) (text string) {
	r.t.Helper()
	x, err := r.Explain(context.Background(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, reason := range x.Reasons {
		if reason.Code == code {
			return reason.Text
		}
	}
	r.t.Errorf("explanation of %d: %+v, want a reason %q", request, x, code)
	return ""
}

// A worker builds at most max_builds at once, and at most one build of a builder.
func TestMaxBuilds(t *testing.T) {
	st := newStage()
	snap := many(st.step(), "a", "b", "c")
	snap.Workers[0].MaxBuilds = 2
	r := newSite(t).start(config.New(*snap))
	release := st.hold("a")
	a1, a2 := r.submit("a"), r.submit("a")
	<-st.enter
	if text := r.explain(a2, "worker-busy"); !strings.Contains(text, `worker "w" is building a`) {
		t.Errorf("explanation: %q", text)
	}
	releaseB := st.hold("b")
	b := r.submit("b")
	<-st.enter
	c := r.submit("c")
	if text := r.explain(c, "max-builds"); !strings.Contains(text, "2 of at most 2") {
		t.Errorf("explanation: %q", text)
	}
	releaseB()
	r.finished(b)
	r.finished(c)
	release()
	r.finished(a1)
	r.finished(a2)
	if st.most != 2 {
		t.Errorf("%d builds ran at once", st.most)
	}
	x, err := r.Explain(context.Background(), a2)
	if err != nil || x.State != "complete" {
		t.Errorf("%+v, %v", x, err)
	}
}

// Requests go by priority, then age; a priority can be changed while one waits.
func TestPriorities(t *testing.T) {
	st := newStage()
	snap := many(st.step(), "first", "low", "high", "raised")
	snap.Workers[0].MaxBuilds = 1
	r := newSite(t).start(config.New(*snap))
	release := st.hold("first")
	r.submit("first")
	<-st.enter
	low := r.submit("low")
	high := r.submit("high", func(b *sched.Buildset) { b.Priority = 5 })
	raised := r.submit("raised")
	if err := r.SetPriority(context.Background(), raised, 9, alice); err != nil {
		t.Fatal(err)
	}
	r.explain(low, "max-builds")
	release()
	for _, id := range []int64{raised, high, low} {
		r.finished(id)
	}
	if want := []string{"first", "raised", "high", "low"}; !slices.Equal(st.order, want) {
		t.Errorf("order: %v, want %v", st.order, want)
	}
}

// A builder that cannot start does not hold up the others (docs/requirements.md D1 pain 12).
func TestNoHeadOfLineBlocking(t *testing.T) {
	st := newStage()
	snap := many(st.step(), "stuck", "fine")
	snap.Workers = append(snap.Workers, &config.Worker{Name: "away", Password: "pw"})
	snap.Builders[0].Workers = []string{"away"}
	r := newSite(t).start(config.New(*snap))
	stuck := r.submit("stuck", func(b *sched.Buildset) { b.Priority = 100 })
	if b := r.build("fine"); b.Results != config.Success {
		t.Errorf("%+v", b)
	}
	r.explain(stuck, "not-connected")
}

func TestCollapse(t *testing.T) {
	off := false
	on := true
	tests := []struct {
		name          string
		builder       *bool
		first, second func(*sched.Buildset)
		collapses     bool
	}{
		{"equal requests", nil, nil, nil, true},
		{"turned off for the builder", &off, nil, nil, false},
		{"turned on for the builder", &on, nil, nil, true},
		{"unequal properties", nil, nil, func(b *sched.Buildset) { b.Properties = state.Properties{"x": {Value: "1", Source: "s"}} }, false},
		{"unequal sources", nil, nil, func(b *sched.Buildset) { b.SourceStamps = []state.SourceStamp{{Project: "p"}} }, false},
		{"someone waits for the old one", nil, func(b *sched.Buildset) { b.WaitedFor = true }, nil, false},
		{"someone waits for the new one", nil, nil, func(b *sched.Buildset) { b.WaitedFor = true }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			snap := remote([]string{"w"}, ends("a", config.Success))
			snap.Master.CollapseRequests = tt.name != "turned on for the builder"
			snap.Builders[0].CollapseRequests = tt.builder
			r := newSite(t).start(config.New(*snap))
			nop := func(*sched.Buildset) {}
			if tt.first == nil {
				tt.first = nop
			}
			if tt.second == nil {
				tt.second = nop
			}
			first := r.submit("b", tt.first)
			r.explain(first, "not-connected")
			second := r.submit("b", tt.second)
			r.explain(second, "not-connected") // the distributor has seen both
			old := r.request(first)
			if got := old.Complete; got != tt.collapses {
				t.Fatalf("the old request: %+v", old)
			}
			if tt.collapses {
				if old.Results != config.Skipped || old.CollapsedTo != second {
					t.Errorf("the old request: %+v", old)
				}
				x, err := r.Explain(context.Background(), first)
				if err != nil || !strings.Contains(x.Summary, "stands for it") {
					t.Errorf("%+v, %v", x, err)
				}
			}
			r.attach("w")
			r.finished(second)
		})
	}
}

// Locks of a builder are held for the whole build and seen by the decision; locks of
// a step while it runs.
func TestLocks(t *testing.T) {
	lock := &config.Lock{Name: "db", MaxCount: 1}
	acc := plainLocks(config.LockAccess{Lock: lock, Count: 1})
	for name, byBuilder := range map[string]bool{"builder": true, "step": false} {
		t.Run(name, func(t *testing.T) {
			st := newStage()
			var change []func(*run.Common)
			if !byBuilder {
				change = append(change, func(c *run.Common) { c.Locks = acc })
			}
			snap := many(st.step(change...), "a", "b")
			snap.Locks = []*config.Lock{lock}
			if byBuilder {
				for _, b := range snap.Builders {
					b.Locks = acc
				}
			}
			r := newSite(t).start(config.New(*snap))
			release := st.hold("a")
			a := r.submit("a")
			<-st.enter
			b := r.submit("b")
			if byBuilder {
				if text := r.explain(b, "lock"); !strings.Contains(text, `lock "db" held by a #1`) {
					t.Errorf("explanation: %q", text)
				}
			} else if s := r.await("the waiting step", func(e state.Event) bool {
				s, ok := e.Row.(state.Step)
				return ok && strings.Contains(s.StateString, "acquiring")
			}).Row.(state.Step); !strings.Contains(s.StateString, `lock "db" held by a #1 step stage`) {
				t.Errorf("state string: %q", s.StateString)
			}
			release()
			r.finished(a)
			done := r.finished(b)
			if st.most != 1 {
				t.Errorf("%d builds ran at once", st.most)
			}
			if !byBuilder && r.steps(done)[1].LocksAcquiredAt == 0 {
				t.Error("locks_acquired_at is not set")
			}
		})
	}
}

// Locks of a builder may depend on properties; then the build itself waits.
func TestRenderedBuilderLocks(t *testing.T) {
	lock := &config.Lock{Name: "db", MaxCount: 1}
	st := newStage()
	snap := many(st.step(), "a", "b")
	for _, b := range snap.Builders {
		b.Locks = template[config.LockAccesses](t, func(p prop.Props) any {
			return []any{config.LockAccess{Lock: lock, Exclusive: true, Count: 1}}
		})
	}
	r := newSite(t).start(config.New(*snap))
	release := st.hold("a")
	a := r.submit("a")
	<-st.enter
	b := r.submit("b")
	r.await("the waiting build", func(e state.Event) bool {
		row, ok := e.Row.(state.Build)
		return ok && row.RequestID == b && strings.HasPrefix(row.StateString, `acquiring locks: lock "db" held by a #1`)
	})
	release()
	r.finished(a)
	r.finished(b)
	if st.most != 1 {
		t.Errorf("%d builds ran at once", st.most)
	}
}

func TestPause(t *testing.T) {
	r := newSite(t).start(oneBuilder(ends("a", config.Success)))
	r.build("b")
	ctx := context.Background()
	if err := r.PauseWorker(ctx, 1, "maintenance", alice); err != nil {
		t.Fatal(err)
	}
	id := r.submit("b")
	if text := r.explain(id, "paused"); text != `worker "w" is paused by alice: maintenance` {
		t.Errorf("explanation: %q", text)
	}
	if err := r.UnpauseWorker(ctx, 1, alice); err != nil {
		t.Fatal(err)
	}
	r.finished(id)
	if err := r.PauseWorker(ctx, 99, "", alice); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("pause of no worker: %v", err)
	}
}
