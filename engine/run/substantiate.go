package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
)

// Instances starts the instance of a latent worker for one build. Methods are called by the
// goroutine of the build.
type Instances interface {
	// Substantiate returns once the worker is attached and the build has it, or with a
	// *NoInstance, or soon after ctx ended.
	Substantiate(ctx context.Context, n Needs) (Substantiated, error)
}

// Needs is what an instance depends on.
type Needs struct {
	Props      prop.Props
	Properties map[string]any // all of them
	// Phase is told what is waited for, and until when; the zero time is no limit.
	Phase func(text string, until time.Time)
	Log   func(text string) // gets what the start says
}

// Substantiated is a worker that was started.
type Substantiated struct {
	Session       conn.Session
	Info          []string // short texts for the step
	Link          Link     // as in Order
	ResumeTimeout time.Duration
}

// NoInstance is why a build cannot have its worker.
type NoInstance struct {
	Reason    string
	Cannot    bool // it is the fault of the build, which ends (docs/requirements.md A9.6)
	Blameless bool // it is not the worker's fault; the build is tried again
}

func (n *NoInstance) Error() string { return n.Reason }

// substantiate gets the worker from its backend.
func (p *preparation) substantiate(ctx context.Context, r *Running) (config.Result, error) {
	b := r.b
	if err := b.within(ctx, "set the properties of the build", func(ctx context.Context) error {
		return b.props.fillEarly(ctx, &b.o)
	}); err != nil {
		return config.Exception, err
	}
	properties := map[string]any{}
	for name, v := range b.props.All() {
		properties[name] = v.Value
	}
	var log *Log
	got, err := b.o.Instances.Substantiate(ctx, Needs{
		Props: r, Properties: properties,
		Phase: func(text string, until time.Time) {
			if !until.IsZero() {
				text += " (until " + until.UTC().Format("15:04:05") + " UTC)"
			}
			r.Describe("worker "+b.o.Worker.Name+": "+text, "worker "+b.o.Worker.Name+" ready")
		},
		Log: func(text string) {
			var err error
			if log == nil {
				log, err = r.AddLog("start", "t")
			}
			if err == nil {
				err = log.Write('t', text)
			}
			if err != nil {
				b.trouble(err)
			}
		},
	})
	if err != nil {
		return b.unsubstantiated(ctx, err)
	}
	if len(got.Info) > 0 {
		r.done = fmt.Sprintf("worker %s ready: %s", b.o.Worker.Name, strings.Join(got.Info, ", "))
	}
	b.mu.Lock()
	b.o.Link, b.o.ResumeTimeout = got.Link, got.ResumeTimeout
	b.mu.Unlock()
	b.o.Row.WorkerLife = got.Session.Info().Life
	b.props.learn(got.Session.Info().Facts.Map())
	b.meet(got.Session)
	return config.Success, nil
}

// unsubstantiated ends a build that cannot have its worker.
func (b *Build) unsubstantiated(ctx context.Context, err error) (config.Result, error) {
	var no *NoInstance
	switch {
	case ctx.Err() != nil:
		return config.Retry, err
	case !errors.As(err, &no), no.Cannot:
		reason := fmt.Sprintf("worker %s cannot be started for this build: %v", b.o.Worker.Name, err)
		b.end(&ending{result: config.Exception, reason: reason, hard: true})
		return config.Exception, err
	}
	reason := fmt.Sprintf("worker %s could not be started: %s", b.o.Worker.Name, no.Reason)
	if !no.Blameless {
		b.accuse(reason)
	}
	b.end(&ending{result: config.Retry, reason: reason, hard: true, again: no.Blameless})
	return config.Retry, err
}
