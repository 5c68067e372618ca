package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/conn"
	"buildstar/state"
)

// life takes the step from its start to its result and writes its rows.
func (r *Running) life(base context.Context, seen int) config.Result {
	ctx, end := r.b.begin(base, seen)
	defer end()
	result, err := r.attempt(ctx)
	if r.b.isSuspended() {
		return config.Unfinished
	}
	r.b.o.Locks.Release(r.holder())
	r.result = r.decide(ctx, result, err)
	hidden, err := r.hidden(context.WithoutCancel(ctx))
	if err != nil {
		r.fail(err)
		r.result = config.Worst(r.result, config.Exception)
	}
	if r.result == config.Exception && r.remote != "" {
		r.b.accuse("the worker reported: " + r.remote)
	}
	r.finish(hidden)
	return r.result
}

// attempt does the step, and does it again when the connection was lost and is back.
func (r *Running) attempt(ctx context.Context) (config.Result, error) {
	if e, _ := r.b.ended(); e != nil && e.hard {
		return e.result, e // there is nothing to be seen in running it
	}
	if r.b.o.Link != nil {
		r.before = r.All()
	}
	for {
		result, err := r.try(ctx)
		if !r.lost {
			return result, err
		}
		if _, gone := r.b.current(ctx); gone != nil {
			return config.Exception, errAway
		}
		r.rewind()
	}
}

// decide turns what the step returned into its result.
func (r *Running) decide(ctx context.Context, result config.Result, err error) config.Result {
	if errors.Is(err, conn.ErrLost) || errors.Is(err, conn.ErrFrameTooBig) {
		r.b.lost(err)
	}
	if errors.Is(err, state.ErrFull) {
		r.b.trouble(err)
	}
	if e, _ := r.b.ended(); e != nil && (ctx.Err() != nil || e.hard) {
		if e.hard {
			r.extra = e.reason
		}
		return e.result
	}
	if err != nil {
		r.fail(err)
		return config.Exception
	}
	return result
}

// try does the step; a panic in its code is an error like any other.
func (r *Running) try(ctx context.Context) (_ config.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the step crashed: %v\n%s", p, debug.Stack())
		}
	}()
	if err := r.setUp(ctx); err != nil {
		return config.Exception, err
	}
	do, err := r.wanted(ctx)
	if err != nil {
		return config.Exception, err
	}
	if !do {
		return config.Skipped, nil
	}
	if err := r.lock(ctx); err != nil {
		return config.Exception, err
	}
	return r.step.Run(ctx, r)
}

// setUp renders the step's name and descriptions.
func (r *Running) setUp(ctx context.Context) error {
	c := r.step.Common()
	name, err := c.Name.Render(ctx, r)
	if name == "" {
		name = r.step.Type()
	}
	if !r.named {
		r.name, r.named = r.b.unique(name), true
	}
	if err != nil {
		return fmt.Errorf("render name: %w", err)
	}
	doing, err := c.Description.Render(ctx, r)
	if err != nil {
		return fmt.Errorf("render description: %w", err)
	}
	done, err := c.DescriptionDone.Render(ctx, r)
	if err != nil {
		return fmt.Errorf("render descriptionDone: %w", err)
	}
	suffix, err := c.DescriptionSuffix.Render(ctx, r)
	if err != nil {
		return fmt.Errorf("render descriptionSuffix: %w", err)
	}
	if suffix != "" {
		r.suffix = " " + string(suffix)
	}
	r.doing, r.done = string(doing), string(done)
	if r.done == "" {
		r.done = r.doing
	}
	r.said = [2]bool{r.doing != "", r.done != ""}
	return nil
}

// unique returns a step name that no other step of the build has: a second "shell"
// is "shell_1".
func (b *Build) unique(name string) string {
	name = clip(name, 200)
	u := name
	for n := 1; b.names[u]; n++ {
		u = name + "_" + strconv.Itoa(n)
	}
	b.names[u] = true
	return u
}

func (r *Running) wanted(ctx context.Context) (bool, error) {
	t := r.step.Common().DoStepIf
	if !t.IsSet() {
		return true, nil
	}
	do, err := t.Render(ctx, callback{r, []any{stepObject{r}}})
	if err != nil {
		return false, fmt.Errorf("evaluate doStepIf: %w", err)
	}
	return do, nil
}

func (r *Running) hidden(ctx context.Context) (bool, error) {
	hide, err := r.step.Common().HideStepIf.Render(ctx, callback{r, []any{int64(r.result), stepObject{r}}})
	if err != nil {
		return false, fmt.Errorf("evaluate hideStepIf: %w", err)
	}
	return hide, nil
}

// fail writes an error to the step's log "err.text".
func (r *Running) fail(err error) {
	r.extra = ""
	l, lerr := r.AddLog("err.text", "t")
	if lerr == nil {
		lerr = l.Write('t', err.Error())
	}
	if lerr != nil {
		r.b.o.Logger.Error("write error of step", "build", r.b.o.Row.ID, "step", r.name, "error", err, "because", lerr)
	}
}

// finish writes the step's last row, and those of its logs.
func (r *Running) finish(hidden bool) {
	r.open()
	for _, l := range append(r.logs, r.rest()...) {
		r.b.rows.queue(l.finish())
	}
	r.b.rows.sync() // the row says that the logs are whole
	row := &r.row.row
	row.Complete, row.CompleteAt, row.Results, row.Hidden = true, state.Now(), r.result, hidden
	row.StateString = clip(stateOf(r.doneText(), r.result, r.extra), 1024)
	r.b.rows.putStep(r.row, "finished")
	r.b.unreleased, r.heard = r.ids, nil
	r.b.release()
	if r.uploaded {
		// The worker would send the files again, and what comes now may change them. A
		// failure to write ends the build by itself.
		_ = r.b.rows.commit(context.Background())
	}
}

func (r *Running) doneText() string {
	text := r.done
	if text == "" {
		text = r.name
	}
	return text + r.suffix
}

// summary returns what the step adds to the build's state string, or "".
func (r *Running) summary(result config.Result) string {
	if !inSummary(r.step.Common(), result) {
		return ""
	}
	return strings.TrimSpace(r.row.row.StateString)
}
