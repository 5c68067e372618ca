package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"buildstar/engine/dist"
	"buildstar/engine/run"
	"buildstar/latent"
	"buildstar/state"
)

const (
	// fitPatience bounds the question whether an instance serves a request, with all the
	// functions of the user that it calls; without an answer the build finds out.
	fitPatience = 5 * time.Second
	// fitLife is how long an answer is good: a function of the user may look at anything.
	fitLife = 10 * time.Second
	// fitAskers is how many questions are asked at once, fitQueue how many may wait.
	fitAskers, fitQueue = 4, 1000
)

// fitting finds out, before a build is opened, whether the instance of a latent worker would
// serve it (docs/requirements.md A9.14 to A9.16), so that the distributor can choose. What
// takes time happens here, beside the distributor.
type fitting struct {
	m        *Master
	rendered *lru.Cache[demand, latent.Arguments]
	answers  *lru.Cache[question, answer]

	mu     sync.Mutex
	queue  []question
	asked  map[question]bool // in the queue, or being asked
	askers int
}

// demand is what the arguments of an instance depend on.
type demand struct {
	generation int64
	worker     string
	props      [sha256.Size]byte
}

// question is whether an instance serves a request, under a configuration.
type question struct {
	generation, instance, builder, request int64
	worker                                 string
}

type answer struct {
	fit  dist.Fit
	till time.Time
}

func newFitting(m *Master) *fitting {
	x := &fitting{m: m, asked: map[question]bool{}}
	var err, err2 error
	x.rendered, err = lru.New[demand, latent.Arguments](4096)
	x.answers, err2 = lru.New[question, answer](1 << 16)
	if err := errors.Join(err, err2); err != nil {
		panic(err) // only for a size that is not positive
	}
	return x
}

// fit is what the distributor asks. It does not wait.
func (x *fitting) fit(row state.BuildRequest, worker string) dist.Fit {
	s, ok := x.m.instances.ledger.Status(worker)
	if !ok || s.State != latent.Up {
		return dist.Fits // it is about to be told so; the build gets what is right in any case
	}
	q := question{x.m.current.Load().generation, s.ID, row.BuilderID, row.ID, worker}
	if a, ok := x.answers.Get(q); ok && time.Now().Before(a.till) {
		return a.fit
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.asked[q]:
		return dist.Asking
	case len(x.queue) >= fitQueue:
		return dist.Unclear
	}
	x.asked[q] = true
	x.queue = append(x.queue, q)
	if x.askers < fitAskers {
		x.askers++
		x.m.fleet.spawn(x.ask)
	}
	return dist.Asking
}

// ask answers what is in the queue.
func (x *fitting) ask() {
	for {
		x.mu.Lock()
		if len(x.queue) == 0 {
			x.askers--
			x.mu.Unlock()
			return
		}
		q := x.queue[0]
		x.queue = x.queue[1:]
		x.mu.Unlock()
		x.answers.Add(q, answer{x.find(q), time.Now().Add(fitLife)})
		x.mu.Lock()
		delete(x.asked, q)
		x.mu.Unlock()
		x.m.dist.Answered(q.builder)
	}
}

// find answers one question. What goes wrong is for the build to show.
func (x *fitting) find(q question) dist.Fit {
	ctx, cancel := context.WithTimeout(x.m.hard, fitPatience)
	defer cancel()
	now := x.m.current.Load()
	order, err := x.order(ctx, now, q)
	fits := false
	if err == nil {
		fits, err = x.compare(ctx, now, q, order)
	}
	switch {
	case err != nil:
		x.m.log.Debug("ask whether an instance serves a request", "worker", q.worker, "request", q.request, "error", err)
		return dist.Unclear
	case fits:
		return dist.Fits
	}
	return dist.Unfit
}

// order is what a build of the request would be.
func (x *fitting) order(ctx context.Context, now *applied, q question) (run.Order, error) {
	opened := dist.Opened{Build: state.Build{BuilderID: q.builder}}
	var request state.BuildRequest
	var builder state.Builder
	err := x.m.o.Store.View(ctx, func(tx state.ReadTx) (err error) {
		if request, err = state.One(tx.BuildRequests(state.Where("buildrequestid", q.request))); err != nil {
			return err
		}
		if builder, err = state.One(tx.Builders(state.Where("builderid", q.builder))); err != nil {
			return err
		}
		if opened.Buildset, err = state.One(tx.Buildsets(state.Where("bsid", request.BuildsetID))); err != nil {
			return err
		}
		opened.Changes, err = state.ChangesOf(tx, opened.Buildset.SourceStamps)
		return err
	})
	if err != nil {
		return run.Order{}, err
	}
	if w := now.snapshot.Worker(q.worker); now.snapshot.Builder(builder.Name) == nil || w == nil || w.Latent == nil {
		return run.Order{}, errors.New("the configuration has the builder and the worker no longer")
	}
	return x.m.order(now.snapshot, dist.Start{Request: request, Builder: builder.Name, Worker: q.worker}, opened, builder.ProjectID, 0), nil
}

// compare asks the ledger, with the arguments that the build would have.
func (x *fitting) compare(ctx context.Context, now *applied, q question, o run.Order) (bool, error) {
	params, ok := o.Worker.Latent.Backend.(latent.Params)
	if !ok {
		return false, errors.New("its backend starts nothing")
	}
	props, err := run.Foresee(ctx, o)
	if err != nil {
		return false, err
	}
	plain := map[string]any{}
	for name, p := range props.All() {
		plain[name] = p.Value
	}
	d := demand{now.generation, q.worker, digest(plain, o)}
	arguments, known := x.rendered.Get(d)
	if !known {
		if arguments, err = params.Render(ctx, props); err != nil {
			return false, fmt.Errorf("render the arguments of the instance: %w", err)
		}
		x.rendered.Add(d, arguments)
	}
	return x.m.instances.ledger.Suits(ctx, q.worker, q.instance, arguments, plain)
}

// digest is equal for builds for which the same is rendered.
func digest(props map[string]any, o run.Order) (sum [sha256.Size]byte) {
	stamps := slices.Clone(o.Buildset.SourceStamps)
	for i := range stamps {
		stamps[i].ID, stamps[i].CreatedAt = 0, 0
	}
	slices.SortFunc(stamps, func(a, b state.SourceStamp) int { return strings.Compare(a.Codebase, b.Codebase) })
	h := sha256.New()
	h.Write(state.AppendValue(nil, props))
	_ = json.NewEncoder(h).Encode([]any{stamps, o.Changes}) // rows are always JSON
	copy(sum[:], h.Sum(nil))
	return sum
}
