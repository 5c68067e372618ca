package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"buildstar/config"
	"buildstar/config/prop"
	"buildstar/conn"
	"buildstar/state"
)

// Running is one step of one build while it runs: what a [Step] sees of the world.
// It is also the prop.Props of everything that is rendered for the step. Methods
// are called by the step's goroutine only, but those of prop.Props by any.
type Running struct {
	*Table
	b        *Build
	step     Step
	name     string
	row      *stepRow
	start    state.Step // the row before it is opened
	slugs    map[string]bool
	logs     []*Log
	doing    string  // description while it runs
	done     string  // and after
	said     [2]bool // doing and done are the user's
	suffix   string  // of both
	extra    string  // why it ended as it did: "timed out"
	urls     []state.URL
	result   config.Result
	commands int64 // sent so far
	base     int64 // number of the build's newest command before this step
	ids      []string
	named    bool
	locked   bool                  // its locks are held
	uploaded bool                  // files of a worker that would send them again
	lost     bool                  // the connection was, so that the step must be run again
	heard    map[string]*execution // its commands by id, as far as they came before that
	past     map[string]*Log       // logs of an earlier run of the step, by slug
	before   state.Properties
	printed  *Log   // what functions of the user print
	remote   string // what the worker said was wrong with a command
}

func newRunning(b *Build, step Step) *Running {
	r := &Running{Table: b.props, b: b, step: step, slugs: map[string]bool{}, heard: map[string]*execution{}, result: config.Unfinished, base: b.seq}
	r.start = state.Step{
		BuildID: b.o.Row.ID, Number: int64(len(b.steps)), StartedAt: state.Now(), Results: config.Unfinished,
	}
	if !step.Common().Locks.IsSet() {
		r.start.LocksAcquiredAt = r.start.StartedAt
	}
	b.steps = append(b.steps, r)
	return r
}

// StepName returns the name of the step, unique within the build.
func (r *Running) StepName() string { return r.name }

// StepNumber returns the number of the step; the first of the factory is 1.
func (r *Running) StepNumber() int64 { return r.start.Number }

// StepResult returns how the step ended; Unfinished before that.
func (r *Running) StepResult() config.Result { return r.result }

// BuildResult returns the result of the build so far.
func (r *Running) BuildResult() config.Result { return r.b.overall }

// Builder returns the builder, which must not be changed.
func (r *Running) Builder() *config.Builder { return r.b.o.Builder }

// Worker returns what the worker said about itself.
func (r *Running) Worker() conn.WorkerInfo { return r.b.worker() }

// BuildID and BuildNumber name the build.
func (r *Running) BuildID() int64     { return r.b.o.Row.ID }
func (r *Running) BuildNumber() int64 { return r.b.o.Row.Number }

// SourceStamps returns the sources of the build, which must not be changed.
func (r *Running) SourceStamps() []state.SourceStamp { return r.b.o.Buildset.SourceStamps }

// SetProperty sets a property of the build.
func (r *Running) SetProperty(name string, value any, source string) {
	r.Table.put(name, value, source)
	r.b.rows.setProperties(state.Properties{name: {Value: value, Source: source}})
}

// AddURL adds a link to the step.
func (r *Running) AddURL(name, url string) {
	r.SetURLs(append(slices.Clone(r.urls), state.URL{Name: name, URL: url}))
}

// SetURLs replaces the links of the step by others, which must not be changed.
func (r *Running) SetURLs(urls []state.URL) {
	if !slices.Equal(r.urls, urls) {
		r.urls = urls
		r.update(func(row *state.Step) { row.URLs = urls })
	}
}

// Describe says what the step is doing now, and what it did once it is done. The
// user's description and descriptionDone win.
func (r *Running) Describe(doing, done string) {
	if done == "" {
		done = doing
	}
	if !r.said[0] {
		r.doing = doing
	}
	if !r.said[1] {
		r.done = done
	}
	if text := r.runningText(); r.row == nil {
		r.open()
	} else if r.row.row.StateString != text {
		r.update(func(row *state.Step) { row.StateString = text })
	}
}

// Because says in two or three words why the step ends as it does: "timed out".
func (r *Running) Because(why string) { r.extra = why }

// Workdir returns the step's directory on the worker, absolute.
func (r *Running) Workdir(ctx context.Context) (string, error) {
	dir := "build"
	for _, t := range []prop.Template[string]{r.step.Common().Workdir, r.b.o.Builder.Factory.Workdir} {
		if t.IsSet() {
			var err error
			if dir, err = t.Render(ctx, r); err != nil {
				return "", fmt.Errorf("render workdir: %w", err)
			}
			break
		}
	}
	return r.WorkerPath(r.Builddir(), dir), nil
}

// Builddir returns the builder's directory on the worker, absolute.
func (r *Running) Builddir() string {
	info := r.Worker()
	return Join(info.System, info.Basedir, WorkerBuilddir(r.b.o.Builder))
}

// WorkerPath returns a path on the worker; a relative one is below dir.
func (r *Running) WorkerPath(dir, path string) string {
	return Join(r.Worker().System, dir, path)
}

// HomePath is [Running.WorkerPath] for the files of transfers, where ~ is the home of
// who runs the worker (docs/protocol.md A.6).
func (r *Running) HomePath(dir, path string) (string, error) {
	if rest, ok := cutHome(path); ok {
		env := r.Worker().Environ
		home := env["HOME"]
		if r.Worker().System == "nt" {
			home = env["USERPROFILE"]
		}
		if home == "" {
			return "", fmt.Errorf("path %q: the worker has told no home directory", path)
		}
		return r.WorkerPath(home, rest), nil
	}
	return r.WorkerPath(dir, path), nil
}

// MasterPath returns a path on the master; a relative one is below the master's
// basedir, and ~ is the home of who runs the master.
func (r *Running) MasterPath(path string) (string, error) {
	dir := r.b.o.Basedir
	if rest, ok := cutHome(path); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("path %q: %w", path, err)
		}
		dir, path = home, rest
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Join(dir, path), nil
}

// open makes the step's row if there is none yet.
func (r *Running) open() {
	if r.row == nil {
		r.start.Name = r.name
		if r.start.StateString == "" {
			r.start.StateString = r.runningText()
		}
		r.row = r.b.rows.addStep(r.start)
	}
}

func (r *Running) update(change func(*state.Step)) {
	r.open()
	change(&r.row.row)
	r.b.rows.putStep(r.row, "updated")
}

func (r *Running) runningText() string {
	if r.doing == "" {
		return "running"
	}
	return clip(r.doing+r.suffix, 1024)
}

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
