package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/engine/run"
	"buildstar/starlark/spec"
	"buildstar/state"
)

// Trigger is steps.Trigger (docs/requirements.md C4).
var Trigger = class("Trigger", func() any {
	return &trigger{Base: base("Trigger", "trigger"), ParentRelationship: prop.Of("Triggered from")}
})

// trigger triggers schedulers, such as schedulers.Triggerable, for the source of the
// build. Either all of them are triggered or, if one cannot be, none.
type trigger struct {
	Base
	// SchedulerNames are the schedulers to trigger.
	SchedulerNames prop.Template[[]string] `star:"schedulerNames"`
	// SourceStamp is one more of SourceStamps.
	SourceStamp prop.Template[stampAttributes] `star:"sourceStamp,optional"`
	// SourceStamps are the sources to build, in place of the build's: for each a dict with
	// codebase, branch, revision, repository and project. What is left out is the default
	// that the scheduler's codebases give.
	SourceStamps prop.Template[[]stampAttributes] `star:"sourceStamps,optional"`
	// UpdateSourceStamp builds what this build has checked out (its property
	// got_revision) and not what it was asked for. The default is True, unless
	// SourceStamps or AlwaysUseLatest are given.
	UpdateSourceStamp prop.Template[bool] `star:"updateSourceStamp,optional"`
	// AlwaysUseLatest builds what the scheduler's codebases give, whatever this build
	// builds: by default the newest.
	AlwaysUseLatest prop.Template[bool] `star:"alwaysUseLatest,optional"`
	// WaitForFinish waits for the builds, and the step ends as the worst of them does.
	// The worker is kept meanwhile. A stop cancels them.
	WaitForFinish bool `star:"waitForFinish,optional" nofunc:"1"`
	// SetProperties are properties of the builds, with the source "Trigger". They win over
	// those of the scheduler. One named reason is the reason of the builds.
	SetProperties prop.Template[map[string]any] `star:"set_properties,optional"`
	// CopyProperties are names of properties of this build that the builds get too. One
	// that is not set is None there.
	CopyProperties []string `star:"copy_properties,optional"`
	// ParentRelationship says on the pages of the builds what this build is to them.
	ParentRelationship prop.Template[string] `star:"parent_relationship,optional"`
	// UnimportantSchedulerNames are schedulers of SchedulerNames whose builds may end as
	// they like: the step waits for them too, but it does not end as they do.
	UnimportantSchedulerNames prop.Template[[]string] `star:"unimportantSchedulerNames,optional"`
}

var _ config.Triggering = (*trigger)(nil)

// Make makes the step.
func (s *trigger) Make(c *spec.Call) any {
	s.check(c)
	names, plain := s.SchedulerNames.Plain()
	if plain && len(names) == 0 {
		c.Problem("bad-value", "schedulerNames", "no scheduler is named", "")
	}
	minor, minorPlain := s.UnimportantSchedulerNames.Plain()
	for _, name := range minor {
		if plain && minorPlain && !slices.Contains(names, name) {
			c.Problem("bad-value", "unimportantSchedulerNames", fmt.Sprintf("%q is not in schedulerNames", name), "")
		}
	}
	exclude := func(param, other string) {
		c.Problem("conflict", param, "it cannot be combined with "+other, "leave one of them out")
	}
	latest, latestPlain := s.AlwaysUseLatest.Plain()
	latest = latest || !latestPlain
	stamps := ""
	switch {
	case s.SourceStamps.IsSet():
		stamps = "sourceStamps"
	case s.SourceStamp.IsSet():
		stamps = "sourceStamp"
	}
	if stamps != "" && s.UpdateSourceStamp.IsSet() {
		exclude("updateSourceStamp", stamps)
	}
	if stamps != "" && latest {
		exclude("alwaysUseLatest", stamps)
	}
	if latest && s.UpdateSourceStamp.IsSet() {
		exclude("alwaysUseLatest", "updateSourceStamp")
	}
	return s
}

// Triggers implements config.Triggering.
func (s *trigger) Triggers() []string {
	names, _ := s.SchedulerNames.Plain()
	return names
}

// WaitsForTriggered implements config.Triggering.
func (s *trigger) WaitsForTriggered() bool { return s.WaitForFinish }

// Run implements run.Step.
func (s *trigger) Run(ctx context.Context, r *run.Running) (config.Result, error) {
	x := &renderer{ctx: ctx, r: r}
	names := render(x, "schedulerNames", s.SchedulerNames)
	unimportant := render(x, "unimportantSchedulerNames", s.UnimportantSchedulerNames)
	ask := run.Trigger{
		Stamps: s.stamps(x), Properties: s.properties(x),
		WaitedFor: s.WaitForFinish, Relationship: render(x, "parent_relationship", s.ParentRelationship),
	}
	if x.err == nil && len(names) == 0 {
		x.err = fmt.Errorf("render schedulerNames: no scheduler is named")
	}
	if x.err != nil {
		return config.Exception, x.err
	}
	list := strings.Join(names, ", ")
	r.Describe("triggering "+list, "not triggered "+list)
	asks := make([]run.Trigger, len(names))
	for i, name := range names {
		asks[i] = ask
		asks[i].Scheduler = name
	}
	ids, err := r.Trigger(ctx, asks)
	if err != nil {
		return config.Exception, err
	}
	return s.outcome(ctx, r, list, ids, unimportant)
}

// outcome shows what was triggered, and waits for it if that is wanted.
func (s *trigger) outcome(ctx context.Context, r *run.Running, names string, ids []int64, unimportant []string) (config.Result, error) {
	if !s.WaitForFinish {
		sets, err := r.Triggered(ctx, ids)
		if err != nil {
			return config.Exception, err
		}
		r.Describe("triggered "+names, "")
		r.SetURLs(requestLinks(r, sets))
		return config.Success, nil
	}
	var sets []run.Triggered
	err := r.Await(ctx, ids, func(now []run.Triggered) {
		sets = now
		r.Describe("triggered "+names+count(now), "")
		r.SetURLs(append(requestLinks(r, now), buildLinks(r, now)...))
	})
	if err != nil {
		return config.Exception, err
	}
	result := config.Success
	for _, set := range sets {
		if !slices.Contains(unimportant, set.Scheduler) {
			result = config.Worst(result, set.Results)
		}
	}
	return result, nil
}

// requestLinks are there from the beginning.
func requestLinks(r *run.Running, sets []run.Triggered) (urls []state.URL) {
	for _, set := range sets {
		for _, q := range set.Requests {
			urls = append(urls, state.URL{Name: fmt.Sprintf("%s #%d", set.Scheduler, q.ID), URL: r.RequestURL(q.ID)})
		}
	}
	return urls
}

// buildLinks come as the builds do, and say how those ended.
func buildLinks(r *run.Running, sets []run.Triggered) (urls []state.URL) {
	for _, set := range sets {
		for _, q := range set.Requests {
			for _, b := range q.Builds {
				name := fmt.Sprintf("%s #%d", q.Builder, b.Number)
				if b.Complete {
					name = b.Results.String() + ": " + name
				}
				urls = append(urls, state.URL{Name: name, URL: r.BuildURLOf(q.Builder, b.Number)})
			}
		}
	}
	return urls
}

// plural is how several of a result are called.
var plural = map[config.Result]string{config.Success: "successes", config.Failure: "failures", config.Exception: "exceptions", config.Retry: "retries"}

// count says how requests ended so far: ", 2 successes, 1 failure".
func count(sets []run.Triggered) (text string) {
	n := map[config.Result]int{}
	for _, set := range sets {
		for _, q := range set.Requests {
			if q.Complete {
				n[q.Results]++
			}
		}
	}
	for result := config.Success; result <= config.Cancelled; result++ {
		word := result.String()
		if p, ok := plural[result]; ok && n[result] > 1 {
			word = p
		}
		if n[result] > 0 {
			text += fmt.Sprintf(", %d %s", n[result], word)
		}
	}
	return text
}
